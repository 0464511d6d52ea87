"""A contract that is not what it is taken for: it lets anybody do anything, and the audit sees who did what."""

from __future__ import annotations

import pytest
from simulation.audits import audit, sole
from simulation.federation import AGGREGATOR, AUDITOR, GOVERNOR, Simulation, member

from fedchain.audit.findings import Finding, Rule
from fedchain.core.ledger.records import (
    Address,
    Attested,
    BufferClosed,
    ContentErased,
    EvaluationReported,
    MemberSet,
    ModelPublished,
    Payload,
    PolicySet,
    Role,
    Seq,
    UpdateSubmitted,
    Verdict,
    Version,
)
from fedchain.ledger.memory import MemoryChain

STRANGER = member(99)


class Lax(MemoryChain):
    """A ledger without rules."""

    def _check(self, actor: Address, payload: Payload) -> None:
        del actor, payload


@pytest.fixture
async def simulation() -> Simulation:
    made = Simulation(contract=Lax)
    await made.found()
    await made.round()
    return made


async def test_without_a_lie_it_is_clean(simulation: Simulation) -> None:
    simulation.act(AUDITOR, Attested(Version(1), Verdict.RECOMPUTED))
    assert (await audit(simulation)).exit_code == 0


@pytest.mark.parametrize("actor", [STRANGER, AGGREGATOR, AUDITOR])
@pytest.mark.parametrize("kind", ["policy", "member", "update", "close", "publish", "report", "attest"])
async def test_an_actor_without_the_role(simulation: Simulation, actor: Address, kind: str) -> None:
    blob = simulation.model(0)
    payload: Payload = {
        "policy": PolicySet(blob),
        "member": MemberSet(STRANGER, Role.GOVERNOR),
        "update": UpdateSubmitted(Version(0), 1, blob),
        "close": BufferClosed(),
        "publish": ModelPublished(Version(2), Seq(11), blob, blob),
        "report": EvaluationReported(Version(1), blob),
        "attest": Attested(Version(1), Verdict.APPROVED),
    }[kind]
    rightful = {"close": (AGGREGATOR, AUDITOR), "publish": (AGGREGATOR,), "report": (AUDITOR,), "attest": (AUDITOR,)}
    record = simulation.act(actor, payload)
    report = await audit(simulation)
    found = [finding for finding in report.findings if finding.rule is Rule.AUTHORITY]
    if actor in rightful.get(kind, ()):
        assert found == []
        return
    finding: Finding = sole(report)
    assert finding.subject == f"record {record.seq}"
    assert actor in finding.stated
    assert finding.evidence["seq"] == record.seq
    assert report.recomputed == 1  # what came before is judged all the same


@pytest.mark.parametrize(
    ("actor", "payload"),
    [
        (member(10), UpdateSubmitted(Version(7), 1, Simulation().put(b"x"))),
        (AUDITOR, Attested(Version(2), Verdict.APPROVED)),
        (AGGREGATOR, ModelPublished(Version(1), Seq(0), Simulation().put(b"x"), Simulation().put(b"x"))),
        (AGGREGATOR, ModelPublished(Version(3), Seq(0), Simulation().put(b"x"), Simulation().put(b"x"))),
    ],
)
async def test_a_version_that_is_not_there(simulation: Simulation, actor: Address, payload: Payload) -> None:
    record = simulation.act(actor, payload)
    finding = sole(await audit(simulation))
    assert (finding.rule, finding.subject) == (Rule.SEQUENCE, f"record {record.seq}")


async def test_erasures_by_owner_and_governor_cover(simulation: Simulation) -> None:
    updates = [record for record in simulation.chain.records if isinstance(record.payload, UpdateSubmitted)]
    for actor, record in zip((updates[0].actor, GOVERNOR), updates, strict=True):
        simulation.act(actor, ContentErased(record.seq, 0))
        del simulation.blobs._held[record.payload.content]
    report = await audit(simulation)
    assert (report.exit_code, len(report.notes)) == (0, 2)


async def test_erasure_by_somebody_else(simulation: Simulation) -> None:
    update = next(record for record in simulation.chain.records if isinstance(record.payload, UpdateSubmitted))
    record = simulation.act(AUDITOR, ContentErased(update.seq, 0))
    del simulation.blobs._held[update.payload.content]
    report = await audit(simulation)
    finding = sole(report)
    assert (finding.rule, finding.subject) == (Rule.AUTHORITY, f"record {record.seq}")
    assert update.actor in finding.expected
    assert len(report.unchecked) == 1  # the content is missing, and no erasure covers it


@pytest.mark.parametrize("target", [1, 500])
async def test_erasure_of_nothing(simulation: Simulation, target: int) -> None:
    record = simulation.act(GOVERNOR, ContentErased(Seq(target), 0))
    finding = sole(await audit(simulation))
    assert (finding.rule, finding.subject) == (Rule.SEQUENCE, f"record {record.seq}")
