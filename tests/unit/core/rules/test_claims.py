"""Claims: which ModelPublished record is a version, and why another is not."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from fedchain.core.ledger.records import Attested, BufferClosed, Head, ModelPublished, Record, Seq, Verdict, Version
from fedchain.core.rules.manifest import manifest_of
from fedchain.core.strategies.merge import Merged

Make = Callable[..., Any]

AGGREGATOR = "0x" + "bb" * 20


@pytest.fixture
def story(begin: Make) -> Any:
    """A buffer that closed with records 7 and 8, and nobody has claimed its version."""
    told = begin()
    told.update(1)
    told.update(2)
    return told


def claim(story: Any, version: int, through: int, head: bytes | None = None) -> Record:
    """Claim whatever is given; the head is the right one unless it is given too."""
    right = story.history.heads[min(through, len(story.history.heads) - 1)]
    content = story.content()
    payload = ModelPublished(Version(version), Seq(through), Head(head or right), content, content, b"statements")
    record: Record = story.add(payload, AGGREGATOR)
    return record


@pytest.mark.parametrize(
    ("version", "through", "head", "reason"),
    [
        (0, 8, None, "claims version 0, where version 1 was the next"),
        (2, 8, None, "claims version 2, where version 1 was the next"),
        (1, 9, None, "claims records through 9, which is not before it"),
        (1, 2**64 - 1, None, f"claims records through {2**64 - 1}, which is not before it"),
        (1, 8, bytes(32), "claims version 1 on another head after record 8"),
    ],
)
def test_a_void_claim_has_no_effect_and_its_reason_is_kept(
    story: Any, version: int, through: int, head: bytes | None, reason: str
) -> None:
    plan = story.plan()
    record = claim(story, version, through, head)
    assert story.history.ignored == [(record, reason)]
    assert len(story.history.published) == 1
    assert story.plan() == plan
    assert story.publish() == []
    assert story.history.latest.record.seq == record.seq + 1


def test_the_head_of_an_earlier_record_is_another_head(story: Any) -> None:
    record = claim(story, 1, 8, story.history.heads[7])
    assert story.history.ignored == [(record, "claims version 1 on another head after record 8")]


def test_the_first_claim_of_a_number_is_the_version(story: Any) -> None:
    first, second = claim(story, 1, 8), claim(story, 1, 8)
    assert [version.record for version in story.history.published[1:]] == [first]
    assert story.history.ignored == [(second, "claims version 1, where version 2 was the next")]


def test_the_first_claim_counts_even_where_it_is_a_lie(story: Any) -> None:
    """What follows from the records is the manifest's matter: it is checked, and departs."""
    lie = claim(story, 1, 7)
    plan = story.plan()
    assert story.history.published[1].record == lie
    manifest = manifest_of(story.history.federation, plan, Merged(lie.payload.model))
    assert [one.where for one in story.history.check(manifest)] == ["through"]


def test_genesis_consumes_nothing_and_claims_the_head_after_the_first_record(begin: Make) -> None:
    story = begin()
    genesis = story.history.published[0]
    assert (genesis.claim.through, genesis.claim.head) == (0, story.history.heads[0])
    assert genesis.consumed == genesis.record.seq


def test_a_restart_has_no_effect_yet(story: Any, begin: Make) -> None:
    record = story.add(BufferClosed(restart_from=Seq(6)))
    assert story.history.ignored == [(record, "restarts from record 6, which has no effect yet")]
    assert record not in story.history.tail
    assert story.publish() == []


def test_a_restart_does_not_close_a_buffer(begin: Make, policy: Make) -> None:
    story = begin(policy(size=5, timeout_s=60))
    story.update(1, at=5000)
    story.add(BufferClosed(restart_from=Seq(6)), at=6000)
    assert story.buffer_state().plan is None


def test_a_certificate_changes_nothing(begin: Make, policy: Make) -> None:
    story = begin(policy(size=5, timeout_s=60))
    story.update(1, at=5000)
    closing = story.add(BufferClosed(certificate=bytes(121)), at=6000)
    assert story.plan().through == closing.seq


def test_attestations_change_nothing_but_the_head(story: Any) -> None:
    before = story.plan()
    for seq, meaning in [(8, Verdict.REFUSED), (6, 60_000), (2**64 - 1, Verdict.APPROVED)]:
        head = story.history.head
        story.add(Attested(Seq(seq), meaning))
        assert story.history.head != head
    assert story.plan() == before
    assert story.history.ignored == []


# Check and apply


def image(history: Any) -> dict[str, Any]:
    """Everything that a history holds, but for the buffer that it keeps."""
    parts = ("members", "_policies")
    held = {key: deepcopy(value) for key, value in vars(history).items() if key not in ("_buffer", *parts)}
    return held | {part: deepcopy(vars(getattr(history, part))) for part in parts}


@pytest.mark.parametrize("is_honest", [True, False, None])
def test_checking_changes_nothing_and_applying_applies(story: Any, is_honest: bool | None) -> None:
    plan, model = story.plan(), story.content()
    manifest = manifest_of(story.history.federation, plan, Merged(model))
    if is_honest is False:
        manifest = manifest.model_copy(update={"divisors": (1,)})
    story.claim(plan.through, model, manifest)
    history, given = story.history, None if is_honest is None else manifest
    buffer, before = history.buffer(), image(history)
    found = history.check(given)
    assert (found == []) == (is_honest is True)
    assert history.check(given) == found
    assert image(history) == before
    assert history.buffer() is buffer

    history.apply(given)
    assert (history.applied, history.tail) == (2, [])
    merged = [] if given is None else [line.content for line in given.updates]
    assert history.admitted == set(merged)
    assert history.admitted_by.total() == len(merged)
    assert history.buffer() is not buffer
