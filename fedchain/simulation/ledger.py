"""A member's connection to the simulated chain: it takes time, and fails when a script says so."""

from __future__ import annotations

from collections.abc import Sequence

from fedchain.core.errors import LedgerError
from fedchain.core.ledger.records import Address, Head, Payload, Record, Seq
from fedchain.core.ports import Clock
from fedchain.ledger.memory import MemoryChain, MemoryLedger


class MemberLedger(MemoryLedger):
    """The ledger as one member reaches it."""

    def __init__(self, chain: MemoryChain, actor: Address, clock: Clock, latency_s: float = 0.0) -> None:
        """Connect; a record is on the chain `latency_s` after it was sent, and the answer takes as long again."""
        super().__init__(chain, actor)
        self.reading: LedgerError | None = None
        """What reading fails with."""
        self.appending: LedgerError | None = None
        """What appending fails with."""
        self.cut_after: tuple[int, LedgerError] | None = None
        """Let so many records through, then fail at everything."""
        self._clock = clock
        self._latency_s = latency_s

    async def records(self, start: Seq = Seq(0), after: Head | None = None) -> Sequence[Record]:
        """Return records as the chain does; fails as it is told to."""
        self._fail(self.reading)
        return await super().records(start, after)

    async def wait(self, start: Seq, timeout: float) -> None:
        """Wait as the chain does; fails as it is told to."""
        self._fail(self.reading)
        await super().wait(start, timeout)

    async def append(self, payload: Payload, key: str | None = None) -> Record:
        """Append as the chain does; fails as it is told to, before the record or, cut off, after it."""
        self._fail(self.appending)
        await self._travel()
        record = await super().append(payload, key)
        if self.cut_after is not None:
            rest, error = self.cut_after
            self.cut_after = (rest - 1, error)
            if rest == 1:
                self.fail(error)
        await self._travel()
        return record

    def fail(self, error: LedgerError) -> None:
        """Fail at everything from now on."""
        self.reading = self.appending = error

    def mend(self) -> None:
        """Answer again."""
        self.reading = self.appending = self.cut_after = None

    async def _travel(self) -> None:
        if self._latency_s:
            await self._clock.sleep(self._latency_s)
            self._fail(self.appending)

    def _fail(self, error: LedgerError | None) -> None:
        if error is not None:
            raise error
