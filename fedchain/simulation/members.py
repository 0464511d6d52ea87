"""The members' services at work: the real node and aggregator, started, stopped, killed and started again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Final, Self

from fedchain.aggregator.aggregator import Aggregator
from fedchain.core.errors import LedgerUnreachable
from fedchain.core.ledger.records import Address
from fedchain.core.ports import Training
from fedchain.daemon.service import Pace, Service
from fedchain.node.journal import SqliteJournal
from fedchain.node.node import Node
from fedchain.node.options import NodeOptions
from fedchain.simulation.clock import DAY, inline, until
from fedchain.simulation.federation import Simulation
from fedchain.simulation.training import SimulatedTraining
from fedchain.simulation.world import AGGREGATOR

OPTIONS: Final = NodeOptions()


class LastingJournal(SqliteJournal):
    """A journal in memory that outlives the node that closes it, as a file does."""

    def close(self) -> None:
        """Keep everything for the node's next start."""

    def drop(self) -> None:
        """Close it for good."""
        super().close()


@dataclass(frozen=True, slots=True)
class Process:
    """A service at work, and how it is started again."""

    service: Service
    work: asyncio.Task[None]
    start: Callable[[], Service]


class Services:
    """The services of a federation; leaving the block stops them.

    Whoever has been started is reached by the others as long as it runs; `simulation.cut` and `heal` are for outages.
    """

    def __init__(self, simulation: Simulation, *, pace: Pace | None = None, folder: Path | None = None) -> None:
        """Prepare; journals are files in the folder, or in memory where there is none."""
        self.simulation = simulation
        self.processes: dict[Address, Process] = {}
        """Those that run, and those that ended by themselves."""
        jitter = Random(simulation.seed).random  # noqa: S311 - not a secret
        self._pace = pace or Pace(idle_s=60.0, random=jitter)  # the chain in memory tells at once what is new
        self._folder = folder
        self._journals: dict[Address, LastingJournal] = {}
        self._stopped: dict[Address, Callable[[], Service]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async with AsyncExitStack() as stack:  # all of them, whatever one ended with
            for journal in self._journals.values():
                stack.callback(journal.drop)
            for one in self.processes:
                stack.push_async_callback(self.stop, one)

    def start_aggregator(self, member: Address = AGGREGATOR, *, unavailable_after_s: float = 60.0) -> Service:
        """Start an aggregator, with nothing but its blobs."""
        simulation = self.simulation

        def start() -> Service:
            return Aggregator(
                member,
                simulation.ledger_of(member),
                simulation.network.store(member),
                clock=simulation.clock,
                offload=inline,
                threads=1,
                unavailable_after_s=unavailable_after_s,
                pace=self._pace,
            )

        return self._start(member, start)

    def start_node(
        self, number: int, *, seconds: float = 60.0, training: Training | None = None, options: NodeOptions = OPTIONS
    ) -> Service:
        """Start a site's node, which trains so many seconds at a time unless it is given a training of its own."""
        simulation, member = self.simulation, self.simulation.site(number)
        seeded = replace(options, seed=options.seed or simulation.seed * 1000 + number)

        def start() -> Service:
            return Node(
                member,
                simulation.ledger_of(member),
                simulation.network.store(member),
                training=training or SimulatedTraining(simulation.clock, seconds, samples=100 + number),
                journal=self.journal(member),
                clock=simulation.clock,
                offload=inline,
                options=seeded,
                pace=self._pace,
            )

        return self._start(member, start)

    def restart(self, member: Address) -> Service:
        """Start a member that was stopped or killed again, as it was started."""
        return self._start(member, self._stopped.pop(member))

    def journal(self, member: Address) -> SqliteJournal:
        """Open a site's journal."""
        if self._folder is not None:
            return SqliteJournal(self._folder / f"{member}.sqlite")
        return self._journals.setdefault(member, LastingJournal(None))

    async def stop(self, member: Address) -> None:
        """Stop a member's service as SIGTERM does; raises what it ended with, if it ended by itself."""
        process = self.processes.pop(member)
        self._stopped[member] = process.start
        process.work.cancel()
        try:
            await process.work
        except asyncio.CancelledError:
            if not process.work.cancelled():
                raise
        finally:
            self.simulation.network.cut(member)

    async def kill(self, member: Address) -> None:
        """Stop a member's service as SIGKILL does: from this moment on nothing it does reaches anybody."""
        ledger = self.simulation.ledger_of(member)
        ledger.fail(LedgerUnreachable(f"{member} was killed"))
        self.simulation.network.cut(member)
        try:
            await self.stop(member)
        finally:
            ledger.mend()

    async def until(self, condition: Callable[[], bool], timeout_s: float = DAY) -> None:
        """Let time pass until a condition holds, which is asked whenever nothing is left to do at a moment.

        Raises TimeoutError with what everybody does, and what a service ended with.
        """
        try:
            await until(condition, *(process.work for process in self.processes.values()), timeout_s=timeout_s)
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {self._doing()}") from None

    def _doing(self) -> str:
        states = [(member, process.service) for member, process in self.processes.items()]
        return "; ".join(f"{member} {one.activity.doing} ({one.not_ready() or 'ready'})" for member, one in states)

    def _start(self, member: Address, start: Callable[[], Service]) -> Service:
        assert member not in self.processes, f"{member} runs already"
        self.simulation.network.heal(member)
        service = start()
        work = asyncio.get_running_loop().create_task(service.run(), name=f"{type(service).__name__} {member}")
        self.processes[member] = Process(service, work, start)
        return service
