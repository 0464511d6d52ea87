"""Results: is a published model what its parent and updates make, and if not, where does it first differ?"""

from __future__ import annotations

import asyncio

import numpy as np

from fedchain.audit.contents import Contents
from fedchain.audit.sources import first_difference
from fedchain.core.formats.layout import Layout
from fedchain.core.formats.modelfile import DTYPES
from fedchain.core.ledger.content import CHUNK_SIZE, Content
from fedchain.core.ports import BlobReader
from fedchain.core.rules.plan import Plan
from fedchain.replica.recompute import Recomputed, needed, recompute
from fedchain.store.hashing import HashingWriter


async def missing(plan: Plan, contents: Contents) -> dict[Content, str]:
    """List what a plan needs and no peer has, each with what it is."""
    return {content: what for content, what in needed(plan).items() if not await contents.check(content, what)}


async def result_of(plan: Plan, layout: Layout, contents: Contents, threads: int) -> Recomputed:
    """Make a plan's version without writing it. Raises ContentError."""
    return await recompute(plan, layout, contents, HashingWriter, threads=threads)


async def difference(plan: Plan, layout: Layout, published: Content, contents: Contents) -> dict[str, str | int]:
    """Recompute a version once more, into a file, and say where the published one first differs from it."""
    if not await contents.check(published, f"model of version {plan.version}"):
        return {}
    theirs = await contents.fetch(published)
    ours = contents.local.open((await recompute(plan, layout, contents, contents.local.create)).merged.model)
    offset = await asyncio.to_thread(_first_difference, ours, theirs)
    if offset is None:
        return {}
    return {"offset": offset} | _element(layout, offset, ours, theirs)


def _first_difference(ours: BlobReader, theirs: BlobReader) -> int | None:
    same = min(ours.size, theirs.size)
    for start in range(0, same, CHUNK_SIZE):
        size = min(CHUNK_SIZE, same - start)
        at = first_difference(ours.read(start, size), theirs.read(start, size))
        if at is not None:
            return start + at
    return None if ours.size == theirs.size else same


def _element(layout: Layout, offset: int, ours: BlobReader, theirs: BlobReader) -> dict[str, str | int]:
    """Say which tensor's which element lies at a file's offset, and its two values."""
    start = len(layout.model_header)
    for slot in layout.slots:
        tensor = slot.tensor
        if start <= offset < start + tensor.nbytes and tensor.dtype in DTYPES:
            dtype = DTYPES[tensor.dtype]
            index = (offset - start) // dtype.itemsize
            at = start + index * dtype.itemsize
            if at + dtype.itemsize > min(ours.size, theirs.size):
                return {"tensor": tensor.name, "element": index}
            values = [np.frombuffer(one.read(at, dtype.itemsize), dtype)[0] for one in (theirs, ours)]
            return {"tensor": tensor.name, "element": index, "value": str(values[0]), "expected_value": str(values[1])}
        start += tensor.nbytes
    return {}
