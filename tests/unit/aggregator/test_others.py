"""What an aggregator makes of sites that fail or lie, and of a rival."""

from __future__ import annotations

import pytest
from simulation.services import running, until
from unit.aggregator.world import World

from fedchain.core.ledger.content import Content, Digest
from fedchain.core.ledger.records import (
    ModelPublished,
    Payload,
    Record,
    UpdateSubmitted,
)
from fedchain.core.rules.manifest import Manifest
from fedchain.simulation.ledger import MemberLedger
from fedchain.simulation.world import AGGREGATOR, STANDBY


async def test_a_content_that_nobody_gives_is_waited_for_and_then_stated(world: World) -> None:
    unavailable_after_s = 60
    lost = world.submit(0)
    assert isinstance(lost.payload, UpdateSubmitted)
    world.network.lose(lost.payload.content)
    world.submit(1)
    third = world.submit(2)
    aggregator = world.aggregator(unavailable_after_s=unavailable_after_s)
    async with running(aggregator) as work:
        await until(work, lambda: world.is_published(1))
        assert world.clock.now() >= lost.time + unavailable_after_s
    assert world.fetching.asked.count(lost.payload.content) > 2
    assert world.decisions(1) == {lost.seq: "unavailable", lost.seq + 1: "merged", third.seq: "merged"}


async def test_a_content_that_comes_late_is_merged(world: World) -> None:
    late = world.submit(0)
    assert isinstance(late.payload, UpdateSubmitted)
    content = late.payload.content
    data = world.blobs.open(content).read(0, content.size)
    world.network.lose(content)
    world.submit(1)
    async with running(world.aggregator(unavailable_after_s=60)) as work:
        await until(work, lambda: world.fetching.asked.count(content) > 2)
        assert not world.is_published(1)
        assert world.put(data) == content
        await until(work, lambda: world.is_published(1))
    assert set(world.decisions(1).values()) == {"merged"}


async def test_a_huge_size_is_never_fetched(world: World) -> None:
    huge = Content(Digest(b"\x01" * 32), 1 << 60)
    liar = world.submit(0, content=huge)
    world.submit(1)
    world.submit(2)
    async with running(world.aggregator(unavailable_after_s=60)) as work:
        await until(work, lambda: world.is_published(1))
    assert world.decisions(1)[liar.seq] == "malformed"
    assert huge not in world.fetching.asked


async def test_lies_of_a_site_are_rejected_and_the_run_goes_on(world: World) -> None:
    honest = world.train(1, 0)
    noise = world.submit(0, content=world.put(bytes(honest.size)))
    stolen = world.submit(0, content=honest)
    own = world.submit(1, content=honest)
    again = world.submit(1, content=honest)
    invented = world.submit(0, content=world.put(b"no update"))
    world.submit(2)
    aggregator = world.aggregator()
    async with running(aggregator) as work:
        await until(work, lambda: world.is_published(1))
        world.submit(1)
        world.submit(2)
        await until(work, lambda: world.is_published(2))
        assert aggregator.not_ready() is None
    decisions = world.decisions(1)
    assert [decisions[one.seq] for one in (noise, stolen, own, again, invented)] == [
        "malformed",
        "malformed",
        "merged",
        "duplicate",
        "malformed",
    ]


class Rival(MemberLedger):
    """A ledger on which somebody else publishes each version a moment earlier."""

    world: World
    model: Content | None = None
    """What the rival publishes in the model's stead."""

    async def append(self, payload: Payload, key: str | None = None) -> Record:
        if isinstance(payload, ModelPublished):
            model = self.model or payload.model
            stated = self.world.blobs.open(payload.manifest).read(0, payload.manifest.size)
            result = {"cid": model.cid, "size": model.size}
            manifest = Manifest.model_validate_json(stated).model_dump(mode="json") | {"result": result}
            named = self.world.put(Manifest.model_validate(manifest, strict=False).canonical())
            theirs = ModelPublished(payload.version, payload.through, payload.head, model, named)
            self.world.act(STANDBY, theirs)
        return await super().append(payload, key)


@pytest.fixture
def rival(world: World) -> Rival:
    made = Rival(world.chain, AGGREGATOR, world.clock)
    made.world = world
    return made


async def test_a_faster_aggregator_changes_nothing(world: World, rival: Rival) -> None:
    aggregator = world.aggregator(ledger=rival)
    async with running(aggregator) as work:
        for version in (1, 2):
            world.submit(0)
            world.submit(1)
            await until(work, lambda version=version: world.is_published(version))  # type: ignore[misc]
        await until(work, lambda: aggregator.status()["version"] == 2)
        assert aggregator.not_ready() is None
    published = world.follower.history
    await world.follower.advance()
    assert {version.record.actor for version in published.published[1:]} == {STANDBY}
    assert [(record.actor, reason) for record, reason in published.ignored] == [
        (AGGREGATOR, f"claims version {version}, where version {version + 1} was the next") for version in (1, 2)
    ]
    assert aggregator.registry.get_sample_value("fedchain_published_total") == 0


async def test_a_rival_that_publishes_another_result_is_found_out(world: World, rival: Rival) -> None:
    rival.model = world.model(0)
    aggregator = world.aggregator(ledger=rival)
    async with running(aggregator) as work:
        world.submit(0)
        world.submit(1)
        await until(work, lambda: "published model" in str(aggregator.not_ready()))
        assert STANDBY in str(aggregator.not_ready())
        world.submit(0)
        world.submit(1)
        await until(work, lambda: aggregator.status()["records"] == len(world.chain.records))
    assert not world.is_published(2)


async def test_it_does_not_build_on_a_version_that_does_not_follow_from_the_ledger(world: World) -> None:
    world.submit(0)
    world.submit(1)
    plan = await world.plan()
    honest = await world.manifest(plan)
    await world.publish(plan, manifest=honest.model_copy(update={"divisors": (1,)}), actor=STANDBY)
    aggregator = world.aggregator()
    async with running(aggregator) as work:
        await until(work, lambda: "the ledger holds a version that does not follow" in str(aggregator.not_ready()))
        world.submit(0)
        world.submit(1)
        await until(work, lambda: aggregator.status()["records"] == len(world.chain.records))
        await until(work, lambda: aggregator.status()["doing"] == "waiting")
    assert f"version 1 by {STANDBY}: divisors: the manifest states (1,)" in str(aggregator.not_ready())
    assert not world.is_published(2)


async def test_nothing_is_fetched_for_a_version_that_does_not_follow(world: World) -> None:
    world.submit(0)
    world.submit(1)
    huge = Content(Digest(b"\x02" * 32), 1 << 60)
    plan = await world.plan()
    await world.publish(plan, model=huge, manifest=b"{}", actor=STANDBY)
    aggregator = world.aggregator()
    async with running(aggregator) as work:
        await until(work, lambda: "does not follow" in str(aggregator.not_ready()))
        await until(work, lambda: aggregator.status()["doing"] == "waiting")
    assert huge not in world.fetching.asked
