"""Buffers, boundaries and policies as the records define them (DESIGN 6)."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.errors import FedchainError, HeadMismatch
from fedchain.core.ledger.records import PolicySet, Role, Seq, first_head, next_head
from fedchain.core.rules.history import History
from fedchain.core.rules.judged import Decision, Inspection
from fedchain.core.rules.policy import fedbuff
from fedchain.core.strategies.strategy import Weights
from fedchain.core.updates.inspection import MALFORMED

Make = Callable[..., Any]


def decisions(story: Any) -> dict[Seq, Decision]:
    return {entry.seq: entry.decision for entry in story.plan().updates}


# Buffers and versions


def test_a_buffer_closes_with_its_kth_admitted_update(begin: Make, policy: Make) -> None:
    story = begin(policy(size=3))
    seqs = [story.update(site) for site in (1, 2)]
    assert story.buffer_state().plan is None
    assert [entry.seq for entry in story.buffer_state().admitted] == seqs
    seqs.append(story.update(3))
    later = story.update(1)
    plan = story.plan()
    assert plan.version == 1
    assert plan.parent == story.history.published[0].claim.model
    assert (plan.first, plan.through) == (story.history.published[0].record.seq + 1, seqs[-1])
    assert [entry.seq for entry in plan.merged] == seqs
    assert later not in [entry.seq for entry in plan.updates]


def test_rejected_updates_do_not_fill_a_buffer(begin: Make) -> None:
    story = begin()
    bad, first, second = story.update(1), story.update(2), story.update(3)
    story.found[bad] = MALFORMED
    assert decisions(story) == {bad: Decision.MALFORMED, first: Decision.MERGED, second: Decision.MERGED}
    assert story.plan().weigh(None) == Weights(((65536, 65536),), (131072,))


def test_nothing_is_decided_past_an_update_that_nobody_has_looked_at(begin: Make) -> None:
    story = begin()
    first, second, third = story.update(1), story.update(2), story.update(3)
    state = story.history.open_buffer().judge({})
    assert [record.seq for record in state.to_inspect] == [first, second, third]
    state = story.history.open_buffer().judge({first: Inspection(None, 1, 1), third: Inspection(None, 1, 1)})
    assert [record.seq for record in state.to_inspect] == [second]
    assert [entry.seq for entry in state.admitted] == [first]
    assert state.plan is None
    assert (
        story.history.open_buffer().judge({first: Inspection(None, 1, 1), second: Inspection(None, 1, 1)}).plan
        is not None
    )


def test_a_closed_buffer_wants_nothing_of_the_next_one(begin: Make) -> None:
    story = begin()
    looked_at = {story.update(site): Inspection(None, 1, 1) for site in (1, 2)}
    story.update(3)
    state = story.history.open_buffer().judge(looked_at)
    assert state.to_inspect == ()
    assert state.plan is not None


@pytest.mark.parametrize(("after", "is_closed"), [(59, False), (60, True), (61, True)])
def test_buffer_closed_counts_once_the_time_out_has_passed(
    begin: Make, policy: Make, after: int, is_closed: bool
) -> None:
    story = begin(policy(size=5, timeout_s=60))
    story.update(1, at=5000)
    story.update(2, at=5030)
    assert story.buffer_state().timeout_at == 5060
    closing = story.close(at=5000 + after)
    state = story.buffer_state()
    assert (state.plan is not None) == is_closed
    if state.plan:
        assert state.plan.through == closing
        assert len(state.plan.merged) == 2


def test_a_time_out_begins_with_the_first_admitted_update(begin: Make, policy: Make) -> None:
    story = begin(policy(size=5, timeout_s=60))
    assert story.buffer_state().timeout_at is None
    story.close(at=9000)  # nothing admitted: an empty buffer never closes
    bad = story.update(1, at=9010)
    story.found[bad] = MALFORMED
    assert story.buffer_state().timeout_at is None
    story.update(2, at=9100)
    assert story.buffer_state().timeout_at == 9160
    story.close(at=9159)
    assert story.buffer_state().plan is None
    closing = story.close(at=9160)
    assert story.plan().through == closing


def test_an_early_buffer_closed_does_not_count_later(begin: Make, policy: Make) -> None:
    story = begin(policy(size=5, timeout_s=60))
    story.update(1, at=5000)
    story.close(at=5010)
    story.update(2, at=6000)
    assert story.buffer_state().plan is None


def test_several_buffers_close_before_the_first_of_their_versions_is_published(begin: Make) -> None:
    story = begin()
    seqs = [story.update(site) for site in (1, 2, 3, 1, 2, 3)]
    for version, (first, last) in enumerate([seqs[0:2], seqs[2:4], seqs[4:6]], start=1):
        plan = story.plan()
        assert (plan.version, plan.through) == (version, last)
        assert [entry.seq for entry in plan.merged] == [first, last]
        assert [entry.staleness for entry in plan.merged] == [version - 1] * 2
        assert story.publish() == []
    assert story.buffer_state().plan is None


def test_boundaries_do_not_depend_on_when_versions_are_published(begin: Make) -> None:
    prompt, tardy = begin(), begin()
    for site in (1, 2):
        prompt.update(site)
    assert prompt.publish() == []
    for site in (2, 3):
        prompt.update(site)
    for site in (1, 2, 2, 3):
        tardy.update(site)
    assert tardy.publish() == []
    for story in (prompt, tardy):
        assert [(entry.site, entry.staleness) for entry in story.plan().merged] == [
            (site, 1) for site in ("0x" + "02" * 20, "0x" + "03" * 20)
        ]


def test_all_means_the_trainers_when_the_buffer_opens(begin: Make, policy: Make) -> None:
    story = begin(policy(size="all"))
    assert story.buffer_state().size == 3
    story.set_roles("0x" + "04" * 20, Role.TRAINER | Role.AUDITOR)
    story.set_roles("0x" + "05" * 20, Role.AUDITOR)
    assert story.buffer_state().size == 3
    for site in (1, 2, 3):
        story.update(site)
    assert story.publish() == []
    assert story.buffer_state().size == 4
    story.set_roles("0x" + "01" * 20, Role.NONE)
    assert story.buffer_state().size == 4


def test_all_of_nobody_is_one(begin: Make, policy: Make) -> None:
    assert begin(policy(size="all"), sites=0).buffer_state().size == 1


# Policies


def test_the_policy_in_force_when_a_buffer_opens_holds_until_it_closes(begin: Make, policy: Make) -> None:
    story = begin(policy(size=2))
    first_policy = 1
    story.update(1)
    changed = story.set_policy(policy(size=1))
    assert story.buffer_state().size == 2
    story.update(2)
    assert story.plan().policy_seq == first_policy
    assert story.publish() == []
    state = story.buffer_state()
    assert state.size == 1
    story.update(3, base=1)
    assert story.plan().policy_seq == changed


def test_a_policy_set_after_a_buffer_opened_waits_for_the_next_even_when_published_late(
    begin: Make, policy: Make
) -> None:
    story = begin(policy(size=2))
    story.update(1)
    story.update(2)  # buffer 2 opens here
    story.set_policy(policy(size=1))
    assert story.publish() == []
    assert story.buffer_state().size == 2


def test_a_document_that_is_not_a_policy_leaves_the_one_before_in_force(begin: Make, policy: Make) -> None:
    story = begin(policy(size=1))
    story.set_policy(None)
    story.update(1)
    assert story.publish() == []
    assert story.buffer_state().size == 1
    assert story.buffer_state().policy == policy(size=1)


def test_without_a_policy_the_first_one_set_later_holds(begin: Make, policy: Make) -> None:
    story = begin(first_policy=b"{}")
    with pytest.raises(FedchainError, match="no valid policy is set"):
        story.buffer_state()
    story.set_policy(policy(size=4))
    story.set_policy(policy(size=7))
    assert story.buffer_state().size == 4


def test_a_policy_is_in_force_from_its_own_record_on(begin: Make, policy: Make) -> None:
    story = begin()
    seq = story.set_policy(policy(size=9))
    assert [story.history.policy(Seq(one))[0] for one in (0, 1, seq - 1, seq, seq + 1)] == [1, 1, 1, seq, seq]


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", fedbuff().canonical() + b" ", fedbuff().canonical()[:-1]])
def test_bytes_that_are_not_a_policy_are_named_and_change_nothing(begin: Make, policy: Make, data: bytes) -> None:
    story = begin(policy(size=1))
    record = story.add(PolicySet(data))
    ((ignored, reason),) = story.history.ignored
    assert ignored == record
    assert reason.startswith("is not a policy, so the one before stays in force: policy: ")
    assert story.history.policy(Seq(99)) == (1, policy(size=1))
    seq = story.set_policy(policy(size=5))
    assert story.history.policy(Seq(99)) == (seq, policy(size=5))


# Records


def test_records_come_in_order(begin: Make) -> None:
    story = begin()
    with pytest.raises(HeadMismatch, match="record 9 came where record 7 was due"):
        story.history.append(replace(story.records[0], seq=Seq(9)))


def test_the_head_runs_over_all_records(begin: Make) -> None:
    story = begin()
    story.update(1)
    head = first_head(story.history.federation)
    for record in story.records:
        head = next_head(head, record)
    assert story.history.head == head


def test_nothing_is_to_be_expected_before_genesis(begin: Make) -> None:
    history = History(begin().history.federation)
    with pytest.raises(FedchainError, match="genesis is not published yet"):
        history.open_buffer().judge({})


@given(st.lists(st.tuples(st.sampled_from("uuuuucb"), st.integers(1, 3), st.integers(0, 90)), max_size=30))
def test_histories_fed_alike_are_equal_however_they_are_fed(
    begin: Make, policy: Make, happenings: list[tuple[str, int, int]]
) -> None:
    """What a follower that looks after every record decides is what a late one decides."""
    story = begin(policy(size=2, max_staleness=1))
    for kind, site, wait in happenings:
        if kind == "u":
            story.update(site, base=random.Random(wait).randrange(len(story.history.published)), at=story.now + wait)
        elif kind == "c":
            story.close(at=story.now + wait)
        else:
            story.found[story.update(site)] = MALFORMED
        while story.buffer_state().plan is not None:
            assert story.publish() == []
    late = History(story.history.federation)
    for record in story.records:
        late.append(record)
    for manifest in story.manifests:
        assert late.check(manifest) == []
        late.apply(manifest)
    assert late.head == story.history.head
    assert late.open_buffer().judge(story.found) == story.history.open_buffer().judge(story.found)
