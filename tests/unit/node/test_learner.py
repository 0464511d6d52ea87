"""The learner by itself: without torch, in virtual time, on a journal that cannot be written."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest
from numpy.typing import NDArray
from simulation.services import running, until
from unit.node.site import Site

from fedchain.core.errors import LedgerUnreachable
from fedchain.core.ports import Trained
from fedchain.daemon.service import Pace
from fedchain.node.journal import SqliteJournal
from fedchain.node.options import NodeOptions

DOWN = LedgerUnreachable("http://127.0.0.1:8545 does not answer")


class Counting:
    """A training that adds a little to every parameter, and counts."""

    device = "abacus"

    def __init__(self) -> None:
        self.seeds: list[int] = []
        self.steps: list[int | None] = []
        self.is_closed = False

    async def train(self, arrays: dict[str, NDArray[Any]], seed: int, steps: int | None = None) -> Trained:
        self.seeds.append(seed)
        self.steps.append(steps)
        changed = {name: array + array.dtype.type(len(self.seeds) * 0.01) for name, array in arrays.items()}
        return Trained(changed, 7, {"loss": 0.5}, 0.25)

    async def evaluate(self, arrays: dict[str, NDArray[Any]]) -> dict[str, float]:
        return {"tensors": float(len(arrays))}

    def close(self) -> None:
        self.is_closed = True


async def test_it_learns_with_any_training(site: Site) -> None:
    training = Counting()
    node = site.node(training=training, journal=SqliteJournal(None), options=NodeOptions(seed=3, steps=9))
    async with running(node) as work:
        await until(work, lambda: node.status()["updates"] == {"included": 3})
        status = node.status()
    assert training.seeds == [(3 << 32) + number for number in (1, 2, 3)]
    assert training.steps == [9, 9, 9]
    assert (status["device"], status["metrics"]) == ("abacus", {"tensors": 4.0})
    assert node.registry.get_sample_value("fedchain_training_seconds_total") == 0.75
    assert {record.payload.samples for record in site.submitted} == {7}  # type: ignore[union-attr]
    assert training.is_closed


async def test_what_is_not_to_be_evaluated_is_not(site: Site) -> None:
    node = site.node(training=Counting(), options=NodeOptions(evaluate=False))
    async with running(node) as work:
        await until(work, lambda: len(site.submitted) == 3)
        assert node.status()["metrics"] == {}


async def test_a_machine_with_other_work_is_spared(site: Site) -> None:
    clock = site.simulation.clock
    node = site.node(training=Counting(), clock=clock, options=NodeOptions(at_least_s=3600.0))
    async with running(node) as work:
        await until(work, lambda: len(site.submitted) == 3)
    assert clock.sleeps == [3600.0] * 3


async def test_it_waits_longer_and_longer_for_a_ledger_that_is_away(site: Site) -> None:
    site.ledger.reading = DOWN
    clock = site.simulation.clock
    pace = Pace(retry_s=1.0, retry_cap_s=5.0, idle_s=0.02, random=lambda: 1.0)
    node = site.node(training=Counting(), clock=clock, pace=pace)
    async with running(node) as work:
        await until(work, lambda: len(clock.sleeps) >= 5)
        assert clock.sleeps[:5] == [1.0, 2.0, 4.0, 5.0, 5.0]
        assert node.not_ready() == str(DOWN)
        site.ledger.mend()
        await until(work, lambda: len(site.submitted) == 3 and node.not_ready() is None)
        before = len(clock.sleeps)
        site.ledger.reading = DOWN
        await until(work, lambda: len(clock.sleeps) > before)
    assert clock.sleeps[before] == 1.0


async def test_a_journal_that_cannot_be_written_is_said_and_tried_again(site: Site) -> None:
    node = site.node(training=Counting())
    with closing(sqlite3.connect(site.journal, isolation_level=None)) as another:
        another.execute("BEGIN IMMEDIATE")
        async with running(node) as work:
            await until(work, lambda: "is locked; another process is using it" in str(node.not_ready()))
            assert str(node.not_ready()).startswith(f"the journal {site.journal} cannot be used")
            assert (site.submitted, node.status()["version"]) == ([], 0)
            another.execute("COMMIT")
            await until(work, lambda: node.status()["updates"] == {"included": 3})
            await until(work, lambda: node.not_ready() is None)
    assert len(site.submitted) == 3


async def test_a_journal_that_is_damaged_says_what_may_be_done(site: Site) -> None:
    node = site.node(training=Counting())
    node._journal._db.all("DROP TABLE updates")  # type: ignore[attr-defined]
    async with running(node) as work:
        await until(work, lambda: node.not_ready() is not None and "no such table" in str(node.not_ready()))
        assert node.status()["updates"] == {}


@pytest.mark.parametrize("reading", [True, False])
async def test_a_node_says_what_it_waits_for_first(site: Site, reading: bool) -> None:
    if reading:
        site.ledger.reading = DOWN
    site.ledger.appending = DOWN
    node = site.node(training=Counting())
    async with running(node) as work:
        await until(work, lambda: node.not_ready() is not None and "does not answer" in str(node.not_ready()))
        expected = str(DOWN) if reading else f"an update is not on the ledger yet: {DOWN}"
        await until(work, lambda: node.not_ready() == expected)
