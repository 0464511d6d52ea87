"""The inspector reads updates, and decides a buffer with as few of them as it needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fedchain.core.errors import Corrupt
from fedchain.core.ledger.content import Content, Digest
from fedchain.core.ledger.records import Record, Seq
from fedchain.core.ports import BlobReader
from fedchain.core.rules.judged import Decision, Inspection
from fedchain.core.rules.policy import Policy
from fedchain.core.updates.inspection import MALFORMED, UNAVAILABLE
from fedchain.replica.inspector import Inspector, decide
from fedchain.store.alone import LoneStore

Make = Callable[..., Any]


class Asked(LoneStore):
    """A store that remembers what was asked of it."""

    def __init__(self, federation: Any) -> None:
        super().__init__(federation.blobs)
        self.contents: list[Content] = []

    async def fetch(self, content: Content) -> BlobReader:
        self.contents.append(content)
        return await super().fetch(content)


class Bench:
    """A bare federation, and its inspector as a buffer asks it."""

    def __init__(self, federation: Any) -> None:
        self.federation = federation
        self.history = federation.follower.history
        self.store = Asked(federation)
        self.inspector = Inspector(self.history, federation.layout, self.store)
        self.inspected: list[Seq] = []

    async def inspect(self, record: Record, policy: Policy) -> Inspection:
        self.inspected.append(record.seq)
        return await self.inspector.inspect(record, policy)


@pytest.fixture
def bench(begin_real: Make) -> Callable[..., Bench]:
    return lambda **changes: Bench(begin_real(**changes))


async def test_an_update_is_measured(bench: Make) -> None:
    at = bench()
    seq, _ = at.federation.add(1, 0.5)
    await at.federation.follower.advance()
    record = at.federation.chain.records[seq]
    found = await at.inspect(record, at.history.policy(seq)[1])
    assert found == Inspection(None, 2**29, 3 * 2**58)  # three parameters changed by ½


async def test_what_is_not_there_or_of_no_updates_size(bench: Make) -> None:
    at = bench()
    _, real = at.federation.add(1, 0.5)
    gone = at.federation.submit_raw(1, Content(Digest(bytes(32)), real.size))
    odd = at.federation.submit_raw(1, Content(Digest(bytes(32)), real.size + 1))
    noise = at.federation.submit_raw(1, at.federation.put(bytes(real.size)))
    await at.federation.follower.advance()
    policy = at.history.policy(Seq(odd))[1]
    expected = {gone: UNAVAILABLE, odd: MALFORMED, noise: MALFORMED}
    for seq, found in expected.items():
        assert await at.inspect(at.federation.chain.records[seq], policy) == found
    asked = [at.federation.chain.records[seq].payload.content for seq in (gone, noise)]
    assert at.store.contents == asked


async def test_bytes_that_are_not_the_contents_are_nobodys_verdict(bench: Make) -> None:
    """A store that hands out wrong bytes says nothing about the site."""

    class Broken(LoneStore):
        async def fetch(self, content: Content) -> BlobReader:
            raise Corrupt(f"{content} is damaged")

    at = bench()
    seq, _ = at.federation.add(1, 0.5)
    await at.federation.follower.advance()
    inspector = Inspector(at.history, at.federation.layout, Broken(at.federation.blobs))
    with pytest.raises(Corrupt):
        await inspector.inspect(at.federation.chain.records[seq], at.history.policy(seq)[1])


async def test_what_was_found_is_not_asked_for_again(bench: Make) -> None:
    at = bench()
    first, _ = at.federation.add(1, 1.0)
    second, _ = at.federation.add(2, 1.0)
    await at.federation.follower.advance()
    found = {first: MALFORMED}
    state = await decide(at.history.open_buffer(), at.inspect, found, Seq(second))
    assert at.inspected == [second]
    assert found.keys() == {first, second}
    assert [update.seq for update in state.admitted] == [second]


async def test_up_to_the_last_record_all_at_once_and_then_one_by_one(bench: Make) -> None:
    at = bench(per_site=2)
    seqs = [at.federation.add(site, 1.0 + site)[0] for site in (1, 2, 3, 1)]
    await at.federation.follower.advance()
    state = await decide(at.history.open_buffer(), at.inspect, {}, Seq(seqs[2]))
    assert at.inspected == seqs[:3]  # the buffer closed with the second, which nobody knew before
    assert state.plan is not None
    at.inspected.clear()
    assert (await decide(at.history.open_buffer(), at.inspect, {}, Seq(0))).plan == state.plan
    assert at.inspected == seqs[:2]


async def test_nothing_is_read_for_what_the_records_decide(bench: Make) -> None:
    at = bench(per_site=1, size=3)
    first, content = at.federation.add(1, 1.0)
    over, _ = at.federation.add(1, 2.0)
    twice = at.federation.submit_raw(2, content)
    stray = at.federation.submit_raw(3, content)
    await at.federation.follower.advance()
    state = await decide(at.history.open_buffer(), at.inspect, {}, Seq(0))
    assert at.inspected == [first]
    assert state.to_inspect == ()
    last, _ = at.federation.add(2, 3.0)
    end, _ = at.federation.add(3, 3.0)
    await at.federation.follower.advance()
    state = await decide(at.history.open_buffer(), at.inspect, {}, Seq(0))
    assert state.plan is not None
    assert {update.seq: update.decision for update in state.plan.updates} == {
        first: Decision.MERGED, over: Decision.OVER_QUOTA, twice: Decision.DUPLICATE, stray: Decision.DUPLICATE,
        last: Decision.MERGED, end: Decision.MERGED,
    }  # fmt: skip
