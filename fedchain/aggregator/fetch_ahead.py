"""Fetching ahead: every update that the open buffer may take is fetched and inspected before it is needed."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from fedchain.core.backoff import Backoff
from fedchain.core.errors import FedchainError
from fedchain.core.ledger.records import Record, Seq, Version
from fedchain.core.ports import Clock, Store
from fedchain.core.rules.buffer import BufferState
from fedchain.core.rules.judged import Inspection
from fedchain.core.rules.policy import Policy
from fedchain.core.updates.inspection import UNAVAILABLE
from fedchain.daemon.service import Pace
from fedchain.replica.follower import Follower
from fedchain.replica.inspector import Inspector

log = logging.getLogger(__name__)

FETCHES: Final = 4
"""Updates fetched and inspected at once."""


class FetchAhead:
    """Inspections of updates that no version has consumed yet, as they come in."""

    def __init__(
        self, follower: Follower, store: Store, *, clock: Clock, pace: Pace, unavailable_after_s: float
    ) -> None:
        """Fetch nothing yet; what no peer has is unavailable so many seconds after its record, not earlier."""
        self.inspections: dict[Seq, Inspection] = {}
        """What was found, by the update's record."""
        self.news = asyncio.Event()
        """Set after each attempt, whatever came of it."""
        self._follower = follower
        self._store = store
        self._clock = clock
        self._pace = pace
        self._unavailable_after_s = unavailable_after_s
        self._running: dict[Seq, asyncio.Task[None]] = {}
        self._backoffs: dict[Seq, Backoff] = {}
        self._version: Version | None = None
        """The version whose buffer is filling."""
        self._slots = asyncio.Semaphore(FETCHES)

    def start(self, state: BufferState) -> None:
        """Start on every update that the buffer's state waits for; forget those that a version has consumed."""
        if state.version != self._version:
            self._version = state.version
            waiting = {record.seq for record in self._follower.history.tail}
            for kept in (self.inspections, self._backoffs):
                for seq in kept.keys() - waiting:
                    del kept[seq]
        for record in state.to_inspect:
            if record.seq not in self._running:
                self._running[record.seq] = asyncio.create_task(self._attempt(record, state.policy))

    def clear(self) -> None:
        """Forget everything: after a reorganisation a seq may name another record."""
        for task in self._running.values():
            task.cancel()
        for kept in (self.inspections, self._running, self._backoffs):
            kept.clear()

    async def _attempt(self, record: Record, policy: Policy) -> None:
        """Try once to find out what an update's content is; where that fails, end only when it may be tried again."""
        try:
            async with self._slots:
                inspector = Inspector(self._follower.history, await self._follower.layout(), self._store)
                found = await inspector.inspect(record, policy)
            left = record.time + self._unavailable_after_s - self._clock.now()
            if found is UNAVAILABLE and left > 0:
                log.info("record %d: no peer has %s yet", record.seq, record.payload)
                await self._clock.sleep(min(self._wait(record.seq), left))
            else:
                self.inspections[record.seq] = found
        except FedchainError as error:
            wait = self._wait(record.seq)
            log.warning("record %d: %s; trying again in %.1f s", record.seq, error, wait)
            await self._clock.sleep(wait)
        finally:
            if self._running.get(record.seq) is asyncio.current_task():
                del self._running[record.seq]
            self.news.set()

    def _wait(self, seq: Seq) -> float:
        return self._backoffs.setdefault(seq, self._pace.backoff()).failed()
