"""The evidence: where an audit finds records and blobs, and the same opened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from fedchain.audit.case import Case
from fedchain.audit.chain import Copy
from fedchain.audit.contents import Contents
from fedchain.audit.findings import Findings
from fedchain.audit.gateways import gateways
from fedchain.audit.mirror import read_mirror
from fedchain.audit.progress import Progress, quiet
from fedchain.audit.questions import Questions
from fedchain.audit.records import read
from fedchain.audit.report import Report
from fedchain.audit.sources import Folder
from fedchain.audit.verify import verify
from fedchain.config.federation import FederationFile, load_federation
from fedchain.core.errors import ConfigError, ParameterError
from fedchain.core.ledger.records import Federation, Head, address
from fedchain.core.ports import Store
from fedchain.ledger.ethereum import EthereumLedger


@dataclass(frozen=True, slots=True)
class Where:
    """Where an audit finds records and blobs. Errors call its fields by their names."""

    federation: Path | None = None
    """The file that `fedchain deploy` wrote: endpoint, chain, contract."""
    rpc: str | None = None
    """Another endpoint than that file's."""
    contract: str | None = None
    """Another contract than that file's."""
    mirror: Path | None = None
    """A daemon's copy of the records, ledger.sqlite; it is not trusted."""
    blobs: tuple[Path, ...] = ()
    """Daemons' blob folders; nothing is written there."""
    peers: tuple[str, ...] = ()
    """Daemons that are asked for what the folders lack."""
    head: str | None = None
    """The ledger's head, known from elsewhere: 0x and 64 hexadecimal digits."""
    offline: bool = False
    """Read the mirror alone, without a chain."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The same, opened."""

    federation: Federation
    ledger: EthereumLedger | None
    """None offline."""
    copy: Copy | None
    """What the mirror says."""
    head: Head | None
    sources: list[Folder]
    fallback: Store

    def contents(self, findings: Findings) -> Contents:
        """Return the blobs as a store that hands out only what it has hashed."""
        return Contents(self.sources, self.fallback, findings)


@asynccontextmanager
async def open_evidence(where: Where) -> AsyncIterator[Evidence]:
    """Open what an audit reads; raises ParameterError, ConfigError, FormatError, LedgerError, LedgerUnreachable."""
    mirrored = None if where.mirror is None else await asyncio.to_thread(read_mirror, where.mirror)
    head, sources = _head(where.head), [Folder(folder) for folder in where.blobs]
    async with AsyncExitStack() as stack:
        fallback = await stack.enter_async_context(gateways(where.peers))
        copy = mirrored[1] if mirrored else None
        if not where.offline:
            ledger = await stack.enter_async_context(await _connect(where))
            yield Evidence(ledger.federation, ledger, copy, head, sources, fallback)
        elif mirrored is None:
            raise ParameterError("mirror", None, "{offline} needs the records from somewhere: give {mirror}")
        else:
            _check_named(where, mirrored[0])
            yield Evidence(mirrored[0], None, copy, head, sources, fallback)


async def verify_evidence(where: Where, *, progress: Progress = quiet, threads: int = 1) -> Report:
    """Check everything that there is to check, and recompute every version; raises as `open_evidence`."""
    async with open_evidence(where) as evidence:
        return await verify(
            evidence.federation,
            sources=evidence.sources,
            fallback=evidence.fallback,
            copy=evidence.copy,
            ledger=evidence.ledger,
            head=evidence.head,
            progress=progress,
            threads=threads,
        )


async def query_evidence(where: Where, findings: Findings) -> Questions:
    """Read records and manifests for questions; what is wrong with them goes into `findings`."""
    async with open_evidence(where) as evidence:
        reading = await read(
            evidence.federation, copy=evidence.copy, ledger=evidence.ledger, given=evidence.head, findings=findings
        )
        return Questions(await Case.read(evidence.federation, reading.records, evidence.contents(findings)))


async def _connect(where: Where) -> EthereumLedger:
    file = None if where.rpc and where.contract else _file(where)
    rpc = where.rpc or (file.rpc if file else None)
    contract = where.contract or (file.contract if file else None)
    if rpc is None or contract is None:
        problem = "no ledger is named: give {federation}, or {rpc} and {contract}, or {mirror} and {offline}"
        raise ParameterError("federation", None, problem)
    is_filed = file is not None and where.contract is None
    ledger = await EthereumLedger.connect(
        rpc,
        address(contract),
        confirmations=file.confirmations if file and is_filed else None,
        deployment_block=file.block if file and is_filed else None,
    )
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
        raise ParameterError("mirror", where.mirror, f"it mirrors the ledger {mirrored.contract}, not {contract}")


def _file(where: Where) -> FederationFile | None:
    return None if where.federation is None else load_federation(where.federation)


def _head(text: str | None) -> Head | None:
    if text is None:
        return None
    try:
        head = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        head = b""
    if len(head) != 32:
        raise ParameterError("head", text, "a head is 0x and 64 hexadecimal digits")
    return Head(head)
