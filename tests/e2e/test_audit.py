"""`fedchain audit` on a real chain: a simulated federation is played on it, then records and blobs are damaged."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from oracle.compare import agree_on_disk
from simulation.federation import GOVERNOR, START, Simulation, key
from simulation.mirrors import damage
from typer.testing import CliRunner

from fedchain.cli.audit import app
from fedchain.cli.devnet import anvil
from fedchain.config.federation import FederationFile, load_federation, save_federation
from fedchain.core.errors import ConfigError
from fedchain.core.ledger.records import Address, Head, ModelPublished, address, first_head, next_head
from fedchain.devnet.anvil import fund, start, stop
from fedchain.ledger.ethereum import EthereumLedger, deploy
from fedchain.ledger.signer import RetryPolicy
from fedchain.store.files import FileBlobs

pytestmark = pytest.mark.e2e

FAST = RetryPolicy(poll=0.02)
KEYS = {address(key(number).address): key(number) for number in (*range(1, 5), *range(10, 13))}


async def play(url: str, folder: Path) -> None:
    """Found a federation on a chain, with two versions after genesis; leaves a mirror and a blob folder."""
    await fund(url, *(account.address for account in KEYS.values()))
    made = await deploy(url, KEYS[GOVERNOR], retry_policy=FAST)
    simulation = Simulation(blobs=FileBlobs(folder / "blobs"), federation=made.federation, now=START)
    await simulation.found()
    await simulation.round()
    await simulation.round(1, 2)
    async with AsyncExitStack() as stack:
        ledgers: dict[Address, EthereumLedger] = {}
        heads: list[Head] = []
        for record in simulation.chain.records[1:]:
            if record.actor not in ledgers:
                connecting = EthereumLedger.connect(
                    url, made.federation.contract, KEYS[record.actor], retry_policy=FAST
                )
                ledgers[record.actor] = await stack.enter_async_context(await connecting)
            if not heads:
                (foundation,) = await ledgers[record.actor].records()
                heads.append(next_head(first_head(made.federation), foundation))
            payload = record.payload
            if isinstance(payload, ModelPublished):  # block times, so heads, are this chain's own
                payload = replace(payload, head=heads[payload.through])
            heads.append(next_head(heads[-1], await ledgers[record.actor].append(payload)))
        kept = EthereumLedger.connect(url, made.federation.contract, folder=folder / "daemon", retry_policy=FAST)
        reader = await stack.enter_async_context(await kept)
        assert len(await reader.records()) == len(simulation.chain.records)
    file = FederationFile(
        rpc=url, chain_id=made.federation.chain_id, contract=made.federation.contract, block=made.block
    )
    save_federation(folder / "federation.toml", file)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A federation that was played on a chain which still runs."""
    made = tmp_path_factory.mktemp("played")
    chain = asyncio.run(start(asyncio.run(anvil()), made / "chain"))
    try:
        asyncio.run(play(chain.url, made))
        yield made
    finally:
        asyncio.run(stop(made / "chain"))


def verify(folder: Path, *words: str) -> tuple[int, dict[str, Any]]:
    common = ["--federation", str(folder / "federation.toml"), "--json"]
    result = CliRunner().invoke(app, ["verify", *common, *words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, json.loads(result.stdout)


def test_a_whole_federation(folder: Path) -> None:
    code, report = verify(folder, "--blobs", str(folder / "blobs"))
    assert (code, report["recomputed"], report["head_compared_with"]) == (0, 2, "the contract's head")
    assert len(agree_on_disk(folder / "daemon" / "ledger.sqlite", folder / "blobs")) == 3


@pytest.mark.parametrize("words", [[], ["--offline"]])
@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("UPDATE records SET time = time + 1 WHERE seq = 9", "record-changed"),
        ("DELETE FROM records WHERE seq = 9", "record-missing"),
    ],
)
def test_a_damaged_mirror(folder: Path, tmp_path: Path, words: list[str], statement: str, rule: str) -> None:
    mirror = Path(shutil.copy(folder / "daemon" / "ledger.sqlite", tmp_path))
    damage(mirror, statement)
    code, report = verify(folder, "--blobs", str(folder / "blobs"), "--mirror", str(mirror), *words)
    assert code == 1
    assert [(one["rule"], one["subject"]) for one in report["findings"]] == [(rule, "record 9")]
    assert report["findings"][0]["evidence"]["transaction"].startswith("0x")


def test_a_damaged_blob(folder: Path, tmp_path: Path) -> None:
    blobs = Path(shutil.copytree(folder / "blobs", tmp_path / "blobs"))
    blob = max(blobs.iterdir(), key=lambda path: path.stat().st_size)
    blob.write_bytes(blob.read_bytes()[:-1] + b"!")
    code, report = verify(folder, "--blobs", str(blobs), "--blobs", str(folder / "blobs"))
    assert (code, report["recomputed"]) == (1, 2)
    assert [one["evidence"]["file"] for one in report["findings"]] == [str(blob)]
    assert [one["evidence"]["byte"] for one in report["findings"]] == [blob.stat().st_size - 1]


def test_another_chain_than_the_file_says(folder: Path, tmp_path: Path) -> None:
    file = load_federation(folder / "federation.toml").model_copy(update={"chain_id": 1})
    save_federation(tmp_path / "federation.toml", file)
    result = CliRunner().invoke(app, ["verify", "--federation", str(tmp_path / "federation.toml")])
    assert isinstance(result.exception, ConfigError)
    assert "serves chain 31337" in str(result.exception)
