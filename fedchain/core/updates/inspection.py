"""Inspection: what an update's content is, found by reading it once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedchain.core.formats.layout import ITEM, MAX_BITS, Layout
from fedchain.core.ledger.content import Content
from fedchain.core.ledger.records import Address
from fedchain.core.ports import BlobReader
from fedchain.core.rules.admission import NORM2_BITS, Decision, Inspection
from fedchain.core.updates.fixed_point import BLOCK, Q_LIMIT

MALFORMED = Inspection(Decision.MALFORMED)
UNAVAILABLE = Inspection(Decision.UNAVAILABLE)


def inspect(update: BlobReader, layout: Layout, site: Address, base: Content, *, norm: bool) -> Inspection:
    """Read an update: is it this site's change to this base, and how large is it?

    max_abs = max |q| · 2^(30-b); norm2 = Σ q² · 2^(60-2b), both exact, the latter only where `norm` asks.
    An update that is not, byte for byte of its header, what layout, site and base imply is MALFORMED, and so
    is a q of -2^31, which has no negative.
    """
    header = layout.update_header(site, base)
    if update.size != layout.update_size(site, base) or update.read(0, len(header)) != header:
        return MALFORMED
    max_abs = norm2 = 0
    q = np.empty(min(BLOCK, layout.elements), np.int32)
    for span in layout.spans:
        for start in range(span.start, span.stop, BLOCK):
            block = q[: min(BLOCK, span.stop - start)]
            update.read_into(len(header) + start * ITEM, block.data.cast("B"))
            largest = max(int(block.max()), -int(block.min()))
            if largest > Q_LIMIT:
                return MALFORMED
            max_abs = max(max_abs, largest << (MAX_BITS - span.bits))
            if norm:
                norm2 += _sum_of_squares(block) << (NORM2_BITS - 2 * span.bits)
    return Inspection(None, max_abs, norm2 if norm else None)


def _sum_of_squares(q: NDArray[np.int32]) -> int:
    """Sum q² exactly: each square fits 62 bits, so halves of 32 bits are summed apart."""
    squares = np.multiply(q, q, dtype=np.int64)
    return (int((squares >> 32).sum()) << 32) + int((squares & 0xFFFFFFFF).sum())
