"""Admission as the records decide it (DESIGN 6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fedchain.core.ledger.records import Role, Seq
from fedchain.core.rules.judged import Decision, Inspection
from fedchain.core.strategies.staleness import Polynomial
from fedchain.core.strategies.strategy import Weights
from fedchain.core.updates.inspection import MALFORMED, UNAVAILABLE

Make = Callable[..., Any]


def decisions(story: Any) -> dict[Seq, Decision]:
    return {entry.seq: entry.decision for entry in story.plan().updates}


def test_a_site_has_its_quota_in_each_buffer(begin: Make, policy: Make) -> None:
    story = begin(policy(size=3, per_site=2))
    seqs = [story.update(site) for site in (1, 1, 1, 2)]
    assert list(decisions(story).values()) == [
        Decision.MERGED, Decision.MERGED, Decision.OVER_QUOTA, Decision.MERGED,
    ]  # fmt: skip
    assert story.publish() == []
    again = story.update(1, base=1)
    assert seqs[-1] < again
    assert [entry.seq for entry in story.buffer_state().admitted] == [again]


def test_a_rejected_update_costs_no_quota(begin: Make) -> None:
    story = begin()
    bad, good = story.update(1), story.update(1)
    story.found[bad] = UNAVAILABLE
    story.update(2)
    assert decisions(story)[good] is Decision.MERGED


def test_the_privacy_budget_counts_over_all_versions(begin: Make, policy: Make) -> None:
    story = begin(policy(size=2, updates_per_site=2))
    for _ in range(2):
        story.update(1)
        story.update(2)
        assert story.publish() == []
    over, other = story.update(1, base=2), story.update(3, base=2)
    story.update(2, base=2)
    assert story.buffer_state().plan is None
    assert [entry.seq for entry in story.buffer_state().admitted] == [other]
    story.close(at=story.now + 100)
    assert decisions(story)[over] is Decision.PRIVACY_BUDGET


def test_a_content_is_admitted_once_in_a_buffer_and_ever_after(begin: Make, policy: Make) -> None:
    story = begin(policy(size=2, per_site=5))
    content = story.content()
    story.update(1, content=content)
    repeated = story.update(2, content=content)
    story.update(3)
    assert decisions(story)[repeated] is Decision.DUPLICATE
    assert story.publish() == []
    repeated = story.update(1, content=content)
    story.update(1)
    story.update(2)
    assert decisions(story)[repeated] is Decision.DUPLICATE


def test_a_content_that_nobody_gave_may_be_submitted_again(begin: Make) -> None:
    story = begin()
    content = story.content()
    lost = story.update(1, content=content)
    story.found[lost] = UNAVAILABLE
    again = story.update(1, content=content)
    story.update(2)
    assert decisions(story)[lost] is Decision.UNAVAILABLE
    assert decisions(story)[again] is Decision.MERGED


@pytest.mark.parametrize(("bound", "decision"), [(1, Decision.TOO_STALE), (2, Decision.MERGED)])
def test_staleness_is_bounded_by_the_policy(begin: Make, policy: Make, bound: int, decision: Decision) -> None:
    story = begin(policy(size=1, per_site=2, max_staleness=bound))
    for base in range(2):
        story.update(1, base=base)
        assert story.publish() == []
    seq = story.update(2, base=0)
    story.update(3, base=2)
    entry = story.plan().updates[0]
    assert (entry.seq, entry.staleness, entry.decision) == (seq, 2, decision)


def test_a_base_must_be_published_before_the_update(begin: Make) -> None:
    story = begin()
    early = story.update(1, base=1)
    story.update(2)
    story.update(3)
    entries = {entry.seq: entry for entry in story.plan().updates}
    assert entries[early].decision is Decision.UNKNOWN_BASE
    assert entries[early].staleness is None
    assert story.publish() == []  # version 1 exists now, but not when `early` was submitted
    assert story.history.published[1].record.seq > early


def test_roles_are_those_at_the_updates_seq(begin: Make, sites: list[Any]) -> None:
    story = begin()
    before = story.update(1)
    story.set_roles(sites[0], Role.AUDITOR)
    story.set_roles(sites[1], Role.NONE)
    without = story.update(2)
    story.set_roles(sites[1], Role.TRAINER | Role.AGGREGATOR)
    restored = story.update(2)
    assert decisions(story) == {
        before: Decision.MERGED, without: Decision.NOT_TRAINER, restored: Decision.MERGED,
    }  # fmt: skip


def test_a_norm_is_bounded_by_the_policy(begin: Make, policy: Make) -> None:
    story = begin(policy(size=1, max_norm=1.0))
    seq = story.update(1)
    assert [record.seq for record in story.history.open_buffer().judge({}).to_inspect] == [seq]
    story.found[seq] = Inspection(None, max_abs=1, norm2=2**60 + 1)
    later = story.update(2)
    story.found[later] = Inspection(None, max_abs=1, norm2=2**60)
    assert decisions(story) == {seq: Decision.NORM_BOUND, later: Decision.MERGED}


def test_a_failed_content_needs_no_norm(begin: Make, policy: Make) -> None:
    story = begin(policy(size=1, max_norm=1.0))
    story.found[story.update(1)] = MALFORMED
    assert story.buffer_state().to_inspect == ()


@pytest.mark.parametrize("staleness", [0, 1, 300])
def test_weights_follow_from_staleness(begin: Make, policy: Make, staleness: int) -> None:
    story = begin(policy(size=1, max_staleness=1000, staleness=Polynomial(function="polynomial", exponent="2")))
    for base in range(staleness):
        story.update(1, base=base)
        assert story.publish() == []
    story.update(2, base=0)
    plan = story.plan()
    assert plan.weigh(None) == Weights(((65536 // (staleness + 1) ** 2,),), (65536,))
