"""Replay: what a doubter does with a published version before believing it."""

from __future__ import annotations

from collections.abc import Callable

from fedchain.core.errors import Unavailable
from fedchain.core.formats.layout import Layout
from fedchain.core.ledger.records import Seq
from fedchain.core.ports import BlobWriter, Store
from fedchain.core.rules.admission import Decision, Inspection
from fedchain.core.rules.history import History, Published
from fedchain.core.rules.manifest import Discrepancy, Manifest, differences, manifest_of
from fedchain.replica.recompute import inspect_record, recompute


async def replay(
    version: Published,
    manifest: Manifest,
    history: History,
    *,
    layout: Layout,
    store: Store,
    scratch: Callable[[], BlobWriter],
    threads: int = 1,
) -> list[Discrepancy]:
    """Recompute a version that `history` has not settled yet and say where it departs from ledger and content.

    Contents are inspected anew. What the manifest calls unavailable is taken from it, as the content may have come
    since; so is a malformed one that is gone. The merge is written to a `scratch` writer, which may just hash.
    Raises Unavailable when any other content is gone.
    """
    if version.version == 0:
        return []
    stated = manifest.inspections
    inspections: dict[Seq, Inspection] = {}
    state = history.buffer_state(inspections)
    while state.to_inspect:
        record = state.to_inspect[0]
        claimed = stated.get(record.seq)
        if claimed is not None and claimed.failure is Decision.UNAVAILABLE:
            found = claimed
        else:
            found = await inspect_record(record, history, layout, store)
        if claimed is not None and found.failure is Decision.UNAVAILABLE:
            if claimed.failure is None:
                raise Unavailable(f"the update of record {record.seq} is gone: version {version.version} needs it")
            found = claimed
        inspections[record.seq] = found
        state = history.buffer_state(inspections)
    if state.plan is None:
        return differences(manifest, f"the buffer is open: {len(state.admitted)} of {state.size} admitted")
    result = await recompute(state.plan, layout, store, scratch(), threads=threads)
    departures = differences(manifest, manifest_of(history.federation, state.plan, result))
    if not departures and version.claim.model != result:
        departures.append(Discrepancy("published model", str(version.claim.model), str(result)))
    return departures
