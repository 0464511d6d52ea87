"""Following and replaying a federation whose contents are real, on a ledger in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fedchain.core.errors import FormatError, Unavailable
from fedchain.core.formats.modelfile import read_model
from fedchain.core.ledger.content import Content, Digest
from fedchain.core.ledger.records import ModelPublished, Seq, Version
from fedchain.core.rules.judged import Decision
from fedchain.core.rules.manifest import manifest_of
from fedchain.core.strategies.merge import Merged
from fedchain.core.updates.inspection import MALFORMED
from fedchain.replica.inspector import decide
from fedchain.replica.recompute import plan_again
from fedchain.simulation.world import AGGREGATOR

Make = Callable[..., Any]


async def test_an_honest_federation_is_replayed_bit_for_bit(begin_real: Make) -> None:
    federation = begin_real()
    for version in range(3):
        federation.add(1, 1.0, version)
        federation.add(2, 2.0 + version, max(0, version - 1))
        await federation.publish()
    assert await federation.faults() == []
    model = read_model(federation.layout, federation.blobs.open(federation.model(1)))
    assert model["w"].tolist() == [1.5, 2.5, 3.5]
    assert model["n"] == 1


async def test_versions_are_made_again_from_their_manifests(begin_real: Make) -> None:
    federation = begin_real()
    federation.add(1, 1.0)
    federation.add(2, 2.0)
    plan = await federation.plan()
    await federation.publish()
    await federation.follower.advance()
    again = plan_again(federation.follower.manifests[1], federation.follower.manifests[0], federation.follower.history)
    assert again == plan
    assert (await federation.make(again))[0] == federation.model(1)


async def test_a_wrong_result(begin_real: Make) -> None:
    federation = begin_real()
    federation.add(1, 1.0)
    federation.add(2, 2.0)
    plan = await federation.plan()
    wrong = federation.model(0)
    federation.publish_as(plan.through, wrong, manifest_of(federation.chain.federation, plan, Merged(wrong)))
    right = (await federation.make(plan))[1].result.canonical().decode()
    assert await federation.faults() == [("result", f'{{"cid":"{wrong.cid}","size":{wrong.size}}}', right)]


async def test_another_model_than_the_manifest_truly_states(begin_real: Make) -> None:
    federation = begin_real()
    federation.add(1, 1.0)
    federation.add(2, 2.0)
    plan = await federation.plan()
    right, manifest = await federation.make(plan)
    wrong = federation.model(0)
    federation.publish_as(plan.through, wrong, manifest)
    assert ("published model", str(wrong), str(right)) in await federation.faults()


async def test_a_rejection_without_ground(begin_real: Make) -> None:
    federation = begin_real()
    seq, _ = federation.add(1, 1.0)
    federation.add(2, 2.0)
    federation.add(3, 3.0)
    honest = federation.follower
    await honest.advance()
    inspect = federation.inspector().inspect
    state = await decide(honest.history.open_buffer(), inspect, {seq: MALFORMED}, Seq(honest.history.length))
    assert state.plan is not None
    federation.publish_as(state.plan.through, *await federation.make(state.plan))
    departures = await federation.faults()
    assert (f"updates[seq {seq}].decision", "malformed", "merged") in departures
    assert ("through", str(state.plan.through), str(state.plan.through - 1)) in departures


async def test_a_malformed_update_is_rejected_by_everyone(begin_real: Make) -> None:
    federation = begin_real()
    bad = federation.submit_raw(3, federation.put(b"no update"))
    federation.add(1, 1.0)
    federation.add(2, 2.0)
    plan = await federation.plan()
    assert plan.updates[0].seq == bad
    assert plan.updates[0].decision is Decision.MALFORMED
    await federation.publish()
    assert await federation.faults() == []


async def test_another_sites_update_is_malformed(begin_real: Make) -> None:
    federation = begin_real()
    _, content = federation.add(1, 1.0)
    stolen = federation.submit_raw(2, content)
    federation.add(3, 2.0)
    decisions = {entry.seq: entry.decision for entry in (await federation.plan()).updates}
    assert decisions[stolen] is Decision.DUPLICATE
    fresh = begin_real()
    fresh.put(federation.blobs.open(content).read(0, content.size))
    stolen = fresh.submit_raw(2, content)
    fresh.add(1, 1.5)
    fresh.add(3, 2.0)
    assert {entry.seq: entry.decision for entry in (await fresh.plan()).updates}[stolen] is Decision.MALFORMED


async def test_what_was_unavailable_may_come_later(begin_real: Make) -> None:
    federation = begin_real()
    seq, content = federation.add(1, 1.0)
    data = federation.blobs.open(content).read(0, content.size)
    federation.network.lose(content)
    federation.add(2, 2.0)
    federation.add(3, 3.0)
    plan = await federation.plan()
    assert plan.updates[0].seq == seq
    assert plan.updates[0].decision is Decision.UNAVAILABLE
    await federation.publish()
    assert await federation.faults() == []
    federation.put(data)
    assert await federation.faults() == []


async def test_nobody_is_accused_of_what_cannot_be_read_any_more(begin_real: Make) -> None:
    federation = begin_real()
    seq, content = federation.add(1, 1.0)
    federation.add(2, 2.0)
    await federation.publish()
    federation.network.lose(content)
    with pytest.raises(Unavailable, match=f"the update of record {seq} is gone: version 1 needs it"):
        await federation.faults()


async def test_a_malformed_update_that_its_site_took_away_stops_nobody(begin_real: Make) -> None:
    federation = begin_real()
    _, good = federation.add(1, 1.0)
    bad = federation.put(bytes(good.size))
    federation.submit_raw(2, bad)
    federation.add(3, 2.0)
    await federation.publish()
    federation.network.lose(bad)
    assert await federation.faults() == []


async def test_bounds_on_norms_are_replayed(begin_real: Make) -> None:
    federation = begin_real(max_norm=2.0)
    over, _ = federation.add(1, 1.5)
    federation.add(2, 1.0)
    federation.add(3, 0.5)
    plan = await federation.plan()
    assert [entry.decision for entry in plan.updates] == [Decision.NORM_BOUND, Decision.MERGED, Decision.MERGED]
    assert plan.updates[0].seq == over
    await federation.publish()
    assert await federation.faults() == []


async def test_a_size_that_no_update_has_is_not_fetched(begin_real: Make) -> None:
    federation = begin_real()
    federation.submit_raw(1, Content(Digest(bytes(32)), 2**60))  # fetching it would say UNAVAILABLE
    federation.add(2, 1.0)
    federation.add(3, 1.0)
    assert (await federation.plan()).updates[0].decision is Decision.MALFORMED


# Following


async def test_a_follower_takes_nothing_in_twice(begin_real: Make) -> None:
    federation = begin_real()
    federation.add(1, 1.0)
    federation.add(2, 2.0)
    await federation.publish()
    manifest = federation.chain.records[-1].payload.manifest
    data = federation.blobs.open(manifest).read(0, manifest.size)
    federation.network.lose(manifest)
    follower = federation.new_follower()
    for _ in range(2):
        with pytest.raises(Unavailable):
            await follower.advance()
        assert follower.history.applied == 1
    federation.put(data)
    await follower.advance()
    assert follower.history.applied == 2
    assert follower.faults == []
    assert follower.history.head == await federation.chain.ledger().head()


async def test_bytes_that_are_no_manifest_are_a_fault_and_following_goes_on(begin_real: Make) -> None:
    federation = begin_real()
    federation.add(1, 1.0)
    federation.add(2, 2.0)
    plan = await federation.plan()
    model, _ = await federation.make(plan)
    head = federation.chain.heads[plan.through + 1]
    claim = ModelPublished(Version(1), plan.through, head, model, federation.put(b"{}"))
    federation.chain.append(AGGREGATOR, claim)
    assert [where for where, _, _ in await federation.faults()] == ["manifest"]


async def test_a_document_too_large_to_be_one_is_not_read(begin_real: Make) -> None:
    federation = begin_real()
    huge = Content(Digest(bytes(32)), 2**40)
    follower = federation.new_follower()
    await follower.advance()
    with pytest.raises(FormatError, match="too large for a document"):
        await follower.document(huge)


async def test_a_fault_names_version_and_publisher(begin_real: Make) -> None:
    federation = begin_real()
    federation.add(1, 1.0)
    federation.add(2, 2.0)
    plan = await federation.plan()
    model, manifest = await federation.make(plan)
    federation.publish_as(plan.through, model, manifest.model_copy(update={"divisors": (5,)}))
    follower = federation.new_follower()
    await follower.advance()
    (fault,) = follower.faults
    assert str(fault) == f"version 1 by {AGGREGATOR}: divisors: the manifest states (5,), the ledger implies (131072,)"
    assert replace(fault, discrepancies=()).version.version == 1
