"""Inspection: what an update's content is, found by reading it once, and products of updates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from fedchain.core.errors import FormatError
from fedchain.core.formats.layout import MAX_BITS, Layout
from fedchain.core.ledger.content import Content
from fedchain.core.ledger.records import Address
from fedchain.core.ports import BlobReader
from fedchain.core.rules.admission import NORM2_BITS
from fedchain.core.rules.judged import Decision, Inspection
from fedchain.core.updates.encodings.encoding import EncodingParameters
from fedchain.core.updates.fixed_point import BLOCK, Q_LIMIT
from fedchain.core.updates.updatefile import UpdateFile

MALFORMED = Inspection(Decision.MALFORMED)
UNAVAILABLE = Inspection(Decision.UNAVAILABLE)

_LEAST_RUN: Final = 1 << 12
"""Elements below which a read costs more than what it brings."""


class Vector(Protocol):
    """Integers of the layout's merged elements: an update, or a strategy's state."""

    def read_into(self, start: int, out: NDArray[np.int32]) -> None:
        """Read elements [start, start + len(out))."""


def inspect(
    update: BlobReader, layout: Layout, site: Address, base: Content, encodings: Sequence[EncodingParameters]
) -> Inspection:
    """Read an update: is it this site's change to this base in one of the encodings, and how large is it?

    max_abs = max |q| · 2^(30-b); norm2 = Σ q² · 2^(60-2b), both exact. An update that is not, byte for byte of its
    header, what layout, site, base and an encoding imply is MALFORMED; so is one with a stored value that has no
    meaning, or with a q of -2^31, which has no negative. Raises Corrupt.
    """
    try:
        return _measure(UpdateFile.open(update, layout, site, base, encodings), layout)
    except FormatError:
        return MALFORMED


def gram(updates: Sequence[Vector], layout: Layout) -> tuple[tuple[int, ...], ...]:
    """Compute the Gram matrix of vectors, G_ij = Σ q_i q_j · 2^(60-2b), exactly; symmetric, one row per vector.

    Raises FormatError, Corrupt as reading does.
    """
    count = len(updates)
    rows = [[0] * count for _ in updates]
    step = max(_LEAST_RUN, BLOCK // max(1, count))  # so that a run of every update stays in a core's cache
    q = np.empty(min(step, layout.elements), np.int32)
    wide, room = np.empty((count, q.size), np.int64), np.empty(q.size, np.int64)
    for start, stop, bits in _runs(layout, step):
        n = stop - start
        largest = []
        for update, row in zip(updates, wide, strict=True):
            update.read_into(start, q[:n])
            np.copyto(row[:n], q[:n])
            largest.append(_largest(q[:n]))
        for i in range(count):
            for j in range(i + 1):
                np.multiply(wide[i, :n], wide[j, :n], out=room[:n])
                rows[i][j] += _sum(room[:n], largest[i] * largest[j]) << (NORM2_BITS - 2 * bits)
    return tuple(tuple(rows[max(i, j)][min(i, j)] for j in range(count)) for i in range(count))


def _measure(update: UpdateFile, layout: Layout) -> Inspection:
    max_abs = norm2 = 0
    q = np.empty(min(BLOCK, layout.elements), np.int32)
    room = np.empty(q.size, np.int64)
    for start, stop, bits in _runs(layout, BLOCK):
        run, squares = q[: stop - start], room[: stop - start]
        update.read_into(start, run)
        largest = _largest(run)
        if largest > Q_LIMIT:
            return MALFORMED
        max_abs = max(max_abs, largest << (MAX_BITS - bits))
        np.copyto(squares, run)
        np.multiply(squares, squares, out=squares)
        norm2 += _sum(squares, largest * largest) << (NORM2_BITS - 2 * bits)
    return Inspection(None, max_abs, norm2)


def _runs(layout: Layout, step: int) -> Iterator[tuple[int, int, int]]:
    """Yield start, stop and fraction bits of runs of at most `step` merged elements."""
    for span in layout.spans:
        for start in range(span.start, span.stop, step):
            yield start, min(start + step, span.stop), span.bits


def _largest(q: NDArray[np.int32]) -> int:
    return max(int(q.max()), -int(q.min()))


def _sum(products: NDArray[np.int64], largest: int) -> int:
    """Sum products of two q exactly; none is larger than `largest`."""
    if largest * products.size < 2**63:
        return int(products.sum())
    return (int((products >> 32).sum()) << 32) + int((products & 0xFFFFFFFF).sum())
