"""Which claims are versions, and which records have no effect: nobody can stop a history by writing one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fedchain.core.ledger.records import Address, BufferClosed, Head, ModelPublished, PolicySet, Seq, Version

Make = Callable[..., Any]

AGGREGATOR = Address("0x" + "bb" * 20)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": Version(0)}, "claims version 0, where version 1 was the next"),
        ({"version": Version(2)}, "claims version 2, where version 1 was the next"),
        ({"head": Head(bytes(32))}, "on another head"),
        ({"through": Seq(3)}, "on another head after record 3"),
        ({"through": Seq(9)}, "claims records through 9, which is not before it"),
        ({"through": Seq(2**64 - 1)}, "which is not before it"),
    ],
)
def test_a_claim_that_is_not_on_this_ledger_has_no_effect(begin: Make, change: Any, reason: str) -> None:
    story = begin()
    story.update(1)
    through = story.update(2)
    before = story.buffer_state()
    claim = ModelPublished(Version(1), through, story.history.heads[through], story.content(), story.content())
    void = story.add(replace(claim, **change), AGGREGATOR)
    assert void.seq == 9
    assert (len(story.history.published), story.buffer_state()) == (1, before)
    assert story.history.ignored[-1][0] == void
    assert reason in story.history.ignored[-1][1]


def test_the_first_claim_on_this_ledger_is_the_version(begin: Make) -> None:
    story = begin()
    story.update(1)
    through = story.update(2)
    claim = ModelPublished(Version(1), through, story.history.heads[through], story.content(), story.content())
    first, second = (story.add(one, AGGREGATOR) for one in (claim, replace(claim, model=story.content())))
    assert story.history.published[1].record == first
    assert story.history.ignored[-1][0] == second


def test_a_restart_has_no_effect_yet(begin: Make, policy: Make) -> None:
    story = begin(policy(size=2, timeout_s=1))
    story.update(1)
    before = story.buffer_state()
    record = story.add(BufferClosed(Seq(6), b"anything"), at=story.now + 99)
    assert story.buffer_state() == before
    assert story.history.ignored[-1][0] == record


def test_bytes_that_are_no_policy_leave_the_one_before_in_force(begin: Make, policy: Make) -> None:
    story = begin()
    for document in (b"", b"{}", policy(size=9).canonical() + b" ", policy(size=9).canonical()[:-1]):
        record = story.add(PolicySet(document))
        assert story.history.policy(record.seq)[0] == 1
        assert story.history.ignored[-1][0] == record
        assert "is not a policy" in story.history.ignored[-1][1]
