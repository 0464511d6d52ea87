"""A site of the simulated federation: its task, and a ledger that a test can cut off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import torch
from simulation.federation import Simulation

from fedchain.core.errors import LedgerError
from fedchain.core.records import Address, Head, Payload, Record, Seq, UpdateSubmitted
from fedchain.ledger.memory import MemoryChain, MemoryLedger
from fedchain.node.journal import Journal
from fedchain.node.node import Node
from fedchain.node.settings import NodeTable
from fedchain.store.alone import LoneStore
from fedchain.training.task import Fit, Run
from fedchain.training.trainer import Options, Trainer

PATIENCE_S = 20


class Small:
    """A task whose model is the simulation's; training adds a little that depends on the seed."""

    def model(self) -> torch.nn.Module:
        model = torch.nn.Module()
        model.weight = torch.nn.Parameter(torch.linspace(-1, 1, 12))
        model.bias = torch.nn.Parameter(torch.zeros(3))
        model.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        model.register_buffer("mask", torch.ones(5, dtype=torch.uint8))
        return model

    def train(self, model: torch.nn.Module, run: Run) -> Fit:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.001 * (run.seed % 100))
        return Fit(100, {"seed": run.seed})

    def evaluate(self, model: torch.nn.Module, run: Run) -> dict[str, float]:
        return {"bias": float(model.get_parameter("bias")[0])}


class Cut(MemoryLedger):
    """A ledger that fails as a test says: an error for reading, and one for appending."""

    def __init__(self, chain: MemoryChain, actor: Address) -> None:
        super().__init__(chain, actor)
        self.reading: LedgerError | None = None
        self.appending: LedgerError | None = None
        self.cut_after: tuple[int, LedgerError] | None = None
        """Let so many records through, then fail at everything."""

    async def records(self, start: Seq = Seq(0), after: Head | None = None) -> Sequence[Record]:
        self._fail(self.reading)
        return await super().records(start, after)

    async def wait(self, start: Seq, timeout: float) -> None:
        self._fail(self.reading)
        await super().wait(start, timeout)

    async def append(self, payload: Payload, key: str | None = None) -> Record:
        self._fail(self.appending)
        record = await super().append(payload, key)
        if self.cut_after is not None:
            rest, error = self.cut_after
            self.cut_after = (rest - 1, error)
            if rest == 1:
                self.reading = self.appending = error
        return record

    def mend(self) -> None:
        """Answer again."""
        self.reading = self.appending = self.cut_after = None

    def _fail(self, error: LedgerError | None) -> None:
        if error is not None:
            raise error


class Site:
    """The first site of a simulation, with all that a node needs."""

    def __init__(self, folder: Path, simulation: Simulation, number: int = 0) -> None:
        self.folder = folder
        self.simulation = simulation
        self.member = simulation.site(number)
        self.ledger = Cut(simulation.chain, self.member)

    @property
    def journal(self) -> Path:
        return self.folder / f"{self.member}.sqlite"

    def node(self, task: Small | None = None, **settings: object) -> Node:
        """Make a node, as a start of the daemon does."""
        fixed = {"folder": self.folder, "task": "-", "ledger": {"federation": "-"}}
        table = NodeTable.model_validate({**fixed, "key": {"file": "-"}, "web": {"port": 1}, **settings})
        trainer = Trainer(task or Small(), options=Options(device="cpu", threads=1))
        store = LoneStore(self.simulation.blobs)
        return Node(self.member, self.ledger, store, trainer=trainer, journal=Journal(self.journal), table=table)

    @property
    def submitted(self) -> list[Record]:
        """This site's updates on the ledger."""
        return [
            record
            for record in self.simulation.chain.records
            if isinstance(record.payload, UpdateSubmitted) and record.actor == self.member
        ]


@asynccontextmanager
async def running(node: Node) -> AsyncIterator[asyncio.Task[None]]:
    """Run a node; what ends it early ends the test."""
    work = asyncio.create_task(node.run())
    try:
        yield work
    finally:
        work.cancel()
        (end,) = await asyncio.gather(work, return_exceptions=True)
    if isinstance(end, BaseException) and not isinstance(end, asyncio.CancelledError):
        raise end


async def until(work: asyncio.Task[None], done: Callable[[], bool]) -> None:
    """Wait until something holds while the work goes on."""
    async with asyncio.timeout(PATIENCE_S):
        while not done():
            if work.done():
                work.result()
            await asyncio.sleep(0.005)
