"""An aggregator at work in a simulated federation: the ports in memory."""

from __future__ import annotations

import pytest
from simulation.services import running, until
from unit.aggregator.world import World

from fedchain.core.errors import ConfigError, FormatError, LedgerError, LedgerUnreachable
from fedchain.core.ledger.records import (
    BufferClosed,
    MemberSet,
    Role,
    Seq,
    Version,
)
from fedchain.simulation.world import AGGREGATOR, GOVERNOR

DOWN = LedgerUnreachable("http://127.0.0.1:8545 does not answer: is it running?")


async def test_it_publishes_what_the_rules_imply(world: World) -> None:
    aggregator = world.aggregator()
    async with running(aggregator) as work:
        await until(work, lambda: aggregator.not_ready() is None)
        first, second = world.submit(0), world.submit(1)
        await until(work, lambda: world.is_published(1))
        await until(work, lambda: aggregator.status()["version"] == 1 and aggregator.status()["doing"] == "waiting")
        status = aggregator.status()
    assert world.decisions(1) == {first.seq: "merged", second.seq: "merged"}
    assert (status["updates"], status["mean_staleness"], status["waiting"]) == ({"merged": 2}, 0, 0)
    assert aggregator.registry.get_sample_value("fedchain_published_total") == 1
    assert aggregator.registry.get_sample_value("fedchain_version") == 1
    await world.follower.advance()
    assert world.follower.faults == []


async def test_a_buffer_is_closed_once_it_is_due_and_not_before() -> None:
    world = World(size=3, timeout_s=2)
    world.lag_s = 1
    await world.deploy()
    aggregator = world.aggregator()
    async with running(aggregator) as work:
        await until(work, lambda: aggregator.not_ready() is None)
        assert world.records_of(BufferClosed) == []  # nothing is admitted, so nothing is due
        update = world.submit(0)
        due = update.time + 2
        await until(work, lambda: aggregator.status()["waiting"] == 1)
        await until(work, lambda: bool(world.records_of(BufferClosed)))
        assert world.clock.now() >= due
        assert world.records_of(BufferClosed)[0].time < due  # the chain's clock lags behind: too early to count
        assert not world.is_published(1)
        world.lag_s = 0
        await until(work, lambda: world.is_published(1))
    assert world.records_of(BufferClosed)[-1].time >= due
    assert world.decisions(1) == {update.seq: "merged"}


async def test_it_says_what_stands_in_its_way() -> None:
    world = World()
    aggregator = world.aggregator()
    async with running(aggregator) as work:
        await until(work, lambda: aggregator.status()["records"] == 1)
        assert str(aggregator.not_ready()).startswith("genesis is not published yet")
        world.admit_members()
        world.publish_genesis()
        world.act(GOVERNOR, MemberSet(AGGREGATOR, Role.NONE))
        await until(work, lambda: aggregator.status()["records"] == len(world.chain.records))
        assert aggregator.not_ready() == "no valid policy is set: the governor sets one with `fedchain policy set`"
        world.set_policy(world.policy)
        await until(work, lambda: "is not an aggregator: the governor makes it one" in str(aggregator.not_ready()))
        world.submit(0)
        world.submit(1)
        await until(work, lambda: aggregator.status()["records"] == len(world.chain.records))
        assert not world.is_published(1)
        world.act(GOVERNOR, MemberSet(AGGREGATOR, Role.AGGREGATOR))
        await until(work, lambda: world.is_published(1))


async def test_it_pauses_and_resumes(world: World) -> None:
    aggregator = world.aggregator()
    aggregator.control("pause")
    async with running(aggregator) as work:
        world.submit(0)
        last = world.submit(1)
        await until(work, lambda: aggregator.status()["records"] == last.seq + 1)
        await until(work, lambda: aggregator.status()["doing"] == "waiting")
        assert (aggregator.not_ready(), world.is_published(1)) == ("paused", False)
        aggregator.control("resume")
        await until(work, lambda: world.is_published(1))
    with pytest.raises(ConfigError, match="control has pause and resume, not stop"):
        aggregator.control("stop")


@pytest.mark.parametrize("error", [DOWN, LedgerError("0x12 cannot append: insufficient funds"), FormatError("odd")])
async def test_what_fails_is_said_and_tried_again(world: World, error: LedgerError) -> None:
    world.submit(0)
    world.submit(1)
    world.ledger_of(AGGREGATOR).appending = error
    aggregator = world.aggregator()
    async with running(aggregator) as work:
        await until(work, lambda: aggregator.not_ready() == str(error))
        world.ledger_of(AGGREGATOR).mend()
        await until(work, lambda: world.is_published(1))
        await until(work, lambda: aggregator.not_ready() is None)
        world.ledger_of(AGGREGATOR).reading = DOWN
        await until(work, lambda: aggregator.not_ready() == str(DOWN))
        world.ledger_of(AGGREGATOR).mend()
        await until(work, lambda: aggregator.not_ready() is None)


async def test_nothing_is_done_twice_after_a_restart(world: World) -> None:
    world.submit(0)
    world.submit(1)
    async with running(world.aggregator()) as work:
        await until(work, lambda: world.is_published(1))
    before = len(world.chain.records)
    aggregator = world.aggregator()
    async with running(aggregator) as work:
        await until(work, lambda: aggregator.status()["version"] == Version(1))
        await until(work, lambda: aggregator.status()["doing"] == "waiting")
    assert len(world.chain.records) == before
    assert aggregator.status()["records"] == Seq(before)
