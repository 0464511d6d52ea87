"""int8: blocks of n integers as one byte each, with a power of two for a scale.

    q ≈ v · 2^e, -127 <= v <= 127, 0 <= e <= 24

e is the smallest one for which every v = rint(q / 2^e), ties to even, of its block is within ±127. So a change is off
by at most 2^(e-1) units, which is at most 1/127 of the largest change in its block; and one below 128 units is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fedchain.core.errors import FormatError
from fedchain.core.formats.tensors import Tensor
from fedchain.core.ports import BlobReader
from fedchain.core.updates.encodings.encoding import Encoding, EncodingParameters, Stored
from fedchain.core.updates.fixed_point import BLOCK

LARGEST: Final = 127
"""Largest |v|; -128 has no negative."""
MAX_EXPONENT: Final = 24
"""127 · 2^24 fits 31 bits; 127 · 2^25 would not."""

_HALVES: Final = (2 * LARGEST + 1) << np.arange(MAX_EXPONENT + 1, dtype=np.int64)
"""255 · 2^e: an exponent e will do for a largest magnitude m when 2m is below, for at 127.5 a tie goes to 128."""


class Int8(EncodingParameters):
    """One byte a parameter and one a block: a quarter of q24's size, within 1/127 of the block's largest change."""

    name: Literal["int8"] = "int8"
    block: Annotated[int, Field(ge=2**4, le=2**16)] = 256
    """Neighbouring elements of one tensor that share a scale (n)."""


def tensors(parameters: Int8, tensor: Tensor) -> tuple[Tensor, ...]:
    """Name the values, I8 under the tensor's name and shape, and the exponents, U8; the last block may be short."""
    blocks = -(-tensor.elements // parameters.block)
    return Tensor(tensor.name, "I8", tensor.shape), Tensor(f"{tensor.name}:exponents", "U8", (blocks,))


def encode(parameters: Int8, q: NDArray[np.int32]) -> Iterator[NDArray[Any]]:
    """Yield v, (n,) int8 in portions, and then e, one uint8 per block; raises FormatError for |q| >= 127.5 · 2^24."""
    n = parameters.block
    step = n * max(1, BLOCK // n)  # whole blocks, so that the work stays in a core's cache
    exponents = np.empty(-(-q.size // n), np.uint8)
    for start in range(0, q.size, step):
        portion = q[start : start + step]
        e = _exponents(portion, n)
        exponents[start // n : start // n + e.size] = e
        scales = np.repeat(np.ldexp(1.0, e), n)[: portion.size]
        yield np.rint(portion / scales).astype(np.int8)  # exact: a 32-bit integer over 2^e is a float64
    yield exponents


def decode(parameters: Int8, blob: BlobReader, stored: Sequence[Stored], start: int, out: NDArray[np.int32]) -> None:
    """Fill `out` with v · 2^e from element `start` on; raises FormatError for v = -128 and e > 24, Corrupt."""
    n = parameters.block
    values, exponents = stored
    v = np.empty(out.size, np.int8)
    values.read_into(blob, start, v)
    first = start // n
    e = np.empty(-(-(start + out.size) // n) - first, np.uint8)
    exponents.read_into(blob, first, e)
    if v.min() < -LARGEST or e.max() > MAX_EXPONENT:
        raise FormatError(
            f"int8 stores {v.min()} and an exponent of {e.max()} around element {start} of "
            f"{values.tensor.name}: values end at ±{LARGEST}, exponents at {MAX_EXPONENT}"
        )
    np.copyto(out, v)
    scales = np.left_shift(1, e, dtype=np.int32)
    head = min(-start % n, out.size)  # what is left of a block that began before the run
    tail = head + (out.size - head) // n * n
    out[:head] *= scales[0]
    whole = out[head:tail].reshape(-1, n)
    whole *= scales[int(head > 0) :][: len(whole), np.newaxis]
    out[tail:] *= scales[-1]


def _exponents(q: NDArray[np.int32], n: int) -> NDArray[np.uint8]:
    """Find the smallest e of each block: 2 · max |q| < 255 · 2^e."""
    starts = np.arange(0, q.size, n)
    largest = np.maximum(
        np.maximum.reduceat(q, starts).astype(np.int64), -np.minimum.reduceat(q, starts).astype(np.int64)
    )
    e = np.searchsorted(_HALVES, 2 * largest, side="right")
    if e.max() > MAX_EXPONENT:
        raise FormatError(
            f"a change of {largest.max()} units does not fit int8, which ends below 127.5 · 2^{MAX_EXPONENT}: "
            "train with a smaller learning rate, or give the tensor fewer bits"
        )
    return e.astype(np.uint8)


ENCODING: Final = Encoding(Int8, tensors, encode, decode)
