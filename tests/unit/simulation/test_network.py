"""Members fetch from each other, as far as links and honesty go."""

from __future__ import annotations

import asyncio

import pytest

from fedchain.core.errors import Unavailable
from fedchain.core.formats.document import put
from fedchain.core.ledger.content import Content
from fedchain.simulation.clock import running_clock
from fedchain.simulation.network import AllBlobs, Network
from fedchain.simulation.world import AGGREGATOR, AUDITOR, GOVERNOR, STANDBY
from fedchain.store.memory import MemoryBlobs

DATA = b"weights" * 1000


@pytest.fixture
async def network() -> Network:
    made = Network(running_clock())
    for member in (GOVERNOR, AGGREGATOR, STANDBY):
        made.link(member)
    return made


@pytest.fixture
def content(network: Network) -> Content:
    return put(network.link(AGGREGATOR).blobs, DATA)


async def test_what_another_member_has_is_brought_here(network: Network, content: Content) -> None:
    store = network.store(STANDBY)
    assert not store.local.has(content)
    assert (await store.fetch(content)).read(0, content.size) == DATA
    network.cut(AGGREGATOR)
    assert (await store.fetch(content)).size == content.size
    assert store.asked == [content, content]


async def test_every_request_takes_as_long_as_both_ends(network: Network, content: Content) -> None:
    clock = running_clock()
    network.link(GOVERNOR).latency_s = 1.0
    network.link(AGGREGATOR).latency_s = 0.5
    network.link(STANDBY).latency_s = 0.25
    await network.store(STANDBY).fetch(content)
    assert clock.monotonic() == pytest.approx(1.25 + 0.75)
    await network.store(STANDBY).fetch(content)
    assert clock.monotonic() == pytest.approx(2.0)


async def test_who_is_cut_off_gives_and_gets_nothing(network: Network, content: Content) -> None:
    network.cut(AGGREGATOR)
    with pytest.raises(Unavailable, match=f": {GOVERNOR} does not give it$"):
        await network.store(STANDBY).fetch(content)
    network.cut(GOVERNOR)
    with pytest.raises(Unavailable, match="there is none to ask"):
        await network.store(STANDBY).fetch(content)
    network.heal(AGGREGATOR)
    network.cut(STANDBY)
    with pytest.raises(Unavailable, match="is cut off"):
        await network.store(STANDBY).fetch(content)
    network.heal(STANDBY)
    await network.store(STANDBY).fetch(content)


async def test_who_is_cut_off_while_it_answers_gives_nothing(network: Network, content: Content) -> None:
    network.link(AGGREGATOR).latency_s = 10.0
    fetching = asyncio.create_task(network.store(STANDBY).fetch(content))
    await running_clock().sleep(5.0)
    network.cut(AGGREGATOR)
    with pytest.raises(Unavailable, match=f"{AGGREGATOR} does not give it"):
        await fetching


async def test_a_content_is_withheld_from_some_or_from_all(network: Network, content: Content) -> None:
    network.withhold(AGGREGATOR, content, STANDBY)
    with pytest.raises(Unavailable):
        await network.store(STANDBY).fetch(content)
    network.withhold(AGGREGATOR, content)
    with pytest.raises(Unavailable):
        await network.store(AUDITOR).fetch(content)
    network.withhold(AGGREGATOR, content, STANDBY)
    await network.store(AUDITOR).fetch(content)
    await network.store(STANDBY).fetch(content)  # the auditor gives it


@pytest.mark.parametrize("data", [b"", DATA[:-1], DATA + b"s", DATA[:-1] + b"S"])
async def test_wrong_bytes_cost_a_peer_its_turn(network: Network, content: Content, data: bytes) -> None:
    network.falsify(AGGREGATOR, content, data)
    with pytest.raises(Unavailable, match=f"{AGGREGATOR} gives other bytes"):
        await network.store(STANDBY).fetch(content)
    assert not network.link(STANDBY).blobs.has(content)
    put(network.link(AUDITOR).blobs, DATA)
    await network.store(STANDBY).fetch(content)
    network.link(STANDBY).blobs.check(content)


async def test_all_blobs_are_those_of_everybody(network: Network, content: Content) -> None:
    everything = AllBlobs(network, GOVERNOR)
    assert everything.open(content).read(0, 7) == b"weights"
    other = put(everything, b"other")
    assert network.link(GOVERNOR).blobs.has(other)
    everything.check(other)
    await network.store(STANDBY).fetch(content)
    network.lose(content)
    assert not everything.has(content)
    for ask in (everything.open, everything.check):
        with pytest.raises(Unavailable, match="no member has"):
            ask(content)


async def test_members_may_share_one_heap() -> None:
    heap = MemoryBlobs()
    network = Network(running_clock(), heap)
    content = put(network.store(AGGREGATOR).local, DATA)
    assert network.store(STANDBY).local.has(content)
