"""Recomputing a version from ledger and content: what the aggregator publishes and everybody else checks."""

from __future__ import annotations

import asyncio
from typing import Final

from fedchain.core.errors import Unavailable
from fedchain.core.formats.layout import Layout
from fedchain.core.ledger.content import Content
from fedchain.core.ledger.records import Record, Seq, UpdateSubmitted, Version
from fedchain.core.ports import BlobWriter, Store
from fedchain.core.rules.admission import Decision, Inspection
from fedchain.core.rules.history import History
from fedchain.core.rules.manifest import Manifest, entry_of
from fedchain.core.rules.plan import Plan
from fedchain.core.strategies.merge import MergeInputs, prepare
from fedchain.core.strategies.registry import COMBINERS
from fedchain.core.updates.encodings.q24 import Q24
from fedchain.core.updates.inspection import MALFORMED, UNAVAILABLE, inspect
from fedchain.core.updates.updatefile import UpdateFile, update_sizes

_ENCODINGS: Final = (Q24(),)
"""What updates may be encoded in."""


async def inspect_record(record: Record, history: History, layout: Layout, store: Store) -> Inspection:
    """Fetch a submitted update and say what it is; an update that no peer has is UNAVAILABLE."""
    update = record.payload
    assert isinstance(update, UpdateSubmitted)
    base = history.published[update.base].claim.model
    if update.content.size not in update_sizes(layout, record.actor, base, _ENCODINGS):
        return MALFORMED  # not a byte of it needs to be fetched
    try:
        buffer = await store.fetch(update.content)
    except Unavailable:
        return UNAVAILABLE
    return await asyncio.to_thread(inspect, buffer, layout, record.actor, base, _ENCODINGS)


def plan_again(manifest: Manifest, history: History) -> Plan:
    """Read the plan of a settled version back from its manifest: enough to merge the version once more."""
    assert manifest.parent is not None
    assert manifest.policy is not None
    seq, content, policy = history.policy(Seq(manifest.policy.seq))
    entries = tuple(map(entry_of, manifest.updates))
    return Plan(
        version=Version(manifest.version),
        parent=manifest.parent.content,
        policy=policy,
        policy_seq=seq,
        policy_content=content,
        first=Seq(manifest.first),
        through=Seq(manifest.through),
        entries=entries,
        divisor=manifest.divisor,
        bases={e.base: history.published[e.base].claim.model for e in entries if e.decision is Decision.MERGED},
    )


async def recompute(plan: Plan, layout: Layout, store: Store, out: BlobWriter, *, threads: int = 1) -> Content:
    """Merge a plan's updates into a new model file and return its name; raises Unavailable, Corrupt."""
    combiner = COMBINERS[plan.policy.combiner]
    parent = await store.fetch(plan.parent)
    updates = [
        UpdateFile.open(await store.fetch(entry.content), layout, entry.site, plan.bases[entry.base], _ENCODINGS)
        for entry in plan.merged
    ]
    freshest = plan.freshest
    sources = MergeInputs(
        parent=parent,
        updates=updates,
        freshest=None if freshest is None else updates[plan.merged.index(freshest)],
        base=await store.fetch(plan.bases[plan.merged[0].base]) if combiner.needs_base else None,
    )
    return await asyncio.to_thread(prepare(plan, layout, sources).run, out, threads=threads)
