"""Who may lie, and what the audit says: every lie is told behind the real ports, everything else is honest.

Longer than 300 lines because it is the design's table of liars, line by line.
"""

from __future__ import annotations

from dataclasses import replace
from math import isqrt

import numpy as np
import pytest
from simulation.audits import audit, sole
from simulation.lies import with_entry, with_line, without_line

from fedchain.audit.findings import Rule
from fedchain.core.formats.modelfile import read_model, write_model
from fedchain.core.ledger.content import Content, Digest
from fedchain.core.ledger.records import ContentErased, MemberSet, Role, UpdateSubmitted
from fedchain.core.rules.judged import Decision, Inspection
from fedchain.core.rules.manifest import UpdateLine
from fedchain.core.rules.plan import Plan
from fedchain.core.rules.policy import fedasync, fedavg, fedbuff, preset
from fedchain.core.strategies.staleness import ONE
from fedchain.core.updates.inspection import MALFORMED, UNAVAILABLE
from fedchain.simulation.federation import Simulation
from fedchain.simulation.world import AGGREGATOR, AUDITOR, GOVERNOR, STANDBY

ALL_THE_SAME = "what ledger and content make, all the same"
AS_STATED = "made as the manifest states"


@pytest.fixture
async def simulation() -> Simulation:
    """A federation with one honest version after genesis."""
    made = Simulation()
    await made.deploy()
    await made.round()
    return made


async def test_an_honest_federation_is_clean(simulation: Simulation) -> None:
    await simulation.round(1, 2)
    simulation.submit(0, base=0)
    simulation.submit(2)
    await simulation.publish()
    report = await audit(simulation)
    assert report.verdict.startswith("CLEAN")
    assert (report.exit_code, report.versions, report.recomputed) == (0, 4, 3)
    assert report.decisions == {"merged": 6}
    assert report.notes == ()
    assert report.head == simulation.chain.head


@pytest.mark.parametrize("policy", [fedasync(), fedavg(), fedbuff(size=3, per_site=1)])
async def test_every_strategy_is_recomputed(policy) -> None:
    simulation = Simulation(policy=policy)
    await simulation.deploy()
    size = 1 if policy.buffer.size == 1 else 3
    for _ in range(3):
        await simulation.round(*range(size))
    report = await audit(simulation)
    assert (report.exit_code, report.recomputed) == (0, 3)


async def test_a_buffer_closed_by_time_is_clean(simulation: Simulation) -> None:
    simulation.submit(0)
    simulation.close()
    await simulation.publish()
    assert (await audit(simulation)).exit_code == 0


# the aggregator


async def test_one_weight_changed_in_the_manifest(simulation: Simulation) -> None:
    record = simulation.submit(0)
    simulation.submit(1)
    plan = await simulation.plan()
    published = await simulation.publish(
        manifest=with_line(await simulation.manifest(plan), record.seq, weights=(ONE - 1,))
    )
    finding = sole(await audit(simulation))
    assert finding.rule is Rule.MANIFEST_UPDATE
    assert finding.subject == f"version 2, update {record.seq}"
    assert (finding.stated, finding.expected) == (f"weights=({ONE - 1},)", f"weights=({ONE},)")
    assert finding.evidence["manifest"] == published.payload.manifest.cid
    assert finding.evidence["seq"] == published.seq
    assert finding.evidence["model"] == ALL_THE_SAME


