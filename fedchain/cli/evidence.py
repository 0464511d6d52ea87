"""Where an audit finds its evidence - records and blobs - as options, and opened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from fedchain.audit.chain import Copy
from fedchain.audit.gateways import gateways
from fedchain.audit.mirror import read_mirror
from fedchain.audit.sources import Folder
from fedchain.cli.options import FEDERATION
from fedchain.config.federation import FederationFile, load_federation
from fedchain.core.errors import ConfigError, LedgerUnreachable
from fedchain.core.ledger.records import Federation, Head, address
from fedchain.core.ports import Store
from fedchain.ledger.ethereum import EthereumLedger

FederationPath = Annotated[
    Path | None,
    typer.Option("--federation", metavar="FILE", help=f"File that `fedchain deploy` wrote; by default {FEDERATION}."),
]
Rpc = Annotated[
    str | None, typer.Option("--rpc", metavar="URL", help="Another Ethereum endpoint than the file's: your own.")
]
Contract = Annotated[
    str | None, typer.Option("--contract", metavar="ADDRESS", help="Address of the ledger, instead of the file's.")
]
MirrorFile = Annotated[
    Path | None,
    typer.Option("--mirror", metavar="FILE", help="A daemon's copy of the records, ledger.sqlite; it is not trusted."),
]
BlobFolders = Annotated[
    list[Path] | None,
    typer.Option("--blobs", metavar="FOLDER", help="A daemon's blob folder; may be repeated. Nothing is written."),
]
Peers = Annotated[
    list[str] | None,
    typer.Option("--peer", metavar="URL", help="A daemon that has what the folders lack; may be repeated."),
]
HeadOption = Annotated[
    str | None,
    typer.Option(
        "--head", metavar="0x…", help="The ledger's head, known from elsewhere; it proves a mirror without a chain."
    ),
]
Offline = Annotated[bool, typer.Option("--offline", help="Judge by --mirror alone, without a chain.")]


@dataclass(frozen=True, slots=True)
class Where:
    """Where an audit finds records and blobs."""

    federation: Path | None
    rpc: str | None
    contract: str | None
    mirror: Path | None
    blobs: list[Path]
    peers: list[str]
    head: str | None
    offline: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """The same, opened."""

    federation: Federation
    ledger: EthereumLedger | None
    copy: Copy | None
    head: Head | None
    sources: list[Folder]
    fallback: Store


@asynccontextmanager
async def open_evidence(where: Where) -> AsyncIterator[Evidence]:
    """Open what an audit reads; raises ConfigError, LedgerError."""
    mirrored = None if where.mirror is None else await asyncio.to_thread(read_mirror, where.mirror)
    head, sources = _head(where.head), [Folder(folder) for folder in where.blobs]
    async with AsyncExitStack() as stack:
        fallback = await stack.enter_async_context(gateways(where.peers))
        copy = mirrored[1] if mirrored else None
        if not where.offline:
            ledger = await stack.enter_async_context(await _connect(where))
            yield Evidence(ledger.federation, ledger, copy, head, sources, fallback)
        elif mirrored is None:
            raise ConfigError("--offline needs the records from somewhere: give --mirror FILE")
        else:
            _check_named(where, mirrored[0])
            yield Evidence(mirrored[0], None, copy, head, sources, fallback)


def _file(where: Where) -> FederationFile | None:
    """Read the federation file that is named, or the one that lies here."""
    if where.federation is None and not FEDERATION.exists():
        return None
    return load_federation(where.federation or FEDERATION)


async def _connect(where: Where) -> EthereumLedger:
    file = None if where.rpc and where.contract else _file(where)
    rpc = where.rpc or (file.rpc if file else None)
    contract = where.contract or (file.contract if file else None)
    if rpc is None or contract is None:
        raise ConfigError(
            "no ledger is named: give --federation FILE, or --rpc and --contract, or --mirror and --offline"
        )
    is_filed = file is not None and where.contract is None
    try:
        ledger = await EthereumLedger.connect(
            rpc,
            address(contract),
            confirmations=file.confirmations if file and is_filed else None,
            deployment_block=file.block if file and is_filed else None,
        )
    except LedgerUnreachable as error:
        raise LedgerUnreachable(f"{error}; or judge a daemon's copy with --offline --mirror ledger.sqlite") from error
    if file and is_filed and file.chain_id != ledger.federation.chain_id:
        await ledger.close()
        raise ConfigError(
            f"{rpc} serves chain {ledger.federation.chain_id}, the federation is on chain {file.chain_id}"
        )
    return ledger


def _check_named(where: Where, mirrored: Federation) -> None:
    """Compare the ledger that is named with the one that the mirror says it is of."""
    file = None if where.contract else _file(where)
    contract = where.contract or (file.contract if file else None)
    if contract is not None and address(contract) != mirrored.contract:
        raise ConfigError(f"{where.mirror} says that it mirrors the ledger {mirrored.contract}, not {contract}")


def _head(text: str | None) -> Head | None:
    if text is None:
        return None
    try:
        head = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        head = b""
    if len(head) != 32:
        raise ConfigError(f"--head {text}: a head is 0x and 64 hexadecimal digits")
    return Head(head)
