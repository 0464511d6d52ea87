"""The merge: walk the model block by block, give each block to the strategy, hand out the new files' bytes.

Peak memory is a chunk of output and, for each part computed at once, a few cache-sized blocks (K of them for a
strategy that takes updates), whatever the model's size. Sums are exact in int64, so the chunk's size, the number of
parts and the machine cannot change a bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedchain.core.errors import PlanError
from fedchain.core.formats.layout import ITEM, Layout, Span
from fedchain.core.formats.modelfile import DTYPES
from fedchain.core.ledger.content import Content
from fedchain.core.ports import BlobReader, BlobWriter
from fedchain.core.strategies.statefile import StateFile, state_header
from fedchain.core.strategies.strategy import Block, Parameters, Strategy, Takes, Weights
from fedchain.core.updates.fixed_point import BLOCK
from fedchain.core.updates.updatefile import UpdateFile

OUTPUT_CHUNK: Final = 8 << 20
"""Bytes of output computed before they are handed out."""

TINY: Final = 2.0**-126
"""The smallest normal float32: what is smaller is written +0, as machines differ in how they treat it."""

Start = Callable[[Sequence[Callable[[], None]]], Callable[[], None]]
"""Starts some work and returns what waits for its end."""

Outputs = dict[str, NDArray[Any]]
"""A chunk of each output file by name; the model's is ""."""


def at_once(parts: Sequence[Callable[[], None]]) -> Callable[[], None]:
    """Do the work here and now."""
    for part in parts:
        part()
    return lambda: None


@dataclass(frozen=True, slots=True)
class MergeInputs:
    """The opened files of a merge."""

    parent: BlobReader
    updates: Sequence[UpdateFile]
    """One per merged update, in the plan's order."""
    freshest: UpdateFile | None
    """The update whose unmerged tensors are taken over; None where nothing was merged."""
    bases: Sequence[BlobReader] = ()
    """What each update changed, for a strategy that needs bases."""
    state: Mapping[str, StateFile] = field(default_factory=dict)
    """The state that the parent left, by name; what is missing is zeros."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge made."""

    model: Content
    state: Mapping[str, Content] = field(default_factory=dict)
    """One blob for each of the strategy's state vectors, by name."""


