"""Every strategy is audited, and lies about what only contents can give: Gram matrices and state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from simulation import momentum
from simulation.audits import audit, sole
from simulation.lies import with_line, without_line

from fedchain.audit.findings import Rule
from fedchain.core.ledger.content import Content, Digest
from fedchain.core.ledger.records import Head, ModelPublished
from fedchain.core.rules.judged import Decision, Inspection
from fedchain.core.rules.manifest import Manifest
from fedchain.core.rules.policy import preset
from fedchain.core.strategies.registry import PRESETS
from fedchain.simulation.federation import Simulation
from fedchain.simulation.world import AGGREGATOR

ALL_THE_SAME = "what ledger and content make, all the same"
AS_STATED = "made as the manifest states"
NAMES = [*PRESETS, "momentum"]


@pytest.fixture(autouse=True)
def _momentum() -> Iterator[None]:
    with momentum.registered():
        yield


@pytest.fixture
async def simulation(_momentum: None) -> Simulation:
    """A federation with momentum and one honest version after genesis."""
    made = Simulation(policy=preset("momentum", size=2, per_site=2, timeout_s=600))
    await made.deploy()
    await made.round()
    return made


@pytest.mark.parametrize("name", NAMES)
async def test_every_preset_is_recomputed(name: str) -> None:
    size = 1 if PRESETS[name].size == 1 else 3
    simulation = Simulation(policy=preset(name, size=size))
    await simulation.deploy()
    for _ in range(3):
        await simulation.round(*range(size))
    report = await audit(simulation, has_oracle=name != "momentum")
    assert (report.exit_code, report.recomputed, report.decisions) == (0, 3, {"merged": 3 * size})


def lie(kind: str, honest: Manifest, other: Content) -> dict[str, Any]:
    """Change what a manifest says of Gram matrix or state."""
    assert honest.state is not None
    assert honest.gram is not None
    blob = type(honest.result)(cid=other.cid, size=other.size)
    (a, b, c), *rest = honest.gram
    changes: dict[str, dict[str, Any]] = {
        "another state": {"state": honest.state | {"velocity": blob}},
        "a state too many": {"state": honest.state | {"acceleration": blob}},
        "a state too few": {"state": {"velocity": honest.state["velocity"]}},
        "no state": {"state": None},
        "no gram": {"gram": None},
        "a gram of other updates": {"gram": ((a, b), (b, rest[0][1]))},
        "a gram that is none": {"gram": (("-1", b, c), *rest)},
    }
    return changes[kind]


@pytest.mark.parametrize(
    "kind",
    [
        "another state", "a state too many", "a state too few", "no state", "no gram", "a gram of other updates",
        "a gram that is none",
    ],
)  # fmt: skip
async def test_a_wrong_state_or_gram_is_one_finding(simulation: Simulation, kind: str) -> None:
    simulation.submit(0)
    simulation.submit(1)
    honest = await simulation.manifest(await simulation.plan())
    change = lie(kind, honest, simulation.model(0))
    published = await simulation.publish(manifest=honest.model_copy(update=change))
    (key,) = change
    finding = sole(await audit(simulation))
    assert (finding.rule, finding.subject) == (Rule.MANIFEST_KEY, f"version 2, {key}")
    assert finding.evidence["seq"] == published.seq
    assert finding.evidence["model"] == ALL_THE_SAME


async def test_a_gram_that_might_be_one_shows_in_the_weights_that_follow(simulation: Simulation) -> None:
    """The weights are the honest ones, the matrix is not: both cannot be true."""
    simulation.submit(0)
    simulation.submit(1)
    honest = await simulation.manifest(await simulation.plan())
    assert honest.gram is not None
    (a, b, c), *rest = honest.gram
    longer = ((str(4 * int(a)), b, c), *rest)
    await simulation.publish(manifest=honest.model_copy(update={"gram": longer}))
    report = await audit(simulation)
    assert report.exit_code == 1
    assert "version 2, gram" in [finding.subject for finding in report.findings]
    assert {finding.evidence["model"] for finding in report.findings} == {ALL_THE_SAME}


async def test_what_follows_a_wrong_state_is_judged_as_its_successor(simulation: Simulation) -> None:
    simulation.submit(0)
    simulation.submit(1)
    honest = await simulation.manifest(await simulation.plan())
    assert honest.state is not None
    nowhere = type(honest.result)(cid=Content(Digest(bytes(32)), 7).cid, size=7)
    extra = honest.model_copy(update={"state": honest.state | {"acceleration": nowhere}})
    await simulation.publish(manifest=extra)
    await simulation.round()
    report = await audit(simulation)
    assert sole(report).subject == "version 2, state"
    assert (report.versions, report.recomputed, report.unchecked) == (4, 3, ())


async def test_one_weight_changed(simulation: Simulation) -> None:
    record = simulation.submit(0)
    simulation.submit(1)
    honest = await simulation.manifest(await simulation.plan())
    await simulation.publish(manifest=with_line(honest, record.seq, weights=(1,)))
    finding = sole(await audit(simulation))
    assert (finding.rule, finding.subject) == (Rule.MANIFEST_UPDATE, f"version 2, update {record.seq}")
    assert finding.stated == "weights=(1,)"


async def test_update_left_out_of_the_manifest(simulation: Simulation) -> None:
    simulation.submit(0)
    record = simulation.submit(1)
    honest = await simulation.manifest(await simulation.plan())
    await simulation.publish(manifest=without_line(honest, record.seq))
    finding = sole(await audit(simulation))
    assert (finding.rule, finding.subject) == (Rule.MANIFEST_LEFT_OUT, f"version 2, update {record.seq}")
    assert finding.evidence["model"] == ALL_THE_SAME


async def test_update_left_out_of_the_merge(simulation: Simulation) -> None:
    simulation.submit(0)
    record = simulation.submit(1)
    simulation.submit(2)
    plan = await simulation.plan({record.seq: Inspection(Decision.UNAVAILABLE)})
    await simulation.publish(replace(plan, updates=tuple(one for one in plan.updates if one.seq != record.seq)))
    finding = sole(await audit(simulation))
    assert (finding.rule, finding.subject) == (Rule.MANIFEST_LEFT_OUT, f"version 2, update {record.seq}")
    assert str(finding.evidence["model"]).startswith(AS_STATED)


async def test_rejection_without_ground(simulation: Simulation) -> None:
    simulation.submit(0)
    record = simulation.submit(1)
    simulation.submit(2)
    await simulation.publish(await simulation.plan({record.seq: Inspection(Decision.MALFORMED)}))
    finding = sole(await audit(simulation))
    assert (finding.rule, finding.subject) == (Rule.MANIFEST_UPDATE, f"version 2, update {record.seq}")
    assert finding.expected.startswith("decision=merged")
    assert str(finding.evidence["model"]).startswith(AS_STATED)


@pytest.mark.parametrize("key", ["gram", "state"])
async def test_a_strategy_without_them_states_neither(key: str) -> None:
    simulation = Simulation()
    await simulation.deploy()
    simulation.submit(0)
    simulation.submit(1)
    honest = await simulation.manifest(await simulation.plan())
    value = {"velocity": honest.result} if key == "state" else (("1",),)
    await simulation.publish(manifest=honest.model_copy(update={key: value}))
    finding = sole(await audit(simulation))
    assert (finding.rule, finding.subject, finding.expected) == (Rule.MANIFEST_KEY, f"version 1, {key}", "None")
    assert finding.evidence["model"] == ALL_THE_SAME


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"head": Head(b"\x01" * 32)}, "claims version 2 on another head after record 13"),
        ({"through": 999}, "claims records through 999, which is not before it"),
        ({"version": 1}, "claims version 1, where version 2 was the next"),
    ],
    ids=["head", "through", "version"],
)
async def test_a_void_claim_is_a_note_with_its_reason(
    simulation: Simulation, change: dict[str, Any], reason: str
) -> None:
    simulation.submit(0)
    simulation.submit(1)
    plan = await simulation.plan()
    assert plan.through == 13
    nowhere = Content(Digest(b"\x07" * 32), 1 << 60)  # and nothing is fetched for it
    head = simulation.chain.heads[plan.through + 1]
    claim = replace(ModelPublished(plan.version, plan.through, head, nowhere, nowhere), **change)
    record = simulation.act(AGGREGATOR, claim)
    await simulation.publish()
    report = await audit(simulation, has_oracle=False)
    assert [str(note) for note in report.notes] == [f"record {record.seq}: has no effect: {reason}"]
    assert (report.exit_code, report.versions, report.recomputed) == (0, 3, 2)
