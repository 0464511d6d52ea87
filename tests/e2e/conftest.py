"""Whole federations: a real chain, real processes, real sockets, real patients."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest_asyncio
from oracle.compare import agree

from fedchain.cli.demo.actors import Processes, processes
from fedchain.cli.demo.stage import Actor, Site, Stage, build
from fedchain.cli.devnet import anvil
from fedchain.cli.ledger import open_ledger
from fedchain.core.ledger.records import ModelPublished, Record
from fedchain.core.rules.policy import Policy
from fedchain.devnet.anvil import devnet
from fedchain.store.files import FileBlobs
from fedchain.training.examples.partition import EXAMPLES, write_parts
from fedchain.training.task import load_task
from fedchain.training.trainer import Options, Trainer

PATIENCE_S = 90


@dataclass
class Federation:
    """A federation that a test starts, hurts and audits."""

    stage: Stage
    running: Processes

    async def start(self, *actors: Actor) -> None:
        for actor in actors:
            await self.running.start(actor)

    async def until_version(self, version: int) -> list[Record]:
        """Wait until a version is on the ledger and return all records."""
        async with asyncio.timeout(PATIENCE_S), await open_ledger(self.stage.file) as ledger:
            while True:
                self.running.check()
                found = list(await ledger.records())
                if any(isinstance(r.payload, ModelPublished) and r.payload.version >= version for r in found):
                    return found
                await ledger.wait(found[-1].seq + 1, 1.0)

    async def records(self) -> list[Record]:
        async with await open_ledger(self.stage.file) as ledger:
            return list(await ledger.records())

    async def audit(self, actors: Sequence[Actor]) -> tuple[int, str]:
        """Run the audit as a program over the actors' blobs, and the oracle beside it; returns exit code and output."""
        blobs = [word for actor in actors for word in ("--blobs", str(actor.blobs))]
        command = ["audit", "verify", "--federation", str(self.stage.federation), *blobs]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "fedchain", *command),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        assert process.returncode is not None
        async with await open_ledger(self.stage.file) as ledger:
            folders = [FileBlobs(actor.blobs) for actor in actors]
            agree(ledger.federation, await ledger.records(), *folders)
        return process.returncode, out.decode()


Found = Callable[[Policy, int], Awaitable[Federation]]


@pytest_asyncio.fixture
async def found(tmp_path: Path) -> AsyncIterator[Found]:
    """Found federations of hospitals on a chain of their own; whatever a test started is ended."""
    async with devnet(await anvil(), tmp_path / "devnet") as chain, processes() as running:

        async def make(policy: Policy, sites: int) -> Federation:
            names = [f"hospital-{i + 1}" for i in range(sites)]
            example = EXAMPLES["wdbc"]
            write_parts("wdbc", [tmp_path / name for name in names], tmp_path / "apart")
            trainer = Trainer(load_task(example.task), options=Options(device="cpu", threads=1))
            genesis = await trainer.genesis(0)
            trainer.close()
            tables = [
                Site(name, {"device": "cpu", "threads": 1, "steps": 20}, {"data": example.file}, {"evaluate": False})
                for name in names
            ]
            stage = await build(tmp_path, chain.url, task=example.task, policy=policy, sites=tables, genesis=genesis)
            return Federation(stage, running)

        yield make