async def test_one_weight_changed_in_the_merge_too(simulation: Simulation) -> None:
    record = simulation.submit(0)
    simulation.submit(1)
    await simulation.publish(with_entry(await simulation.plan(), record.seq, staleness=1))
    finding = sole(await audit(simulation))
    half = isqrt(ONE * ONE // 2)
    assert finding.rule is Rule.MANIFEST_UPDATE
    assert (finding.stated, finding.expected) == (f"staleness=1, weights=({half},)", f"staleness=0, weights=({ONE},)")
    assert str(finding.evidence["model"]).startswith(AS_STATED)


async def test_wrong_result(simulation: Simulation) -> None:
    simulation.submit(0)
    simulation.submit(1)
    honest = await simulation.merge(await simulation.plan())
    arrays = read_model(simulation.layout, simulation.blobs.open(honest))
    right = arrays["weight"][7]
    arrays["weight"][7] = np.nextafter(right, np.float32(np.inf))
    forged = write_model(simulation.layout, arrays, simulation.blobs.create())
    published = await simulation.publish(model=forged)
    finding = sole(await audit(simulation))
    assert finding.rule is Rule.VERSION_RESULT
    assert (finding.stated, finding.expected) == (f"model {forged.cid}", honest.cid)
    assert finding.evidence["digest"] == forged.digest.hex()
    assert finding.evidence["expected_digest"] == honest.digest.hex()
    assert (finding.evidence["tensor"], finding.evidence["element"]) == ("weight", 7)
    assert finding.evidence["expected_value"] == str(right)
    assert finding.evidence["seq"] == published.seq


async def test_a_wrong_version_does_not_cascade(simulation: Simulation) -> None:
    await test_wrong_result(simulation)
    await simulation.round()
    await simulation.round(1, 2)
    report = await audit(simulation)
    assert sole(report).subject == "version 2"
    assert (report.versions, report.recomputed) == (5, 3)


async def test_update_left_out_of_the_manifest(simulation: Simulation) -> None:
    simulation.submit(0)
    record = simulation.submit(1)
    plan = await simulation.plan()
    await simulation.publish(manifest=without_line(await simulation.manifest(plan), record.seq))
    finding = sole(await audit(simulation))
    assert (finding.rule, finding.subject) == (Rule.MANIFEST_LEFT_OUT, f"version 2, update {record.seq}")
    assert finding.expected == f"a line: merged with weight {ONE}"
    assert finding.evidence["update_seq"] == record.seq
    assert finding.evidence["model"] == ALL_THE_SAME


async def test_update_left_out_of_the_merge(simulation: Simulation) -> None:
    simulation.submit(0)
    record = simulation.submit(1)
    simulation.submit(2)
    plan = await simulation.plan({record.seq: UNAVAILABLE})
    plan = replace(plan, updates=tuple(entry for entry in plan.updates if entry.seq != record.seq))
    await simulation.publish(plan)
    finding = sole(await audit(simulation))
    assert (finding.rule, finding.subject) == (Rule.MANIFEST_LEFT_OUT, f"version 2, update {record.seq}")
    assert str(finding.evidence["model"]).startswith(AS_STATED)


async def test_update_invented_in_the_manifest(simulation: Simulation) -> None:
    simulation.submit(0)
    record = simulation.submit(1)
    manifest = await simulation.manifest(await simulation.plan())
    invented = manifest.updates[-1].model_copy(
        update={"seq": record.seq - 9, "site": AUDITOR, "decision": Decision.TOO_STALE}
    )
    await simulation.publish(manifest=manifest.model_copy(update={"updates": (invented, *manifest.updates)}))
    finding = sole(await audit(simulation))
    assert (finding.rule, finding.subject) == (Rule.MANIFEST_INVENTED, f"version 2, update {record.seq - 9}")
    assert finding.evidence["site"] == AUDITOR


async def test_update_invented_in_the_merge(simulation: Simulation) -> None:
    simulation.submit(0)
    simulation.submit(1)
    plan = await simulation.plan()
    forged = replace(plan.updates[0], seq=simulation.act(GOVERNOR, MemberSet(AUDITOR, Role.AUDITOR)).seq)
    forged = replace(forged, content=simulation.train(2, base=1), site=simulation.site(2))
    lying = replace(plan, updates=(plan.updates[0], forged), through=forged.seq)
    await simulation.publish(lying)
    finding = next(one for one in (await audit(simulation)).findings if one.rule is Rule.MANIFEST_INVENTED)
    assert finding.subject == f"version 2, update {forged.seq}"
    assert str(finding.evidence["model"]).startswith(AS_STATED)


@pytest.mark.parametrize("reason", [Decision.NORM_BOUND, Decision.MALFORMED, Decision.OUT_OF_RANGE, Decision.DUPLICATE])
async def test_rejection_without_ground(simulation: Simulation, reason: Decision) -> None:
    simulation.submit(0)
    record = simulation.submit(1)
    simulation.submit(2)
    await simulation.publish(await simulation.plan({record.seq: Inspection(reason)}))
    finding = sole(await audit(simulation))
    assert (finding.rule, finding.subject) == (Rule.MANIFEST_UPDATE, f"version 2, update {record.seq}")
    assert finding.stated.startswith(f"decision={reason}")
    assert finding.expected.startswith("decision=merged")
    assert str(finding.evidence["model"]).startswith(AS_STATED)


async def test_two_rejections_without_ground_are_two_findings(simulation: Simulation) -> None:
    one, other = simulation.submit(0), simulation.submit(1)
    simulation.submit(2)
    simulation.submit(2)
    lies = {one.seq: Inspection(Decision.NORM_BOUND), other.seq: MALFORMED}
    await simulation.publish(await simulation.plan(lies))
    report = await audit(simulation)
    assert [finding.subject for finding in report.findings] == [
        f"version 2, update {one.seq}",
        f"version 2, update {other.seq}",
    ]


async def test_result_kept_back_is_published_by_another_aggregator(simulation: Simulation) -> None:
    simulation.submit(0)
    closing = simulation.submit(1)
    report = await audit(simulation)
    assert report.exit_code == 0
    assert [str(note) for note in report.notes] == [f"version 2: due since record {closing.seq}, and not published yet"]
    await simulation.publish(actor=STANDBY)
    report = await audit(simulation)
    assert (report.exit_code, report.notes, report.recomputed) == (0, (), 2)


async def test_published_before_the_buffer_closed(simulation: Simulation) -> None:
    simulation.submit(0)
    simulation.submit(1)
    plan = await simulation.plan()
    first = plan.updates[0]
    await simulation.publish(replace(plan, updates=(first,), through=first.seq))
    finding = sole(await audit(simulation))
    assert (finding.rule, finding.subject) == (Rule.VERSION_BOUNDARY, "version 2, through")
    assert finding.stated == str(first.seq)


async def test_manifest_that_is_none(simulation: Simulation) -> None:
    simulation.submit(0)
    simulation.submit(1)
    published = await simulation.publish(manifest=b"{}")
    finding = sole(await audit(simulation))
    assert (finding.rule, finding.subject) == (Rule.MANIFEST_FORMAT, "version 2, manifest")
    assert finding.evidence["manifest"] == published.payload.manifest.cid
    assert finding.evidence["model"] == ALL_THE_SAME


@pytest.mark.parametrize(
    ("key", "value"),
    [("first", 1), ("divisors", (7,)), ("version", 9), ("policy", None), ("through", 3), ("parent", None)],
)
async def test_any_other_key_changed(simulation: Simulation, key: str, value: object) -> None:
    simulation.submit(0)
    simulation.submit(1)
    manifest = await simulation.manifest(await simulation.plan())
    await simulation.publish(manifest=manifest.model_copy(update={key: value}))
    finding = sole(await audit(simulation))
    assert (finding.rule, finding.subject, finding.stated) == (Rule.MANIFEST_KEY, f"version 2, {key}", str(value))


@pytest.mark.parametrize(
    ("key", "value"), [("samples", 1), ("base", 0), ("max_abs", "5"), ("site", AUDITOR), ("staleness", 3)]
)
async def test_any_fact_about_an_update_changed(simulation: Simulation, key: str, value: object) -> None:
    record = simulation.submit(0)
    simulation.submit(1)
    manifest = await simulation.manifest(await simulation.plan())
    assert key in UpdateLine.model_fields
    await simulation.publish(manifest=with_line(manifest, record.seq, **{key: value}))
    finding = sole(await audit(simulation))
    assert (finding.rule, finding.stated) == (Rule.MANIFEST_UPDATE, f"{key}={value}")


async def test_lines_out_of_order(simulation: Simulation) -> None:
    simulation.submit(0)
    simulation.submit(1)
    manifest = await simulation.manifest(await simulation.plan())
    await simulation.publish(manifest=manifest.model_copy(update={"updates": manifest.updates[::-1]}))
    assert sole(await audit(simulation)).rule is Rule.MANIFEST_ORDER


async def test_manifest_only_lies_in_a_buffer_closed_by_time(simulation: Simulation) -> None:
    record = simulation.submit(0)
    simulation.close()
    manifest = await simulation.manifest(await simulation.plan())
    lie = with_line(manifest, record.seq, decision=Decision.NORM_BOUND, weights=())
    await simulation.publish(manifest=lie)
    finding = sole(await audit(simulation))
    assert finding.subject == f"version 2, update {record.seq}"
    assert finding.evidence["model"] == ALL_THE_SAME


# sites: an honest aggregator rejects, and one that does not is found


async def test_one_update_twice(simulation: Simulation) -> None:
    first = simulation.submit(0)
    twice = simulation.submit(0, content=first.payload.content)
    simulation.submit(1)
    await simulation.publish()
    report = await audit(simulation)
    assert (report.exit_code, report.decisions) == (0, {"duplicate": 1, "merged": 4})
    assert twice.seq == first.seq + 1


async def test_one_update_twice_and_merged_twice(simulation: Simulation) -> None:
    first = simulation.submit(0)
    twice = simulation.submit(0, content=first.payload.content)
    simulation.submit(1)
    plan = await simulation.plan()
    merged = replace(plan.updates[0], seq=twice.seq)
    await simulation.publish(replace(plan, updates=(plan.updates[0], merged), through=twice.seq))
    finding = sole(await audit(simulation))
    assert (finding.rule, finding.subject) == (Rule.MANIFEST_UPDATE, f"version 2, update {twice.seq}")
    assert str(finding.evidence["model"]).startswith(AS_STATED)


async def _merged_all_the_same(simulation: Simulation, record, reason: Decision) -> None:
    """Publish as an aggregator that admits what it should reject for a reason, and expect exactly that finding."""
    simulation.submit(2)
    simulation.submit(2)
    plan = await simulation.plan({record.seq: Inspection(None, 5, 25)})
    if reason is Decision.MALFORMED:  # nobody else can merge it, so the model is one of the liar's own
        await _merged_nobody_knows_how(simulation, plan, record)
        return
    await simulation.publish(plan)
    finding = sole(await audit(simulation))
    assert (finding.rule, finding.subject) == (Rule.MANIFEST_UPDATE, f"version 2, update {record.seq}")
    assert finding.stated.startswith("decision=merged")
    assert finding.expected.startswith(f"decision={reason}")
    assert str(finding.evidence["model"]).startswith(AS_STATED)


async def _merged_nobody_knows_how(simulation: Simulation, plan: Plan, record) -> None:
    """Publish a model of which the manifest says that a malformed update is in it; expect both to be named."""
    published = await simulation.publish(plan, model=simulation.model(0))
    report = await audit(simulation)
    assert report.exit_code == 1
    line, result = report.findings
    assert (line.rule, line.subject) == (Rule.MANIFEST_UPDATE, f"version 2, update {record.seq}")
    assert line.stated.startswith("decision=merged")
    assert line.expected.startswith(f"decision={Decision.MALFORMED}")
    assert (result.rule, result.subject) == (Rule.VERSION_RESULT, "version 2")
    assert result.evidence["seq"] == published.seq


async def _rejected(simulation: Simulation, reason: Decision) -> None:
    """Publish as an honest aggregator, and expect a clean audit that counts the rejection."""
    simulation.submit(2)
    simulation.submit(2)
    await simulation.publish()
    report = await audit(simulation)
    assert report.exit_code == 0
    assert report.decisions[reason] == 1


@pytest.mark.parametrize("outcome", [_rejected, _merged_all_the_same])
@pytest.mark.parametrize("lie", ["somebody's update as its own", "stale base claimed fresh", "huge values", "noise"])
async def test_a_lying_site(lie: str, outcome) -> None:
    policy = fedbuff(size=2, per_site=2)
    rules = policy.admission.model_copy(update={"max_change": 10.0})
    simulation = Simulation(policy=policy.model_copy(update={"admission": rules}))
    await simulation.deploy()
    await simulation.round()
    reason = Decision.MALFORMED
    if lie == "somebody's update as its own":
        record = simulation.submit(1, content=simulation.train(0, base=1))
    elif lie == "stale base claimed fresh":
        record = simulation.submit(1, base=1, content=simulation.train(1, base=0))
    elif lie == "huge values":
        record, reason = simulation.submit(1, scale=30.0), Decision.OUT_OF_RANGE
    else:
        size = simulation.train(1, base=1).size
        record = simulation.submit(1, content=simulation.put(bytes(size)))
    if outcome is _rejected:
        await _rejected(simulation, reason)
    else:
        await _merged_all_the_same(simulation, record, reason)


async def test_an_update_that_nobody_gives(simulation: Simulation) -> None:
    simulation.submit(1, content=Content(Digest(bytes(32)), simulation.train(1, base=1).size))
    simulation.submit(0)
    simulation.submit(2)
    await simulation.publish()
    report = await audit(simulation)
    assert (report.exit_code, report.decisions["unavailable"]) == (0, 1)
    assert (report.unchecked, report.recomputed) == ((), 2)


async def test_stated_unavailable_but_here_is_a_note(simulation: Simulation) -> None:
    record = simulation.submit(1)
    simulation.submit(0)
    simulation.submit(2)
    await simulation.publish(await simulation.plan({record.seq: UNAVAILABLE}))
    report = await audit(simulation)
    assert report.exit_code == 0
    assert f"update {record.seq}" in str(report.notes[0])
    assert report.recomputed == 2


# the governor


async def test_roles_changed_after_the_fact_change_nothing(simulation: Simulation) -> None:
    simulation.submit(0)
    simulation.act(GOVERNOR, MemberSet(simulation.site(0), Role.NONE))
    simulation.act(GOVERNOR, MemberSet(AGGREGATOR, Role.AGGREGATOR))
    simulation.submit(1)
    await simulation.publish()
    assert (await audit(simulation)).exit_code == 0


async def test_rejected_for_a_role_lost_later(simulation: Simulation) -> None:
    record = simulation.submit(0)
    simulation.act(GOVERNOR, MemberSet(simulation.site(0), Role.NONE))
    simulation.submit(1)
    simulation.submit(2)
    await simulation.publish(await simulation.plan({record.seq: Inspection(Decision.NOT_TRAINER)}))
    finding = sole(await audit(simulation))
    assert finding.subject == f"version 2, update {record.seq}"
    assert "not_trainer" in finding.stated


async def test_policy_swapped_while_a_buffer_is_open(simulation: Simulation) -> None:
    simulation.submit(0)
    swapped = preset("fedbuff", size=2, per_site=2, timeout_s=600, rate=0.25)
    record = simulation.set_policy(swapped)
    simulation.submit(1)
    plan = await simulation.plan()
    lying = replace(plan, policy=swapped, policy_seq=record.seq)
    await simulation.publish(lying)
    finding = sole(await audit(simulation))
    assert (finding.rule, finding.subject) == (Rule.MANIFEST_KEY, "version 2, policy")
    assert (finding.stated, finding.expected) == (str(record.seq), str(plan.policy_seq))
    assert str(finding.evidence["model"]).startswith(AS_STATED)


async def test_a_new_policy_holds_from_the_next_buffer_on(simulation: Simulation) -> None:
    simulation.submit(0)
    simulation.set_policy(preset("fedbuff", size=2, per_site=2, timeout_s=600, rate=0.25))
    simulation.submit(1)
    await simulation.publish()
    await simulation.round()
    assert (await audit(simulation)).exit_code == 0


async def test_erased_content_is_no_finding(simulation: Simulation) -> None:
    records = [record for record in simulation.chain.records if isinstance(record.payload, UpdateSubmitted)]
    simulation.act(records[0].actor, ContentErased(records[0].seq, 1))
    simulation.network.lose(records[0].payload.content)
    report = await audit(simulation)
    assert (report.exit_code, report.recomputed) == (0, 0)
    assert "erased" in str(report.notes[0])


async def test_a_missing_blob_is_no_finding_and_not_clean(simulation: Simulation) -> None:
    records = [record for record in simulation.chain.records if isinstance(record.payload, UpdateSubmitted)]
    simulation.network.lose(records[0].payload.content)
    report = await audit(simulation)
    assert (report.exit_code, report.recomputed, report.findings) == (2, 0, ())
    assert [gap.subject for gap in report.unchecked] == ["version 1"]
    assert records[0].payload.content.cid in report.unchecked[0].reason
