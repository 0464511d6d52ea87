"""q24: the integers as they are, I32 under the merged tensor's name and shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from fedchain.core.formats.tensors import Tensor
from fedchain.core.ports import BlobReader
from fedchain.core.updates.encodings.encoding import Encoding, EncodingParameters, Stored


class Q24(EncodingParameters):
    """Every change as a 32-bit integer: exact to the fixed point's step, 4 bytes a parameter."""

    name: Literal["q24"] = "q24"


def tensors(parameters: Q24, tensor: Tensor) -> tuple[Tensor, ...]:
    """Name the one stored tensor."""
    del parameters
    return (Tensor(tensor.name, "I32", tensor.shape),)


def encode(parameters: Q24, q: NDArray[np.int32]) -> Iterator[NDArray[np.int32]]:
    """Yield q."""
    del parameters
    yield q


def decode(parameters: Q24, blob: BlobReader, stored: Sequence[Stored], start: int, out: NDArray[np.int32]) -> None:
    """Read q into `out`, and nowhere else: a copy less than anything that decodes."""
    del parameters
    stored[0].read_into(blob, start, out)


ENCODING: Final = Encoding(Q24, tensors, encode, decode, joins=True)
