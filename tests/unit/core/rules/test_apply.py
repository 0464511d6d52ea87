"""Check and apply: an honest manifest departs from nothing, a changed one exactly where it was changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fedchain.core.ledger.records import ModelPublished, Seq, Version
from fedchain.core.rules.judged import Decision
from fedchain.core.rules.manifest import Manifest, UpdateLine, manifest_of
from fedchain.core.strategies.merge import Merged
from fedchain.core.updates.inspection import MALFORMED, UNAVAILABLE

Make = Callable[..., Any]


def lines(story: Any, **changes: object) -> tuple[UpdateLine, ...]:
    """The honest lines of the next version, the first with changes."""
    plan = story.plan()
    first, *rest = manifest_of(story.history.federation, plan, Merged(plan.parent)).updates
    return (first.model_copy(update=changes), *rest)


def said(discrepancies: list[Any]) -> list[tuple[str, str, str]]:
    return [(one.where, one.stated, one.expected) for one in discrepancies]


@pytest.fixture
def story(begin: Make) -> Any:
    """A buffer that closed with one rejected and two merged updates: records 7, 8 and 9."""
    told = begin()
    told.found[told.update(1)] = MALFORMED
    told.update(2, samples=10)
    told.update(3, samples=20)
    return told


def test_an_honest_manifest_departs_from_nothing(story: Any) -> None:
    assert story.publish() == []
    assert story.history.applied == 2
    assert story.history.tail == []


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [("weights", (65535,), "(65536,)"), ("samples", 11, "10"), ("staleness", 1, "0"), ("site", "0x" + "03" * 20, None)],
)
def test_one_changed_value_of_an_update(story: Any, key: str, value: object, expected: str | None) -> None:
    rejected, honest, last = lines(story)
    changed = honest.model_copy(update={key: value})
    found = said(story.publish(updates=(rejected, changed, last)))
    assert found == [("updates[seq 8]." + key, str(value), expected or honest.site)]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("divisors", (131073,)),
        ("first", 8),
        ("through", 8),
        ("version", 2),
        ("policy", None),
        ("parent", None),
        ("integers", {"scale": "1"}),
    ],
)
def test_one_changed_key(story: Any, key: str, value: object) -> None:
    assert [where for where, _, _ in said(story.publish(**{key: value}))] == [key]


def test_another_result_than_the_one_published(story: Any) -> None:
    honest = manifest_of(story.history.federation, story.plan(), Merged(story.content()))
    found = story.publish(result=honest.result)
    published = story.history.latest.claim.model
    assert said(found) == [
        ("result", honest.result.canonical().decode(), f'{{"cid":"{published.cid}","size":{published.size}}}')
    ]


def test_a_dropped_update_that_counts(story: Any) -> None:
    rejected, _, last = lines(story)
    found = said(story.publish(updates=(rejected, last)))
    assert found == [("through", "9", "update 8 is to be decided by its content, of which nothing is stated")]


def test_a_dropped_update_that_records_reject(begin: Make) -> None:
    story = begin()
    early = story.update(1, base=1)
    story.update(2)
    story.update(3)
    found = said(story.publish(updates=lines(story)[1:]))
    assert found == [(f"updates[seq {early}]", "nothing", "unknown_base")]


def test_an_invented_update(story: Any) -> None:
    honest = lines(story)
    invented = honest[1].model_copy(update={"seq": 3, "cid": story.content().cid})
    found = said(story.publish(updates=(invented, *honest)))
    assert found == [("updates[seq 3]", "merged", "nothing: no such update in this buffer")]


def test_a_rejection_that_records_do_not_bear_out(story: Any) -> None:
    rejected, honest, last = lines(story)
    wrong = honest.model_copy(update={"decision": Decision.TOO_STALE, "weights": (), "max_abs": None, "norm2": None})
    found = said(story.publish(updates=(rejected, wrong, last)))
    assert found == [("through", "9", "update 8 is to be decided by its content, of which nothing is stated")]


def test_a_rejection_that_its_own_numbers_do_not_bear_out(begin: Make, policy: Make) -> None:
    story = begin(policy(size=1, max_change=1.0))
    seq = story.update(1)
    wrong = lines(story, decision=Decision.OUT_OF_RANGE, weights=())
    assert said(story.publish(updates=wrong)) == [
        (f"updates[seq {seq}].decision", "out_of_range", "merged"),
        (f"updates[seq {seq}].weights", "()", "(65536,)"),
    ]


def test_an_admission_against_the_records(begin: Make) -> None:
    story = begin()
    early = story.update(1, base=1)
    story.update(2)
    story.update(3)
    wrong = lines(story, decision=Decision.MERGED)
    assert said(story.publish(updates=wrong)) == [(f"updates[seq {early}].decision", "merged", "unknown_base")]


def test_repeated_lines(story: Any) -> None:
    honest = lines(story)
    assert [one.where for one in story.publish(updates=(*honest, honest[-1]))] == ["updates"]


def test_lines_out_of_order(story: Any) -> None:
    assert [one.where for one in story.publish(updates=lines(story)[::-1])] == ["updates"]


def test_bytes_that_are_no_manifest(story: Any) -> None:
    plan = story.plan()
    story.claim(plan.through, story.content(), manifest_of(story.history.federation, plan, Merged(plan.parent)))
    assert said(story.history.check(None)) == [("manifest", "nothing that can be read", "a manifest")]
    story.history.apply(None)
    assert story.history.tail == []


def test_a_wrong_boundary_in_the_record(story: Any) -> None:
    plan, model = story.plan(), story.content()
    story.claim(Seq(8), model, manifest_of(story.history.federation, plan, Merged(model)))
    assert said(story.apply()) == [("through", "9", "the buffer closed with record 9, not 8")]
    assert [record.seq for record in story.history.tail] == [9]


def test_a_changed_genesis_manifest(begin: Make) -> None:
    story = begin()
    genesis = story.manifests[0]
    story.history.applied = 0
    story.manifests[0] = genesis.model_copy(update={"divisors": (2,)})
    assert said(story.apply()) == [("divisors", "(2,)", "()")]


# What the ledger holds stands, honest or not: later versions are judged as its successors.


def test_what_was_merged_wrongly_counts_as_admitted(begin: Make) -> None:
    story = begin()
    content = story.content()
    early = story.update(1, base=1, content=content)
    story.update(2)
    story.update(3)
    assert story.publish(updates=lines(story, decision=Decision.MERGED)) != []
    again = story.update(1, base=1, content=content)
    story.update(2, base=1)
    story.update(3, base=1)
    assert early < again
    assert {entry.seq: entry.decision for entry in story.plan().updates}[again] is Decision.DUPLICATE


def test_a_version_published_too_early_departs_alike_whenever_one_looks(begin: Make) -> None:
    at_once, late = begin(), begin()
    for story in (at_once, late):
        seq = story.update(1)
        model = story.content()
        honest = begin()
        honest.update(1)
        honest.update(2)
        story.claim(seq, model, manifest_of(story.history.federation, honest.plan(), Merged(model)))
    found = at_once.apply()
    for story in (at_once, late):
        story.update(2, base=1)  # its base is the version that was published too early
    assert late.apply() == found
    assert said(found) == [("through", "8", "the buffer is open: 1 of 2 updates admitted")]
    assert at_once.history.open_buffer().judge(late.found) == late.history.open_buffer().judge(late.found)


def test_a_site_that_states_more_samples_or_bytes_than_json_carries_stops_nobody(begin: Make) -> None:
    story = begin()
    story.update(1, samples=2**64 - 1)
    story.found[story.update(2, content=story.content(size=2**64 - 1))] = MALFORMED
    story.update(3, samples=2**53)
    manifest = manifest_of(story.history.federation, story.plan(), Merged(story.content()))
    assert Manifest.parse(manifest.canonical()) == manifest
    assert story.publish() == []


def test_an_aggregator_that_states_a_model_of_absurd_size_stops_nobody(begin: Make) -> None:
    story = begin()
    story.update(1)
    story.update(2)
    plan, model = story.plan(), story.content(size=2**64 - 1)
    story.claim(plan.through, model, manifest_of(story.history.federation, plan, Merged(plan.parent)))
    assert [one.where for one in story.apply()] == ["result"]
    assert story.history.latest.claim == ModelPublished(
        Version(1), plan.through, story.history.heads[plan.through], model, story.records[-1].payload.manifest
    )


def test_an_unavailable_content_is_taken_as_found(begin: Make) -> None:
    story = begin()
    story.found[story.update(1)] = UNAVAILABLE
    story.update(2)
    story.update(3)
    assert story.publish() == []


def test_a_version_published_before_any_policy_departs(begin: Make) -> None:
    story = begin(first_policy=b"{}")
    plan_of_another = begin()
    plan_of_another.update(1)
    plan_of_another.update(2)
    seq = story.update(1)
    manifest = manifest_of(story.history.federation, plan_of_another.plan(), Merged(story.content()))
    story.claim(seq, story.content(), manifest)
    (found,) = story.apply()
    assert found.expected.startswith("no valid policy is set")
