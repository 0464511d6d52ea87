"""The submitter by itself: a journal in memory, a ledger in memory that a test cuts off, virtual time."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from simulation.services import until
from unit.node.site import Site

from fedchain.core.backoff import Backoff
from fedchain.core.errors import LedgerUnreachable
from fedchain.core.ledger.records import EvaluationReported, Version
from fedchain.node.journal import SqliteJournal
from fedchain.node.submitter import Submitter
from fedchain.simulation.clock import DAY

DOWN = LedgerUnreachable("http://127.0.0.1:8545 does not answer")


class Desk:
    """A submitter with what it works on."""

    def __init__(self, site: Site, path: Path | None = None) -> None:
        self.site = site
        self.journal = SqliteJournal(path)
        self.clock = site.simulation.clock
        self.submitter = Submitter(site.ledger, self.journal, self.clock, Backoff(1.0, 4.0, lambda: 1.0))

    def store(self) -> None:
        """Store one more update, as a training does."""
        self.journal.stored(self.journal.begin(Version(0)), 10, self.site.simulation.train(0, 0))
        self.submitter.wake()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        work = asyncio.create_task(self.submitter.run())
        try:
            yield work
        finally:
            work.cancel()
            await asyncio.wait([work], timeout=DAY)
            self.journal.close()


async def test_stored_updates_come_to_the_ledger_in_their_order(site: Site) -> None:
    desk = Desk(site)
    desk.store()
    desk.store()
    contents = [entry.content for entry in desk.journal.waiting()]
    async with desk.running() as work:
        await until(work, lambda: desk.journal.counts() == {"included": 2})
        desk.store()
        await until(work, lambda: desk.journal.counts() == {"included": 3})
    assert [record.payload.content for record in site.submitted][:2] == contents  # type: ignore[union-attr]
    assert desk.clock.sleeps == []


async def test_it_backs_off_while_the_ledger_is_away(site: Site) -> None:
    desk = Desk(site)
    site.ledger.appending = DOWN
    desk.store()
    async with desk.running() as work:
        await until(work, lambda: len(desk.clock.sleeps) >= 4)
        assert desk.clock.sleeps[:4] == [1.0, 2.0, 4.0, 4.0]
        assert desk.submitter.last_error == f"an update is not on the ledger yet: {DOWN}"
        site.ledger.mend()
        await until(work, lambda: desk.submitter.last_error is None)
    assert len(site.submitted) == 1


async def test_a_journal_that_cannot_note_an_inclusion_submits_nothing_twice(site: Site, tmp_path: Path) -> None:
    desk = Desk(site, tmp_path / "journal.sqlite")
    desk.store()
    with closing(sqlite3.connect(tmp_path / "journal.sqlite", isolation_level=None)) as another:
        another.execute("BEGIN IMMEDIATE")
        async with desk.running() as work:
            await until(work, lambda: len(desk.clock.sleeps) >= 2)
            assert "another process is using it" in str(desk.submitter.last_error)
            another.execute("COMMIT")
            await until(work, lambda: desk.submitter.last_error is None)
            assert desk.journal.counts() == {"included": 1}
    assert len(site.submitted) == 1


async def test_a_record_that_nothing_waits_for_may_fail(site: Site) -> None:
    desk = Desk(site)
    report = EvaluationReported(Version(0), site.simulation.put(b"report"))
    async with desk.running() as work:
        site.ledger.appending = DOWN
        desk.submitter.append(report, "report:0")
        await until(work, lambda: not desk.submitter._background)
        site.ledger.mend()
        desk.submitter.append(report, "report:0")
        await until(work, lambda: not desk.submitter._background)
        assert desk.submitter.last_error is None
    assert [record.payload for record in site.simulation.chain.records].count(report) == 1
