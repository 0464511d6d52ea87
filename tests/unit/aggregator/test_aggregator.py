"""An aggregator at work in a simulated federation: the ports in memory, sites that fail or lie, a rival."""

from __future__ import annotations

import time

import pytest
from simulation.federation import AGGREGATOR, GOVERNOR, STANDBY, Simulation
from simulation.services import Cut, running, until

from fedchain.aggregator import aggregator as module
from fedchain.aggregator.aggregator import Aggregator
from fedchain.core.content import Content, Digest
from fedchain.core.errors import ConfigError, FormatError, LedgerError, LedgerUnreachable
from fedchain.core.manifest import Manifest
from fedchain.core.policy import fedbuff
from fedchain.core.ports import Buffer
from fedchain.core.records import (
    BufferClosed,
    MemberSet,
    ModelPublished,
    Payload,
    Record,
    Role,
    Seq,
    UpdateSubmitted,
    Version,
)
from fedchain.store.alone import LoneStore
from fedchain.store.memory import MemoryBlobs

DOWN = LedgerUnreachable("http://127.0.0.1:8545 does not answer: is it running?")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look around more often than a daemon that runs for years."""
    monkeypatch.setattr(module, "RETRY_S", 0.02)
    monkeypatch.setattr(module, "IDLE_S", 0.05)


class Asked(LoneStore):
    """A store that remembers what was asked of it."""

    def __init__(self, blobs: MemoryBlobs) -> None:
        super().__init__(blobs)
        self.contents: list[Content] = []

    async def fetch(self, content: Content) -> Buffer:
        self.contents.append(content)
        return await super().fetch(content)


class World:
    """A simulated federation of three sites whose blocks bear the time of day, and an aggregator."""

    def __init__(self, **policy: int) -> None:
        self.blobs = MemoryBlobs()
        rules = fedbuff(**({"size": 2, "per_site": 2} | policy))
        self.simulation = Simulation(blobs=self.blobs, policy=rules, now=int(time.time()) - 60)
        self.store = Asked(self.blobs)
        self.ledger = Cut(self.simulation.chain, AGGREGATOR)

    def aggregator(self, *, patience_s: float = 0.01, ledger: Cut | None = None) -> Aggregator:
        return Aggregator(AGGREGATOR, ledger or self.ledger, self.store, threads=1, patience_s=patience_s)

    def submit(self, number: int, content: Content | None = None) -> Record:
        """Let a site submit in a block of now."""
        self.simulation.now = int(time.time()) - 1
        return self.simulation.submit(number, content=content)

    def published(self, version: int) -> bool:
        return self.simulation.versions > version

    def manifest(self, version: int) -> Manifest:
        claims = [r.payload for r in self.simulation.chain.records if isinstance(r.payload, ModelPublished)]
        content = claims[version].manifest
        return Manifest.parse(self.blobs.open(content).read(0, content.size))

    def decisions(self, version: int) -> dict[int, str]:
        """Say what a manifest decides of each update, by seq."""
        return {line.seq: str(line.decision) for line in self.manifest(version).updates}

    def records(self, kind: type[Payload]) -> list[Record]:
        return [record for record in self.simulation.chain.records if isinstance(record.payload, kind)]


@pytest.fixture
async def world() -> World:
    made = World()
    await made.simulation.found()
    return made


async def test_it_publishes_what_the_rules_imply(world: World) -> None:
    aggregator = world.aggregator()
    async with running(aggregator) as work:
        await until(work, lambda: aggregator.obstacle() is None)
        first, second = world.submit(0), world.submit(1)
        await until(work, lambda: world.published(1))
        await until(work, lambda: aggregator.status()["version"] == 1 and aggregator.status()["doing"] == "waiting")
        status = aggregator.status()
    assert world.decisions(1) == {first.seq: "merged", second.seq: "merged"}
    assert (status["updates"], status["mean_staleness"], status["waiting"]) == ({"merged": 2}, 0, 0)
    assert aggregator.registry.get_sample_value("fedchain_published_total") == 1
    assert aggregator.registry.get_sample_value("fedchain_version") == 1
    await world.simulation.follower.advance()
    assert world.simulation.follower.faults == []


async def test_a_content_that_nobody_gives_is_waited_for_and_then_stated(world: World) -> None:
    patience_s = 1.5
    lost = world.submit(0)
    assert isinstance(lost.payload, UpdateSubmitted)
    world.blobs.forget(lost.payload.content)
    world.submit(1)
    third = world.submit(2)
    aggregator = world.aggregator(patience_s=patience_s)
    async with running(aggregator) as work:
        await until(work, lambda: world.published(1))
        assert time.time() >= lost.time + patience_s
    assert world.store.contents.count(lost.payload.content) > 2
    assert world.decisions(1) == {lost.seq: "unavailable", lost.seq + 1: "merged", third.seq: "merged"}


async def test_a_content_that_comes_late_is_merged(world: World) -> None:
    late = world.submit(0)
    assert isinstance(late.payload, UpdateSubmitted)
    content = late.payload.content
    data = world.blobs.open(content).read(0, content.size)
    world.blobs.forget(content)
    world.submit(1)
    async with running(world.aggregator(patience_s=60)) as work:
        await until(work, lambda: world.store.contents.count(content) > 2)
        assert not world.published(1)
        assert world.simulation.put(data) == content
        await until(work, lambda: world.published(1))
    assert set(world.decisions(1).values()) == {"merged"}


async def test_a_huge_size_is_never_fetched(world: World) -> None:
    huge = Content(Digest(b"\x01" * 32), 1 << 60)
    liar = world.submit(0, huge)
    world.submit(1)
    world.submit(2)
    async with running(world.aggregator(patience_s=60)) as work:
        await until(work, lambda: world.published(1))
    assert world.decisions(1)[liar.seq] == "malformed"
    assert huge not in world.store.contents


async def test_lies_of_a_site_are_rejected_and_the_run_goes_on(world: World) -> None:
    simulation = world.simulation
    honest = simulation.train(1, 0)
    noise = world.submit(0, simulation.put(bytes(honest.size)))
    stolen = world.submit(0, honest)
    own = world.submit(1, honest)
    again = world.submit(1, honest)
    invented = world.submit(0, simulation.put(b"no update"))
    world.submit(2)
    aggregator = world.aggregator()
    async with running(aggregator) as work:
        await until(work, lambda: world.published(1))
        world.submit(1)
        world.submit(2)
        await until(work, lambda: world.published(2))
        assert aggregator.obstacle() is None
    decisions = world.decisions(1)
    assert [decisions[one.seq] for one in (noise, stolen, own, again, invented)] == [
        "malformed",
        "malformed",
        "merged",
        "duplicate",
        "malformed",
    ]


class Rival(Cut):
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
            named = self.world.simulation.put(Manifest.model_validate(manifest, strict=False).canonical())
            theirs = ModelPublished(payload.version, payload.through, model, named)
            self.world.simulation.act(STANDBY, theirs)
        return await super().append(payload, key)


@pytest.fixture
def rival(world: World) -> Rival:
    made = Rival(world.simulation.chain, AGGREGATOR)
    made.world = world
    return made


async def test_a_faster_aggregator_changes_nothing(world: World, rival: Rival) -> None:
    aggregator = world.aggregator(ledger=rival)
    async with running(aggregator) as work:
        for version in (1, 2):
            world.submit(0)
            world.submit(1)
            await until(work, lambda version=version: world.published(version))  # type: ignore[misc]
        await until(work, lambda: aggregator.status()["version"] == 2)
        assert aggregator.obstacle() is None
    assert {record.actor for record in world.records(ModelPublished)[1:]} == {STANDBY}
    assert aggregator.registry.get_sample_value("fedchain_published_total") == 0


async def test_a_rival_that_publishes_another_result_is_found_out(world: World, rival: Rival) -> None:
    rival.model = world.simulation.model(0)
    aggregator = world.aggregator(ledger=rival)
    async with running(aggregator) as work:
        world.submit(0)
        world.submit(1)
        await until(work, lambda: "published model" in str(aggregator.obstacle()))
        assert STANDBY in str(aggregator.obstacle())
        world.submit(0)
        world.submit(1)
        await until(work, lambda: aggregator.status()["records"] == len(world.simulation.chain.records))
    assert not world.published(2)


async def test_it_does_not_build_on_a_version_that_does_not_follow_from_the_ledger(world: World) -> None:
    simulation = world.simulation
    world.submit(0)
    world.submit(1)
    plan = await simulation.plan()
    honest = await simulation.manifest(plan)
    await simulation.publish(plan, manifest=honest.model_copy(update={"divisor": 1}), actor=STANDBY)
    aggregator = world.aggregator()
    async with running(aggregator) as work:
        await until(work, lambda: "the ledger holds a version that does not follow" in str(aggregator.obstacle()))
        world.submit(0)
        world.submit(1)
        await until(work, lambda: aggregator.status()["records"] == len(simulation.chain.records))
        await until(work, lambda: aggregator.status()["doing"] == "waiting")
    assert f"version 1 by {STANDBY}: divisor: the manifest states 1" in str(aggregator.obstacle())
    assert not world.published(2)


async def test_nothing_is_fetched_for_a_version_that_does_not_follow(world: World) -> None:
    simulation = world.simulation
    world.submit(0)
    world.submit(1)
    huge = Content(Digest(b"\x02" * 32), 1 << 60)
    plan = await simulation.plan()
    await simulation.publish(plan, model=huge, manifest=b"{}", actor=STANDBY)
    aggregator = world.aggregator()
    async with running(aggregator) as work:
        await until(work, lambda: "does not follow" in str(aggregator.obstacle()))
        await until(work, lambda: aggregator.status()["doing"] == "waiting")
    assert huge not in world.store.contents


async def test_a_buffer_is_closed_once_it_is_due_and_not_before() -> None:
    world = World(size=3, timeout_s=2)
    await world.simulation.found()
    aggregator = world.aggregator()
    async with running(aggregator) as work:
        await until(work, lambda: aggregator.obstacle() is None)
        assert world.records(BufferClosed) == []  # nothing is admitted, so nothing is due
        update = world.submit(0)
        due = update.time + 2
        await until(work, lambda: aggregator.status()["waiting"] == 1)
        await until(work, lambda: bool(world.records(BufferClosed)))
        assert time.time() >= due
        assert world.records(BufferClosed)[0].time < due  # the chain's clock lags behind: too early to count
        assert not world.published(1)
        world.simulation.now = int(time.time())
        await until(work, lambda: world.published(1))
    assert world.records(BufferClosed)[-1].time >= due
    assert world.decisions(1) == {update.seq: "merged"}


async def test_it_says_what_stands_in_its_way() -> None:
    world = World()
    simulation = world.simulation
    aggregator = world.aggregator()
    async with running(aggregator) as work:
        await until(work, lambda: aggregator.status()["records"] == 1)
        assert str(aggregator.obstacle()).startswith("genesis is not published yet")
        simulation.admit_members()
        simulation.publish_genesis()
        simulation.act(GOVERNOR, MemberSet(AGGREGATOR, Role.NONE))
        await until(work, lambda: aggregator.status()["records"] == len(simulation.chain.records))
        assert aggregator.obstacle() == "no valid policy is set: the governor sets one with `fedchain policy set`"
        simulation.set_policy(simulation.policy)
        await until(work, lambda: "is no aggregator: the governor makes it one" in str(aggregator.obstacle()))
        world.submit(0)
        world.submit(1)
        await until(work, lambda: aggregator.status()["records"] == len(simulation.chain.records))
        assert not world.published(1)
        simulation.act(GOVERNOR, MemberSet(AGGREGATOR, Role.AGGREGATOR))
        await until(work, lambda: world.published(1))


async def test_it_pauses_and_resumes(world: World) -> None:
    aggregator = world.aggregator()
    aggregator.control("pause")
    async with running(aggregator) as work:
        world.submit(0)
        last = world.submit(1)
        await until(work, lambda: aggregator.status()["records"] == last.seq + 1)
        await until(work, lambda: aggregator.status()["doing"] == "waiting")
        assert (aggregator.obstacle(), world.published(1)) == ("paused", False)
        aggregator.control("resume")
        await until(work, lambda: world.published(1))
    with pytest.raises(ConfigError, match="control has pause and resume, not stop"):
        aggregator.control("stop")


@pytest.mark.parametrize("error", [DOWN, LedgerError("0x12 cannot append: insufficient funds"), FormatError("odd")])
async def test_what_fails_is_an_obstacle_and_tried_again(world: World, error: LedgerError) -> None:
    world.submit(0)
    world.submit(1)
    world.ledger.appending = error
    aggregator = world.aggregator()
    async with running(aggregator) as work:
        await until(work, lambda: aggregator.obstacle() == str(error))
        world.ledger.mend()
        await until(work, lambda: world.published(1))
        await until(work, lambda: aggregator.obstacle() is None)
        world.ledger.reading = DOWN
        await until(work, lambda: aggregator.obstacle() == str(DOWN))
        world.ledger.mend()
        await until(work, lambda: aggregator.obstacle() is None)


async def test_nothing_is_done_twice_after_a_restart(world: World) -> None:
    world.submit(0)
    world.submit(1)
    async with running(world.aggregator()) as work:
        await until(work, lambda: world.published(1))
    before = len(world.simulation.chain.records)
    aggregator = world.aggregator()
    async with running(aggregator) as work:
        await until(work, lambda: aggregator.status()["version"] == Version(1))
        await until(work, lambda: aggregator.status()["doing"] == "waiting")
    assert len(world.simulation.chain.records) == before
    assert aggregator.status()["records"] == Seq(before)
