"""Daemons' services at work in a simulated federation, on a ledger that a test can cut off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from fedchain.core.errors import LedgerError
from fedchain.core.ledger.records import Address, Head, Payload, Record, Seq
from fedchain.daemon.service import Service
from fedchain.ledger.memory import MemoryChain, MemoryLedger

PATIENCE_S = 20


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


@asynccontextmanager
async def running(service: Service) -> AsyncIterator[asyncio.Task[None]]:
    """Run a service; what ends it early ends the test."""
    work = asyncio.create_task(service.run())
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
