"""`fedchain deploy | genesis`: what founds a federation."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedchain.cli.ledger import open_ledger
from fedchain.cli.options import FEDERATION, Blobs, FederationOption, Json, Key, PasswordFile, open_key
from fedchain.cli.output import show
from fedchain.config.federation import FederationFile, load_federation, save_federation
from fedchain.core.errors import ConfigError
from fedchain.core.formats.document import put
from fedchain.core.formats.modelfile import Arrays, layout_of, write_model
from fedchain.core.ledger.records import ModelPublished, Record, Seq, Version, first_head, next_head
from fedchain.core.rules.manifest import genesis_manifest
from fedchain.ledger.ethereum import deploy as deploy_contract
from fedchain.ledger.finality import Confirmations
from fedchain.store.files import FileBlobs

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount


def deploy(
    rpc: Annotated[str, typer.Option("--rpc", metavar="URL", help="Ethereum JSON-RPC endpoint.")],
    key: Key,
    password_file: PasswordFile = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="File to write for all other commands; it must not exist.")
    ] = FEDERATION,
    predecessor: Annotated[
        Path | None,
        typer.Option("--predecessor", metavar="FILE", help="Federation file of the ledger that this one follows."),
    ] = None,
    confirmations: Annotated[
        str | None,
        typer.Option(
            "--confirmations",
            metavar="N",
            help="Blocks that must follow a record before it counts, or finalized; without it, what the chain offers: "
            "0 on a devnet, finalized where blocks become final, else 12.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Deploy the ledger contract; the key becomes its first governor.

    The key's address pays for the transaction. Every member then needs the file that is written; nothing in it is
    secret.
    """
    if not rpc.startswith(("http://", "https://")):
        raise ConfigError(f"--rpc {rpc}: expected a URL, as in http://127.0.0.1:8545")
    if out.exists():
        raise ConfigError(f"{out} exists: it names a federation already; choose another file with --out")
    before = load_federation(predecessor) if predecessor else None
    wanted = read_confirmations(confirmations)
    file = asyncio.run(deploy_federation(rpc, open_key(key, password_file), before, wanted))
    save_federation(out, file)
    show({"file": str(out), **file.model_dump()}, json=json)


def read_confirmations(text: str | None) -> Confirmations | None:
    """Read a number of confirmations, or "finalized"; raises ConfigError."""
    if text is None:
        return None
    if text == "finalized":
        return "finalized"
    if text.isascii() and text.isdecimal():
        return int(text)
    raise ConfigError(f"--confirmations {text}: expected a number of blocks, or finalized")


async def deploy_federation(
    rpc: str,
    account: LocalAccount,
    predecessor: FederationFile | None = None,
    confirmations: Confirmations | None = None,
) -> FederationFile:
    """Deploy a contract and describe it; its last head is read from the predecessor's ledger.

    Without `confirmations` the file says what the chain offers.
    """
    if predecessor is None:
        deployed = await deploy_contract(rpc, account)
    else:
        async with await open_ledger(predecessor) as ledger:
            deployed = await deploy_contract(rpc, account, ledger.federation.contract, await ledger.head())
    federation = deployed.federation
    return FederationFile(
        rpc=rpc,
        chain_id=federation.chain_id,
        contract=federation.contract,
        block=deployed.block,
        confirmations=deployed.confirmations if confirmations is None else confirmations,
    )


def genesis(
    task: Annotated[str, typer.Option("--task", metavar="MODULE:CLASS", help="The task whose model is version 0.")],
    key: Key,
    blobs: Blobs,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Seed of the initial parameters.")] = 0,
    folder: Annotated[
        Path, typer.Option("--folder", metavar="FOLDER", help="Folder in which the task's module lies.")
    ] = Path(),
    password_file: PasswordFile = None,
    federation: FederationOption = FEDERATION,
    json: Json = False,
) -> None:
    """Publish version 0: the task's model with fresh parameters.

    The key needs the role aggregator. Nodes begin to train once version 0 is published.
    """
    from fedchain.training.task import load_task  # noqa: PLC0415 - torch takes seconds to import
    from fedchain.training.trainer import Trainer  # noqa: PLC0415

    account = open_key(key, password_file)
    trainer = Trainer(load_task(task, folder), folder)
    arrays = asyncio.run(trainer.genesis(seed))
    trainer.close()
    record = asyncio.run(publish_genesis(load_federation(federation), account, arrays, FileBlobs(blobs)))
    claim = record.payload
    assert isinstance(claim, ModelPublished)
    show({"seq": record.seq, "model": claim.model.cid, "manifest": claim.manifest.cid}, json=json)


async def publish_genesis(file: FederationFile, account: LocalAccount, arrays: Arrays, blobs: FileBlobs) -> Record:
    """Store a model with its manifest and publish them as version 0."""
    async with await open_ledger(file, account) as ledger:
        model = write_model(layout_of(arrays), arrays, blobs.create())
        manifest = put(blobs, genesis_manifest(ledger.federation, model).canonical())
        head = next_head(first_head(ledger.federation), (await ledger.records())[0])
        return await ledger.append(ModelPublished(Version(0), Seq(0), head, model, manifest), "publish:0")
