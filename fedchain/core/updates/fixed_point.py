"""Fixed point: an update is q = rint(u · 2^b) as int32, u the change of a parameter."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedchain.core.errors import FormatError

Q_LIMIT: Final = 2**31 - 1
"""Largest magnitude of q: the range is symmetric, so that -q always exists."""

BLOCK: Final = 1 << 16
"""Elements worked on at once: 256 KiB of int32 stays in a core's cache beside its float64 and int64 scratch."""


def encode(new: NDArray[np.float32], base: NDArray[np.float32], bits: int) -> NDArray[np.int32]:
    """Encode a change: q = rint((new - base) · 2^bits), computed in float64, ties to even.

    `new` and `base` are float32 of one shape; the result is int32 of that shape, flat. Raises FormatError when
    a change is not finite or outside ±(2^31 - 1) · 2^-bits.
    """
    flat_new, flat_base = new.reshape(-1), base.reshape(-1)
    q = np.empty(flat_new.size, np.int32)
    scratch = np.empty(min(BLOCK, flat_new.size), np.float64)
    scale = float(2**bits)
    for start in range(0, flat_new.size, BLOCK):
        stop = min(start + BLOCK, flat_new.size)
        u = scratch[: stop - start]
        with np.errstate(invalid="ignore"):  # the difference of infinities is NaN, and refused as such
            np.subtract(flat_new[start:stop], flat_base[start:stop], out=u, dtype=np.float64)
        np.multiply(u, scale, out=u)
        np.rint(u, out=u)
        low, high = u.min(), u.max()
        # written so that NaN, for which every comparison is false, takes the error's path
        if not (low >= -Q_LIMIT and high <= Q_LIMIT):
            raise FormatError(_out_of_range(low, high, bits))
        np.copyto(q[start:stop], u, casting="unsafe")
    return q


def _out_of_range(low: float, high: float, bits: int) -> str:
    return (
        f"a change between {low * 2.0**-bits:g} and {high * 2.0**-bits:g} does not fit int32 with {bits} fraction "
        f"bits (range ±{2.0 ** (31 - bits):g}): train with a smaller learning rate, or give the tensor fewer bits"
    )
