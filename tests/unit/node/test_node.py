"""A node at work in a simulated federation: the ports in memory, real rules, real training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from simulation.services import running, until
from unit.node.site import Site, Small, roomy

from fedchain.core.errors import ConfigError, FormatError, LedgerError, LedgerUnreachable, TaskError
from fedchain.core.ledger.records import MemberSet, ModelPublished, Role, UpdateSubmitted, Version
from fedchain.core.rules.policy import fedavg, fedbuff
from fedchain.node.options import NodeOptions
from fedchain.simulation.federation import Simulation
from fedchain.simulation.world import GOVERNOR
from fedchain.training.task import Fit, Run

DOWN = LedgerUnreachable("http://127.0.0.1:8545 does not answer: is it running?")
POOR = LedgerError("0x12 cannot append: insufficient funds")


async def test_it_trains_while_there_is_room_in_the_buffer(site: Site) -> None:
    node = site.node()
    async with running(node) as work:
        await until(work, lambda: len(site.submitted) == 3 and node.status()["doing"] == "waiting")
        status = node.status()
    assert len(site.submitted) == 3
    assert (status["version"], status["updates"], status["not_ready"]) == (0, {"included": 3}, None)
    assert status["metrics"] == {"bias": 0.0}
    assert node.registry.get_sample_value("fedchain_trainings_total") == 3
    assert node.registry.get_sample_value("fedchain_version") == 0


async def test_it_goes_on_with_the_next_version(tmp_path: Path) -> None:
    simulation = Simulation(policy=fedbuff(size=2, per_site=2))
    await simulation.deploy()
    site = Site(tmp_path, simulation)
    node = site.node()
    simulation.submit(1)
    simulation.submit(1)
    await simulation.publish()
    async with running(node) as work:
        await until(work, lambda: len(site.submitted) == 2)
        await simulation.publish()
        await until(work, lambda: len(site.submitted) == 4)
    assert [record.payload.base for record in site.submitted if isinstance(record.payload, UpdateSubmitted)] == [
        Version(1),
        Version(1),
        Version(2),
        Version(2),
    ]


async def test_it_pauses_and_resumes(site: Site) -> None:
    node = site.node()
    node.control("pause")
    async with running(node) as work:
        await until(work, lambda: node.status()["version"] == 0 and node.status()["doing"] == "waiting")
        assert node.not_ready() == "paused"
        assert (site.submitted, node.status()["updates"]) == ([], {})
        node.control("resume")
        await until(work, lambda: len(site.submitted) == 3)
        assert node.not_ready() is None
    with pytest.raises(ConfigError, match="control has pause and resume, not stop"):
        node.control("stop")


async def test_it_says_what_stands_in_its_way(tmp_path: Path) -> None:
    simulation = Simulation(policy=roomy())
    site = Site(tmp_path, simulation)
    node = site.node()
    async with running(node) as work:
        await until(work, lambda: node.status()["records"] == 1)
        assert (
            node.not_ready() == "genesis is not published yet: the aggregator's key does that with `fedchain genesis`"
        )
        simulation.admit_members()
        simulation.publish_genesis()
        simulation.act(GOVERNOR, MemberSet(site.member, Role.AUDITOR))
        await until(work, lambda: node.status()["records"] == len(simulation.chain.records))
        assert node.not_ready() == "no valid policy is set: the governor sets one with `fedchain policy set`"
        simulation.set_policy(roomy(1))
        await until(work, lambda: node.status()["records"] == len(simulation.chain.records))
        assert node.not_ready() == (
            f"{site.member} is not a trainer: the governor makes it one with `fedchain member set`"
        )
        assert site.submitted == []
        simulation.act(GOVERNOR, MemberSet(site.member, Role.TRAINER))
        await until(work, lambda: len(site.submitted) == 1)
        assert node.not_ready() is None


async def test_training_goes_on_while_the_ledger_is_down(site: Site) -> None:
    site.ledger.cut_after = (1, DOWN)
    node = site.node()
    async with running(node) as work:
        await until(work, lambda: node.status()["updates"] == {"included": 1, "stored": 2})
        await until(work, lambda: node.not_ready() == str(DOWN))
        assert len(site.submitted) == 1
        site.ledger.mend()
        await until(work, lambda: node.status()["updates"] == {"included": 3})
        await until(work, lambda: node.not_ready() is None)
    contents = [record.payload.content for record in site.submitted if isinstance(record.payload, UpdateSubmitted)]
    assert len(contents) == 3


async def test_a_ledger_that_is_down_from_the_start(site: Site) -> None:
    site.ledger.reading = site.ledger.appending = DOWN
    node = site.node()
    async with running(node) as work:
        await until(work, lambda: node.not_ready() == str(DOWN))
        site.ledger.mend()
        await until(work, lambda: len(site.submitted) == 3)


async def test_a_key_that_cannot_pay_makes_it_not_ready_until_it_can(site: Site) -> None:
    site.ledger.appending = POOR
    node = site.node()
    async with running(node) as work:
        await until(work, lambda: node.status()["updates"] == {"stored": 3})
        await until(work, lambda: node.not_ready() == f"an update is not on the ledger yet: {POOR}")
        site.ledger.mend()
        await until(work, lambda: node.status()["updates"] == {"included": 3})
        await until(work, lambda: node.not_ready() is None)


class Stubborn(Small):
    """A task that makes of one version one update, whatever the seed."""

    def __init__(self) -> None:
        self.trainings = 0

    def train(self, model: torch.nn.Module, run: Run) -> Fit:
        self.trainings += 1
        with torch.no_grad():
            model.get_parameter("bias").add_(1)
        return Fit(1)


async def test_training_that_makes_the_same_again_and_again_ends(site: Site) -> None:
    task = Stubborn()
    node = site.node(task)
    async with running(node) as work:
        await until(work, lambda: node.status()["updates"] == {"included": 3})
        for _ in range(3):
            await until(work, lambda: node.status()["doing"] == "waiting")
    assert (task.trainings, len(site.submitted)) == (3, 1)


async def test_a_lost_journal_makes_no_more_room(site: Site) -> None:
    site.simulation.submit(0)
    site.simulation.submit(0)
    node = site.node()
    async with running(node) as work:
        await until(work, lambda: len(site.submitted) == 3)
        await until(work, lambda: node.status()["doing"] == "waiting")
    assert node.registry.get_sample_value("fedchain_trainings_total") == 1


class Broken(Small):
    """A task that fails, or breaks its promise."""

    def __init__(self, **ways: object) -> None:
        self.ways = ways

    def train(self, model: torch.nn.Module, run: Run) -> Fit:
        if "train" in self.ways:
            raise ValueError(self.ways["train"])
        if "change" in self.ways:
            with torch.no_grad():
                model.get_parameter("weight").fill_(self.ways["change"])  # type: ignore[arg-type]
        return Fit(1)

    def evaluate(self, model: torch.nn.Module, run: Run) -> dict[str, float]:
        if "evaluate" in self.ways:
            raise KeyError(self.ways["evaluate"])
        return {}


@pytest.mark.parametrize(
    ("task", "kind", "message"),
    [
        (Broken(train="no such column"), TaskError, "Broken.train failed: ValueError: no such column"),
        (Broken(evaluate="label"), TaskError, "Broken.evaluate failed: KeyError: 'label'"),
        (Broken(change=float("nan")), TaskError, "12 of 12 values of tensor weight not finite"),
        (Broken(change=1e6), FormatError, "tensor weight: "),
    ],
    ids=["train", "evaluate", "nan", "huge"],
)
async def test_a_task_that_fails_ends_the_node_with_what_was_wrong(
    site: Site, task: Broken, kind: type[Exception], message: str
) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await site.node(task).run()
    (error,) = caught.value.exceptions
    assert isinstance(error, kind)
    assert message in str(error)
    assert site.submitted == []


async def test_a_version_that_does_not_follow_from_the_ledger_stops_it(tmp_path: Path) -> None:
    simulation = Simulation(policy=fedbuff(size=2, per_site=2))
    await simulation.deploy()
    site = Site(tmp_path, simulation)
    simulation.submit(1)
    simulation.submit(2)
    plan = await simulation.plan()
    honest = await simulation.manifest(plan)
    await simulation.publish(plan, manifest=honest.model_copy(update={"divisors": (1,)}))
    node = site.node()
    async with running(node) as work:
        await until(work, lambda: node.not_ready() is not None and "does not follow" in str(node.not_ready()))
        await until(work, lambda: node.status()["doing"] == "waiting")
        assert "divisors: the manifest states (1,), the ledger implies" in str(node.not_ready())
        assert (site.submitted, node.status()["version"]) == ([], None)


async def test_a_wrong_model_is_seen_by_a_node_that_replays(tmp_path: Path) -> None:
    simulation = Simulation(policy=fedbuff(size=2, per_site=2))
    await simulation.deploy()
    simulation.submit(1)
    simulation.submit(2)
    await simulation.publish(await simulation.plan(), model=simulation.model(0))
    believer, doubter = Site(tmp_path, simulation), Site(tmp_path, simulation, 1)
    node = believer.node()
    async with running(node) as work:
        await until(work, lambda: len(believer.submitted) == 2)
    node = doubter.node(options=NodeOptions(verify="replay"))
    before = len(doubter.submitted)
    async with running(node) as work:
        await until(work, lambda: "does not follow" in str(node.not_ready()))
    assert len(doubter.submitted) == before


@pytest.mark.parametrize(("size", "reason"), [(8, "8 bytes, genesis has"), (None, "header cannot be read")])
async def test_bytes_that_are_not_a_model_make_it_not_ready(tmp_path: Path, size: int | None, reason: str) -> None:
    simulation = Simulation(policy=fedbuff(size=2, per_site=2))
    await simulation.deploy()
    simulation.submit(1)
    simulation.submit(2)
    genesis = next(r.payload for r in simulation.chain.records if isinstance(r.payload, ModelPublished))
    model = simulation.put(bytes(size or genesis.model.size))
    record = await simulation.publish(await simulation.plan(), model=model)
    site = Site(tmp_path, simulation)
    node = site.node()
    async with running(node) as work:
        await until(work, lambda: f"version 1 by {record.actor} is not a model: " in str(node.not_ready()))
    assert reason in str(node.not_ready())
    assert site.submitted == []


async def test_an_update_that_is_too_stale_takes_no_room(tmp_path: Path) -> None:
    simulation = Simulation(sites=2, policy=fedavg())
    await simulation.deploy()
    await simulation.round(0, 1)
    simulation.submit(0, base=0)
    site = Site(tmp_path, simulation)
    node = site.node()
    async with running(node) as work:
        await until(work, lambda: len(site.submitted) == 3)
        await until(work, lambda: node.status()["doing"] == "waiting")
    assert len(site.submitted) == 3
    last = site.submitted[-1].payload
    assert isinstance(last, UpdateSubmitted)
    assert last.base == 1
    simulation.submit(1)
    await simulation.publish()


async def test_only_members_are_members(site: Site) -> None:
    node = site.node()
    async with running(node) as work:
        await until(work, lambda: len(site.submitted) == 3)
    assert node.is_member(site.member)
    assert not node.is_member(site.simulation.site(9))
