"""Fetching ahead, in virtual time."""

from __future__ import annotations

import asyncio

import pytest
from unit.aggregator.world import EAGER, World

from fedchain.aggregator.fetch_ahead import FetchAhead
from fedchain.core.ledger.content import Content
from fedchain.core.ledger.records import Record, UpdateSubmitted
from fedchain.core.rules.buffer import BufferState
from fedchain.core.updates.inspection import UNAVAILABLE
from fedchain.daemon.service import Pace
from fedchain.replica.follower import Follower
from fedchain.simulation.clock import DAY, inline


class Ahead:
    """A follower, and what it fetches ahead."""

    def __init__(self, world: World, pace: Pace = EAGER) -> None:
        self.world = world
        self.clock = world.clock
        self.follower = Follower(world.ledger, world.fetching, offload=inline)
        self.fetched = FetchAhead(
            self.follower, world.fetching, clock=self.clock, offload=inline, pace=pace, unavailable_after_s=3600
        )

    async def state(self) -> BufferState:
        await self.follower.advance()
        return self.follower.history.buffer().judge(self.fetched.inspections)

    async def attempt(self) -> None:
        """Start on what is to be inspected, and wait until something came of it."""
        self.fetched.news.clear()
        self.fetched.start(await self.state())
        await asyncio.wait_for(self.fetched.news.wait(), DAY)


@pytest.fixture
async def ahead(world: World) -> Ahead:
    return Ahead(world, Pace(retry_s=60, retry_cap_s=600, random=lambda: 1.0))


def lose(world: World, record: Record) -> tuple[Content, bytes]:
    assert isinstance(record.payload, UpdateSubmitted)
    content = record.payload.content
    data = world.blobs.open(content).read(0, content.size)
    world.network.lose(content)
    return content, data


async def test_updates_are_inspected_before_they_are_needed(world: World, ahead: Ahead) -> None:
    record = world.submit(0)
    await ahead.attempt()
    assert list(ahead.fetched.inspections) == [record.seq]
    assert (await ahead.state()).to_inspect == ()


async def test_what_no_peer_has_is_asked_for_ever_more_rarely_and_then_unavailable(world: World, ahead: Ahead) -> None:
    record = world.submit(0)
    lose(world, record)
    attempts = 0
    while record.seq not in ahead.fetched.inspections:
        await ahead.attempt()
        attempts += 1
    assert ahead.fetched.inspections[record.seq] is UNAVAILABLE
    assert ahead.clock.sleeps == [60, 120, 240, 480, 600, 600, 600, 600, 300]  # 3600 s in all
    assert attempts == 10


async def test_what_comes_late_is_taken(world: World, ahead: Ahead) -> None:
    record = world.submit(0)
    content, data = lose(world, record)
    await ahead.attempt()
    assert ahead.fetched.inspections == {}
    assert world.put(data) == content
    await ahead.attempt()
    assert ahead.fetched.inspections[record.seq].failure is None


async def test_what_a_version_consumed_is_forgotten(world: World, ahead: Ahead) -> None:
    world.submit(0)
    world.submit(1)
    while len(ahead.fetched.inspections) < 2:
        await ahead.attempt()
    await world.publish()
    ahead.fetched.start(await ahead.state())
    assert ahead.fetched.inspections == {}


async def test_after_a_reorganisation_no_old_attempt_reports(world: World, ahead: Ahead) -> None:
    world.submit(0)
    asked = asyncio.Event()

    async def never(_content: Content) -> None:
        asked.set()
        await asyncio.Event().wait()

    state = await ahead.state()
    await ahead.follower.layout()
    fetch, world.fetching.fetch = world.fetching.fetch, never  # type: ignore[method-assign, assignment]
    ahead.fetched.start(state)
    await asyncio.wait_for(asked.wait(), DAY)
    ahead.fetched.clear()
    world.fetching.fetch = fetch  # type: ignore[method-assign]
    await asyncio.wait_for(ahead.fetched.news.wait(), DAY)
    assert (ahead.fetched.inspections, ahead.fetched._running) == ({}, {})
    await ahead.attempt()
    assert len(ahead.fetched.inspections) == 1
