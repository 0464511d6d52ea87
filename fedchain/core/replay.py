"""Replay: what a doubter does with a published version before believing it."""

from __future__ import annotations

from collections.abc import Callable

from fedchain.core.admission import Decision, Inspection
from fedchain.core.errors import Unavailable
from fedchain.core.history import History, Published
from fedchain.core.layout import Layout
from fedchain.core.manifest import Discrepancy, Manifest, differences, manifest_of
from fedchain.core.ports import BlobWriter, Store
from fedchain.core.recompute import inspect_record, recompute
from fedchain.core.records import Seq


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
    outlook = history.outlook(inspections)
    while outlook.wanted:
        record = outlook.wanted[0]
        norm = outlook.policy.admission.max_norm is not None
        claimed = stated.get(record.seq)
        if claimed is not None and claimed.failure is Decision.UNAVAILABLE:
            found = claimed
        else:
            found = await inspect_record(record, history, layout, store, norm=norm)
        if claimed is not None and found.failure is Decision.UNAVAILABLE:
            if claimed.failure is None:
                raise Unavailable(f"the update of record {record.seq} is gone: version {version.version} needs it")
            found = claimed
        inspections[record.seq] = found
        outlook = history.outlook(inspections)
    if outlook.plan is None:
        return differences(manifest, f"the buffer is open: {len(outlook.admitted)} of {outlook.size} admitted")
    result = await recompute(outlook.plan, layout, store, scratch(), threads=threads)
    departures = differences(manifest, manifest_of(history.federation, outlook.plan, result))
    if not departures and version.claim.model != result:
        departures.append(Discrepancy("published model", str(version.claim.model), str(result)))
    return departures
