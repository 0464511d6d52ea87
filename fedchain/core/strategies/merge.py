"""The merge: walk the model block by block, sum integers, round once, hand out the new file's bytes.

Peak memory is a chunk of output and, per thread, a few cache-sized blocks, whatever the model's size and the
number of updates. Sums are exact in int64, so chunk size, thread count and machine cannot change a bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedchain.core.formats.layout import ITEM, Layout, Span
from fedchain.core.ledger.content import Content
from fedchain.core.ports import BlobReader, BlobWriter
from fedchain.core.rules.plan import Plan
from fedchain.core.strategies.registry import COMBINERS
from fedchain.core.strategies.strategy import Block, Combiner, Weights
from fedchain.core.updates.fixed_point import BLOCK
from fedchain.core.updates.updatefile import UpdateFile

OUTPUT_CHUNK: Final = 8 << 20
"""Bytes of output computed before they are handed out."""


@dataclass(frozen=True, slots=True)
class MergeInputs:
    """The opened files of a merge."""

    parent: BlobReader
    updates: Sequence[UpdateFile]
    """One per merged update, in the plan's order."""
    freshest: UpdateFile | None
    """The update whose unmerged tensors are taken over; None where nothing was merged."""
    base: BlobReader | None = None
    """The base of the only update, where the combiner needs it."""


@dataclass(frozen=True, slots=True)
class Merge:
    """A merge ready to run: layout, integers, rate and files."""

    layout: Layout
    combiner: Combiner
    weights: Weights
    rate: float
    inputs: MergeInputs

    def run(self, out: BlobWriter, *, threads: int = 1, chunk: int = OUTPUT_CHUNK) -> Content:
        """Write the new version's file and return its name; on any error nothing is left."""
        try:
            out.write(self.layout.model_header)
            for values in self._merged(threads, chunk):
                out.write(values)
            for tensors in self._carried(chunk):
                out.write(tensors)
            return out.commit()
        finally:
            out.abort()

    def _merged(self, threads: int, chunk: int) -> Iterator[memoryview]:
        """Yield the merged tensors' new values, `chunk` bytes at a time.

        One chunk is hashed and written by the caller while the next one is computed.
        """
        step = max(1, min(chunk // ITEM, self.layout.elements))
        outputs = [np.empty(step, np.float32) for _ in range(2)]
        with ThreadPoolExecutor(threads, "merge") as pool:
            ready: NDArray[np.float32] | None = None
            for number, start in enumerate(range(0, self.layout.elements, step)):
                stop = min(start + step, self.layout.elements)
                output = outputs[number % 2][: stop - start]
                share = max(1, -(-(stop - start) // threads))
                parts = [
                    pool.submit(self._walk, lo, min(lo + share, stop), output[lo - start :])
                    for lo in range(start, stop, share)
                ]
                if ready is not None:
                    yield ready.data.cast("B")
                for part in parts:
                    part.result()
                ready = output
            if ready is not None:
                yield ready.data.cast("B")

    def _walk(self, start: int, stop: int, out: NDArray[np.float32]) -> None:
        """Compute elements [start, stop) into the front of `out`."""
        room = _Room(min(BLOCK, stop - start), self.combiner.needs_base)
        for span in self.layout.spans:
            for lo in range(max(start, span.start), min(stop, span.stop), BLOCK):
                hi = min(lo + BLOCK, stop, span.stop)
                out[lo - start : hi - start] = self._block(room, lo, hi, span)

    def _block(self, room: _Room, lo: int, hi: int, span: Span) -> NDArray[np.float32]:
        n = hi - lo
        total, product, q = room.total[:n], room.product[:n], room.q[:n]
        total.fill(0)
        for weight, update in zip(self.weights.each, self.inputs.updates, strict=True):
            update.read_into(lo, q)
            np.multiply(q, np.int64(weight), out=product, dtype=np.int64)
            np.add(total, product, out=total)
        _read(self.inputs.parent, len(self.layout.model_header), lo, room.x[:n])
        base = None
        if room.base is not None and self.inputs.base is not None:
            base = room.base[:n]
            _read(self.inputs.base, len(self.layout.model_header), lo, base)
        block = Block(room.x[:n], total, base, span.bits, room.scratch[:n])
        return self.combiner.combine(block, self.weights, self.rate)

    def _carried(self, chunk: int) -> Iterator[bytes]:
        """Yield the tensors that are not merged: freshest ones from their update, kept ones from the parent."""
        offset = len(self.layout.model_header) + self.layout.elements * ITEM
        fresh = self.inputs.freshest
        if fresh is not None:
            yield from fresh.freshest(chunk)
            offset += self.layout.freshest_bytes
        yield from _slices(self.inputs.parent, offset, self.inputs.parent.size, chunk)


class _Room:
    """One thread's scratch."""

    def __init__(self, n: int, needs_base: bool) -> None:
        self.total = np.empty(n, np.int64)
        self.product = np.empty(n, np.int64)
        self.q = np.empty(n, np.int32)
        self.x = np.empty(n, np.float32)
        self.base = np.empty(n, np.float32) if needs_base else None
        self.scratch = np.empty(n, np.float64)


def prepare(plan: Plan, layout: Layout, inputs: MergeInputs) -> Merge:
    """Make a merge from a plan and the files that it names."""
    weights = Weights(tuple(entry.weight for entry in plan.merged), plan.divisor)
    return Merge(layout, COMBINERS[plan.policy.combiner], weights, plan.policy.rate, inputs)


def _read(buffer: BlobReader, data: int, element: int, out: NDArray[np.float32]) -> None:
    buffer.read_into(data + element * ITEM, out.data.cast("B"))


def _slices(buffer: BlobReader, start: int, stop: int, chunk: int) -> Iterator[bytes]:
    for offset in range(start, stop, chunk):
        yield buffer.read(offset, min(chunk, stop - offset))
