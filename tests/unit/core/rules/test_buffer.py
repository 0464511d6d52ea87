"""The open buffer goes on where it stopped, and comes to what it would have come to from the beginning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.errors import FedchainError
from fedchain.core.ledger.records import Role, Seq, Version
from fedchain.core.rules.history import History
from fedchain.core.rules.judged import Inspection
from fedchain.core.updates.inspection import MALFORMED, UNAVAILABLE

Make = Callable[..., Any]

FINDINGS = [Inspection(None, 5, 25), Inspection(None, 5, 25), Inspection(None, 2**40, 2**80), MALFORMED, UNAVAILABLE]

happenings = st.lists(
    st.one_of(
        st.tuples(
            st.just("update"),
            st.integers(1, 3),  # site
            st.integers(0, 3),  # base, which may be one to come
            st.integers(0, 5),  # content: one of these few, so that some come twice
            st.sampled_from(FINDINGS),
        ),
        st.tuples(st.just("close"), st.integers(0, 90)),
        st.tuples(st.just("roles"), st.integers(1, 3), st.sampled_from([Role.TRAINER, Role.NONE])),
        st.tuples(st.just("policy"), st.integers(1, 3)),
    ),
    max_size=25,
)


def tell(story: Any, policy: Make, contents: list[Any], what: tuple[Any, ...]) -> None:
    """Append what happens, and note what will be found in it."""
    match what:
        case "update", site, base, content, found:
            story.found[story.update(site, base=base, content=contents[content])] = found
        case "close", wait:
            story.close(at=story.now + wait)
        case "roles", site, roles:
            story.set_roles("0x" + f"{site:02x}" * 20, roles)
        case "policy", size:
            story.set_policy(policy(size=size, per_site=2, updates_per_site=3, max_staleness=1, max_norm=1.0))


@given(happenings, st.data())
def test_judging_record_by_record_is_judging_all_at_once(
    begin: Make, policy: Make, told: list[tuple[Any, ...]], data: st.DataObject
) -> None:
    """Inspections come in any order, some late; versions are published in between."""
    story = begin(policy(size=3, per_site=2, updates_per_site=3, max_staleness=1, max_norm=1.0))
    contents = [story.content() for _ in range(6)]
    known: dict[Seq, Inspection] = {}
    for what in told:
        tell(story, policy, contents, what)
        late = sorted(story.found.keys() - known.keys())
        for seq in data.draw(st.lists(st.sampled_from(late), unique=True)) if late else ():
            known[seq] = story.found[seq]
        state = story.history.buffer().judge(known)
        assert state == story.history.open_buffer().judge(known)
        if state.plan is not None and data.draw(st.booleans()):
            assert story.publish() == []
    assert story.history.buffer().judge(story.found) == story.history.open_buffer().judge(story.found)


def test_a_buffer_is_kept_until_a_version_is_applied(begin: Make) -> None:
    story = begin()
    buffer = story.history.buffer()
    story.update(1)
    assert story.history.buffer() is buffer
    story.update(2)
    assert story.publish() == []
    assert story.history.buffer() is not buffer
    assert story.history.buffer().version == Version(2)


def test_nothing_is_judged_twice(begin: Make) -> None:
    """The buffer asks the inspections once for each update, however often it is judged."""

    class Counted(dict[Seq, Inspection]):
        asked = 0

        def get(self, *key: Any) -> Any:
            self.asked += 1
            return super().get(*key)

    story = begin(sites=3)
    buffer, found = story.history.buffer(), Counted()
    for _ in range(50):
        found[story.update(1)] = MALFORMED
        assert buffer.judge(found).plan is None
    assert found.asked == 50


def test_a_buffer_that_closed_stays_closed(begin: Make) -> None:
    story = begin()
    buffer = story.history.buffer()
    found = {story.update(site): Inspection(None, 1, 1) for site in (1, 2)}
    state = buffer.judge(found)
    assert state.plan is not None
    story.update(3)
    assert buffer.judge(found) == state


def test_a_claim_that_comes_meanwhile_is_the_end_of_the_buffer(begin: Make) -> None:
    """What comes after a version's record belongs to the next buffer, whatever the version consumed."""
    story = begin()
    buffer = story.history.buffer()
    found = {story.update(1): Inspection(None, 1, 1)}
    assert buffer.judge(found).plan is None
    story.claim(Seq(story.records[-1].seq), story.content(), story.manifests[0])
    found[story.update(2)] = Inspection(None, 1, 1)
    state = buffer.judge(found)
    assert (len(state.admitted), state.to_inspect, state.plan) == (1, (), None)
    assert state == story.history.open_buffer().judge(found)


def test_updates_on_a_base_to_come_are_not_to_be_inspected_whenever_one_looks(begin: Make) -> None:
    story = begin()
    kept = story.history.buffer()
    story.update(1, base=1)
    first, second = story.update(1), story.update(2)
    assert [record.seq for record in kept.judge({}).to_inspect] == [first, second]
    plan = story.plan()
    story.claim(plan.through, story.content(), story.manifests[0])  # version 1 exists now, and is not applied yet
    assert story.history.open_buffer().judge({}) == kept.judge({})
    assert [record.seq for record in kept.judge({}).to_inspect] == [first, second]


def test_there_is_no_buffer_before_genesis(begin: Make) -> None:
    history = History(begin().history.federation)
    with pytest.raises(FedchainError, match="genesis is not published yet"):
        history.buffer()


# Room


def test_a_site_has_room_for_its_quota(begin: Make, policy: Make, sites: list[Any]) -> None:
    story = begin(policy(size=9, per_site=3, max_staleness=0))
    history, site = story.history, sites[0]
    assert history.room(site, []) == 3
    seq = story.update(1)
    story.update(2)
    assert history.room(site, []) == 2  # a journal was lost: the ledger's count
    assert history.room(site, [(Version(0), seq)]) == 2
    assert history.room(site, [(Version(0), seq), (Version(0), None)]) == 1
    assert (
        history.room(site, [(Version(0), seq), (Version(0), seq), (Version(0), None)]) == 0
    )  # one record, two trained


def test_what_is_too_stale_or_consumed_takes_no_room(begin: Make, policy: Make, sites: list[Any]) -> None:
    story = begin(policy(size=2, per_site=2, max_staleness=0))
    history, site = story.history, sites[0]
    consumed = story.update(1)
    story.update(2)
    assert history.room(site, [(Version(0), consumed)]) == 1
    assert story.publish() == []
    assert history.room(site, [(Version(0), consumed)]) == 2
    assert history.room(site, [(Version(0), consumed), (Version(0), None)]) == 2  # too stale to be admitted
    stale = story.update(1, base=0)
    assert history.room(site, [(Version(0), stale)]) == 2
    assert history.room(site, [(Version(0), stale), (Version(1), None)]) == 1


def test_room_is_that_of_the_newest_version_even_before_it_is_applied(
    begin: Make, policy: Make, sites: list[Any]
) -> None:
    story = begin(policy(size=2, per_site=2))
    consumed = story.update(1)
    story.update(2)
    plan, model = story.plan(), story.content()
    story.claim(plan.through, model, story.manifests[0])
    assert any(record.seq == consumed for record in story.history.tail)
    assert story.history.room(sites[0], []) == 2
