"""The submitter: brings what the journal has stored to the ledger, oldest first, whatever the training does."""

from __future__ import annotations

import asyncio
import logging

from fedchain.core.backoff import Backoff
from fedchain.core.errors import DatabaseError, LedgerError, LedgerRefused
from fedchain.core.ledger.records import Payload
from fedchain.core.ports import Clock, Journal, JournalEntry, Ledger

log = logging.getLogger(__name__)


class Submitter:
    """A site's records on their way to the ledger."""

    def __init__(self, ledger: Ledger, journal: Journal, clock: Clock, backoff: Backoff) -> None:
        self.last_error: str | None = None
        """Why an update is not on the ledger yet."""
        self._ledger = ledger
        self._journal = journal
        self._clock = clock
        self._backoff = backoff
        self._stored = asyncio.Event()
        self._background: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Submit every stored update until cancelled; what fails is tried again."""
        try:
            while True:
                self._stored.clear()
                try:
                    for entry in self._journal.waiting():
                        await self._submit(entry)
                except (LedgerError, DatabaseError) as error:
                    await self._failed(error)
                else:
                    self.last_error = None
                    self._backoff.succeeded()
                    await self._stored.wait()
        finally:
            for task in self._background:
                task.cancel()

    def wake(self) -> None:
        """Look into the journal again: an update was stored."""
        self._stored.set()

    def append(self, payload: Payload, key: str) -> None:
        """Append a record that nothing waits for, once per key; where that fails the log says so."""
        task = asyncio.create_task(self._append(payload, key))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _submit(self, entry: JournalEntry) -> None:
        try:
            record = await self._ledger.append(entry.update, key=f"update:{entry.content.cid}")
        except LedgerRefused as error:
            log.error("update %d is refused: %s", entry.number, error)
            self._journal.refused(entry, str(error))
        else:
            self._journal.included(entry, record.seq)
            log.info("update to version %d is record %d", entry.base, record.seq)

    async def _failed(self, error: LedgerError | DatabaseError) -> None:
        self.last_error = f"an update is not on the ledger yet: {error}"
        wait = self._backoff.failed()
        log.warning("%s; trying again in %.1f s", self.last_error, wait)
        await self._clock.sleep(wait)

    async def _append(self, payload: Payload, key: str) -> None:
        try:
            await self._ledger.append(payload, key)
        except (LedgerError, DatabaseError) as error:
            log.warning("%s is not on the ledger: %s", key, error)
