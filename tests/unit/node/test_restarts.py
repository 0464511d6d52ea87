"""A node that was killed goes on where it was; nothing is lost or submitted twice."""

from __future__ import annotations

from simulation.services import running, until
from unit.node.site import Site

from fedchain.core.ledger.content import Content
from fedchain.core.ledger.records import MemberSet, Role, UpdateSubmitted, Version
from fedchain.node.journal import SqliteJournal
from fedchain.node.options import NodeOptions
from fedchain.simulation.clock import DAY
from fedchain.simulation.training import SimulatedTraining
from fedchain.simulation.world import GOVERNOR


async def test_an_update_that_the_ledger_refuses_is_not_submitted_again(site: Site) -> None:
    prepare(site, site.simulation.train(0, 0))
    site.simulation.act(GOVERNOR, MemberSet(site.member, Role.NONE))
    node = site.node()
    async with running(node) as work:
        await until(work, lambda: node.status()["updates"] == {"refused": 1})
        site.simulation.act(GOVERNOR, MemberSet(site.member, Role.TRAINER))
        await until(work, lambda: node.status()["updates"] == {"refused": 1, "included": 3})


def prepare(site: Site, content: Content) -> None:
    """Leave the journal as a node that was killed after it stored an update."""
    journal = SqliteJournal(site.journal)
    journal.stored(journal.begin(Version(0)), 100, content)
    journal.close()


async def test_what_was_stored_before_a_kill_is_submitted_after_it(site: Site) -> None:
    content = site.simulation.train(0, 0)
    prepare(site, content)
    node = site.node()
    async with running(node) as work:
        await until(work, lambda: len(site.submitted) == 3)
    first = site.submitted[0].payload
    assert first == UpdateSubmitted(Version(0), 100, content)


async def test_what_was_included_before_a_kill_is_not_submitted_twice(site: Site) -> None:
    content = site.simulation.train(0, 0)
    prepare(site, content)
    await site.ledger.append(UpdateSubmitted(Version(0), 100, content), f"update:{content.cid}")
    node = site.node()
    async with running(node) as work:
        await until(work, lambda: node.status()["updates"] == {"included": 3})
    assert len(site.submitted) == 3


async def test_a_training_that_was_cut_off_is_done_again_with_its_number_and_seed(site: Site) -> None:
    clock = site.simulation.clock
    slow, quick = SimulatedTraining(clock, 365 * DAY), SimulatedTraining(clock)
    for _ in range(2):
        node = site.node(training=slow, options=NodeOptions(seed=7))
        async with running(node) as work:
            seen = len(slow.seeds)
            await until(work, lambda seen=seen: len(slow.seeds) > seen)  # type: ignore[misc]
            assert node.status()["updates"] == {"training": 1}
            assert node.status()["doing"] == "training on version 0"
    node = site.node(training=quick, options=NodeOptions(seed=7))
    async with running(node) as work:
        await until(work, lambda: len(site.submitted) == 3)
    assert slow.seeds == [(7 << 32) + 1] * 2
    assert quick.seeds == [(7 << 32) + number for number in (1, 2, 3)]