@dataclass(frozen=True, slots=True)
class Merge:
    """A merge ready to run."""

    layout: Layout
    strategy: Strategy[Any]
    parameters: Parameters
    weights: Weights
    inputs: MergeInputs

    def run(
        self,
        create: Callable[[], BlobWriter],
        *,
        parts: int = 1,
        start: Start = at_once,
        chunk: int = OUTPUT_CHUNK,
    ) -> Merged:
        """Write the new version's files and return their names; on any error nothing is left.

        Each chunk is computed in so many parts, which `start` may run at the same time, while the one before is
        hashed and written. Raises PlanError where the weights are not for these updates.
        """
        for row in self.weights.rows:
            if len(row) != len(self.inputs.updates):
                raise PlanError(f"weights for {len(row)} updates, but {len(self.inputs.updates)} are given")
        writers = {name: create() for name in ("", *self.strategy.state)}
        try:
            writers[""].write(self.layout.model_header)
            for name, dtype in self.strategy.state.items():
                writers[name].write(state_header(self.layout, self.strategy.name, name, dtype))
            for outputs in self._chunks(parts, start, chunk):
                for name, values in outputs.items():
                    writers[name].write(values.data.cast("B"))
            for tensors in self._carried(chunk):
                writers[""].write(tensors)
            named = {name: writer.commit() for name, writer in writers.items()}
            return Merged(named.pop(""), named)
        finally:
            for writer in writers.values():
                writer.abort()

    def _chunks(self, parts: int, start: Start, chunk: int) -> Iterator[Outputs]:
        """Yield the merged tensors' new values and the new state, `chunk` bytes of the model at a time."""
        step = max(1, min(chunk // ITEM, self.layout.elements))
        rooms = [self._outputs(step), self._outputs(step)]
        ready: Outputs | None = None
        for number, first in enumerate(range(0, self.layout.elements, step)):
            last = min(first + step, self.layout.elements)
            outputs = {name: values[: last - first] for name, values in rooms[number % 2].items()}
            share = max(1, -(-(last - first) // parts))
            wait = start(
                [
                    partial(self._walk, lo, min(lo + share, last), _from(outputs, lo - first))
                    for lo in range(first, last, share)
                ]
            )
            if ready is not None:
                yield ready
            wait()
            ready = outputs
        if ready is not None:
            yield ready

    def _outputs(self, size: int) -> Outputs:
        state = {name: np.empty(size, DTYPES[dtype]) for name, dtype in self.strategy.state.items()}
        return {"": np.empty(size, np.float32), **state}

    def _walk(self, start: int, stop: int, out: Outputs) -> None:
        """Compute elements [start, stop) into the front of `out`."""
        room = _Room(self, min(BLOCK, stop - start))
        with np.errstate(all="ignore"):  # what is not finite keeps the parent's value
            for span in self.layout.spans:
                for lo in range(max(start, span.start), min(stop, span.stop), BLOCK):
                    hi = min(lo + BLOCK, stop, span.stop)
                    self._block(room, lo, hi, span, _from(out, lo - start))

    def _block(self, room: _Room, lo: int, hi: int, span: Span, out: Outputs) -> None:
        block = room.filled(lo, hi, span)
        x, state = self.strategy.step(block, self.weights, self.parameters)
        sizes = room.sizes[: hi - lo]
        _write(x, block.x, out[""][: hi - lo], sizes)
        for name in self.strategy.state:
            _write(state[name], block.state[name], out[name][: hi - lo], sizes)

    def _carried(self, chunk: int) -> Iterator[bytes]:
        """Yield the tensors that are not merged: freshest ones from their update, kept ones from the parent."""
        parent = self.inputs.parent
        offset = len(self.layout.model_header) + self.layout.elements * ITEM
        if self.inputs.freshest is not None:
            yield from self.inputs.freshest.freshest(chunk)
            offset += self.layout.freshest_bytes
        for at in range(offset, parent.size, chunk):
            yield parent.read(at, min(chunk, parent.size - at))


class _Room:
    """One part's scratch: what a block is read into and computed in."""

    def __init__(self, merge: Merge, n: int) -> None:
        strategy, updates = merge.strategy, len(merge.inputs.updates)
        self._merge = merge
        self._sums = np.empty((0 if strategy.takes is Takes.UPDATES else len(merge.weights.rows), n), np.int64)
        self._product = np.empty(n, np.int64)
        self._q = np.empty((updates if strategy.takes is Takes.UPDATES else 1, n), np.int32)
        self._x = np.empty(n, np.float32)
        self._bases = np.empty((updates if strategy.needs_bases else 0, n), np.float32)
        self._state = {name: np.zeros(n, DTYPES[dtype]) for name, dtype in strategy.state.items()}
        self._scratch = np.empty(n, np.float64)
        self.sizes = np.empty(n, np.float32)

    def filled(self, lo: int, hi: int, span: Span) -> Block:
        """Read elements [lo, hi) of every file and sum what is to be summed."""
        inputs, n = self._merge.inputs, hi - lo
        header = len(self._merge.layout.model_header)
        _read(inputs.parent, header, lo, self._x[:n])
        for row, base in zip(self._bases, inputs.bases, strict=False):
            _read(base, header, lo, row[:n])
        for name, file in inputs.state.items():
            file.read_into(lo, self._state[name][:n])
        if self._merge.strategy.takes is Takes.UPDATES:
            for q, update in zip(self._q, inputs.updates, strict=True):
                update.read_into(lo, q[:n])
        else:
            self._sum(lo, n)
        return Block(
            x=self._x[:n],
            sums=self._sums[:, :n],
            updates=self._q[:, :n] if self._merge.strategy.takes is Takes.UPDATES else self._q[:0, :n],
            bases=self._bases[:, :n],
            state={name: values[:n] for name, values in self._state.items()},
            bits=span.bits,
            scratch=self._scratch[:n],
        )

    def _sum(self, lo: int, n: int) -> None:
        sums, product, q = self._sums[:, :n], self._product[:n], self._q[0, :n]
        sums.fill(0)
        for index, update in enumerate(self._merge.inputs.updates):
            update.read_into(lo, q)
            for total, row in zip(sums, self._merge.weights.rows, strict=True):
                np.multiply(q, np.int64(row[index]), out=product, dtype=np.int64)
                np.add(total, product, out=total)


def _write(result: NDArray[Any], before: NDArray[Any], out: NDArray[Any], room: NDArray[np.float32]) -> None:
    """Write a result: what is not finite keeps the parent's value, what is not a normal float32 becomes +0."""
    np.copyto(out, result)
    if out.dtype == np.float32:
        sizes = np.abs(out, out=room)
        # both are written so that NaN, for which every comparison is false, takes the long way
        if not sizes.max(initial=0) < np.inf:
            np.copyto(out, before, where=~np.isfinite(out))
            np.abs(out, out=sizes)
        if not sizes.min(initial=1) >= TINY:
            out[sizes < TINY] = 0


def _from(outputs: Outputs, start: int) -> Outputs:
    return {name: values[start:] for name, values in outputs.items()}


def _read(model: BlobReader, header: int, element: int, out: NDArray[np.float32]) -> None:
    model.read_into(header + element * ITEM, out.data.cast("B"))
