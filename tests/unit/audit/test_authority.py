"""A contract that is not what it is taken for: it lets anybody do anything, and the audit sees who did what."""

from __future__ import annotations

from dataclasses import replace

import pytest
from simulation.audits import audit, sole
from simulation.federation import AGGREGATOR, AUDITOR, GOVERNOR, Simulation, member

from fedchain.audit.findings import Finding, Rule
from fedchain.core.ledger.content import NOTHING, Content, Digest
from fedchain.core.ledger.records import (
    Address,
    Attested,
    BufferClosed,
    ContentErased,
    EvaluationReported,
    Head,
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
    simulation.act(AUDITOR, Attested(Seq(11), Verdict.RECOMPUTED))
    assert (await audit(simulation)).exit_code == 0


@pytest.mark.parametrize("actor", [STRANGER, AGGREGATOR, AUDITOR])
@pytest.mark.parametrize(
    "kind", ["policy", "member", "update", "close", "publish", "report", "attest", "restart", "erase"]
)
async def test_an_actor_without_the_role(simulation: Simulation, actor: Address, kind: str) -> None:
    blob = simulation.model(0)
    payload: Payload = {
        "policy": PolicySet(b"{}"),
        "member": MemberSet(STRANGER, Role.GOVERNOR),
        "update": UpdateSubmitted(Version(0), 1, blob),
        "close": BufferClosed(),
        "publish": ModelPublished(Version(2), Seq(11), simulation.chain.head, blob, blob),
        "report": EvaluationReported(Version(1), blob),
        "attest": Attested(Seq(11), Verdict.APPROVED),
        "restart": BufferClosed(Seq(8)),
        "erase": ContentErased(Seq(8), 1),
    }[kind]
    rightful = {
        "close": (AGGREGATOR, AUDITOR),
        "publish": (AGGREGATOR,),
        "report": (AUDITOR,),
        "attest": (AGGREGATOR, AUDITOR),
        "erase": (AGGREGATOR, AUDITOR),
    }
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
        (AUDITOR, EvaluationReported(Version(2), Simulation().put(b"x"))),
        (AUDITOR, Attested(Seq(9), 0)),
        (AGGREGATOR, ModelPublished(Version(3), Seq(0), Head(bytes(32)), NOTHING, NOTHING)),
        (GOVERNOR, PolicySet(bytes(32_769))),
        (GOVERNOR, MemberSet(GOVERNOR, Role.NONE)),
    ],
)
async def test_a_record_that_the_contract_refuses(simulation: Simulation, actor: Address, payload: Payload) -> None:
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


async def test_an_erasure_by_somebody_else_covers_nothing(simulation: Simulation) -> None:
    update = next(record for record in simulation.chain.records if isinstance(record.payload, UpdateSubmitted))
    record = simulation.act(AUDITOR, ContentErased(update.seq, 0))
    assert await notes(simulation) == [f"record {record.seq}"]
    del simulation.blobs._held[update.payload.content]
    report = await audit(simulation)
    assert (report.exit_code, report.findings) == (2, ())
    assert [note.subject for note in report.notes] == [f"record {record.seq}"]
    assert len(report.unchecked) == 1  # the content is missing, and no erasure covers it


@pytest.mark.parametrize("target", [1, 500])
async def test_an_erasure_of_nothing_is_a_note(simulation: Simulation, target: int) -> None:
    record = simulation.act(AUDITOR, ContentErased(Seq(target), 0))
    assert await notes(simulation) == [f"record {record.seq}"]


async def test_a_claim_without_effect_is_a_note_and_nothing_is_read_for_it(simulation: Simulation) -> None:
    nowhere = Content(Digest(b"\x07" * 32), 1 << 60)
    honest = ModelPublished(Version(1), Seq(9), simulation.chain.heads[10], nowhere, nowhere)
    void = [honest, replace(honest, version=Version(0)), replace(honest, version=Version(2), head=Head(bytes(32)))]
    records = [simulation.act(AGGREGATOR, claim) for claim in void]
    assert await notes(simulation) == [f"record {record.seq}" for record in records]
    await simulation.round()
    assert len(await notes(simulation)) == len(void)


async def test_a_restart_and_a_policy_that_is_none_are_notes(simulation: Simulation) -> None:
    records = [simulation.act(GOVERNOR, payload) for payload in (BufferClosed(Seq(8), b"x"), PolicySet(b"{}"))]
    assert await notes(simulation) == [f"record {record.seq}" for record in records]


async def notes(simulation: Simulation) -> list[str]:
    """Judge a federation in which nothing is wrong; return what the notes are about."""
    report = await audit(simulation)
    assert report.exit_code == 0
    return [note.subject for note in report.notes]
