"""A node killed at any journalled step loses no update and submits none twice."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from fedchain.core.ledger.records import UpdateSubmitted
from fedchain.core.ports import Step
from fedchain.core.rules.policy import fedbuff
from fedchain.node.journal import SqliteJournal

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

RUNNER = Path(__file__).with_name("killed_node.py")
PATIENCE_S = 60


@pytest.mark.parametrize("step", [Step.TRAINING, Step.STORED, Step.INCLUDED])
async def test_no_update_is_lost_or_submitted_twice(found: Callable[..., Awaitable], step: Step) -> None:
    federation = await found(fedbuff(size=1), 1)
    (site,) = federation.stage.sites
    await federation.start(federation.stage.aggregator)
    doomed = await asyncio.create_subprocess_exec(sys.executable, str(RUNNER), str(site.config), str(step))
    assert await asyncio.wait_for(doomed.wait(), PATIENCE_S) == -signal.SIGKILL

    await federation.start(site)
    await federation.until_version(3)
    await federation.running.stop()
    on_ledger = [record for record in await federation.records() if isinstance(record.payload, UpdateSubmitted)]
    journal = SqliteJournal(site.folder / "state" / "journal.sqlite")
    entries = [*journal.included_since(0), *journal.waiting()]
    journal.close()

    contents = [record.payload.content for record in on_ledger]
    assert len(set(contents)) == len(contents)
    assert entries[0].number == 1
    assert contents == [entry.content for entry in entries[: len(contents)]]
    seqs = {record.payload.content: record.seq for record in on_ledger}
    assert all(entry.seq == seqs[entry.content] for entry in entries if entry.step is Step.INCLUDED)
    code, output = await federation.audit(federation.stage.actors)
    assert code == 0, output
