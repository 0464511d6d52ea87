"""Replay: compute a version that another published once more, and say where it departs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fedchain.core.errors import Unavailable
from fedchain.core.formats.layout import Layout
from fedchain.core.ledger.records import Record, Seq
from fedchain.core.ports import BlobWriter, Offload, Store
from fedchain.core.rules.history import History, Published
from fedchain.core.rules.judged import Decision, Inspection
from fedchain.core.rules.manifest import Discrepancy, Manifest, differences
from fedchain.core.rules.policy import Policy
from fedchain.replica.inspector import Inspector, decide
from fedchain.replica.recompute import recompute


async def replay(
    version: Published,
    manifest: Manifest,
    history: History,
    *,
    layout: Layout,
    store: Store,
    scratch: Callable[[], BlobWriter],
    threads: int = 1,
    offload: Offload = asyncio.to_thread,
) -> list[Discrepancy]:
    """Recompute a version that `history` has not applied yet and say where it departs from ledger and content.

    Contents are inspected anew. What the manifest calls unavailable is taken from it, as the content may have come
    since; so is a malformed one that is gone. The merge is written to `scratch` writers, which may just hash.
    Raises Unavailable when any other content is gone.
    """
    if version.version == 0:
        return []
    stated = _Stated(manifest, Inspector(history, layout, store, offload))
    state = await decide(history.open_buffer(), stated.inspect, {}, Seq(version.consumed), offload)
    if state.plan is None:
        return differences(manifest, f"the buffer is open: {len(state.admitted)} of {state.size} admitted")
    made = await recompute(state.plan, layout, store, scratch, threads=threads, offload=offload)
    departures = differences(manifest, made.manifest(history.federation))
    if not departures and version.claim.model != made.merged.model:
        departures.append(Discrepancy("published model", str(version.claim.model), str(made.merged.model)))
    return departures


class _Stated:
    """Inspects contents beside what a manifest states of them."""

    def __init__(self, manifest: Manifest, inspector: Inspector) -> None:
        self._version = manifest.version
        self._stated = manifest.inspections
        self._inspector = inspector

    async def inspect(self, record: Record, policy: Policy) -> Inspection:
        stated = self._stated.get(record.seq)
        if stated is not None and stated.failure is Decision.UNAVAILABLE:
            return stated
        found = await self._inspector.inspect(record, policy)
        if stated is None or found.failure is not Decision.UNAVAILABLE:
            return found
        if stated.failure is None:
            raise Unavailable(f"the update of record {record.seq} is gone: version {self._version} needs it")
        return stated
