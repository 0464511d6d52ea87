"""What an encoding is: the owner of the update file's geometry.

An encoding says which tensors it stores for one merged tensor, fills them from the tensor's integers q, and decodes
any run of elements back. Every update decodes to exactly one int32 vector; nothing else knows how it is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from fedchain.core.formats.document import Document
from fedchain.core.formats.tensors import Tensor
from fedchain.core.ports import BlobReader


class EncodingParameters(Document):
    """What fixes an encoding: its name, and the parameters that it has."""

    name: str


P = TypeVar("P", bound=EncodingParameters)


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored tensor, and where in the file its data begins."""

    tensor: Tensor
    offset: int

    def read_into(self, blob: BlobReader, start: int, out: NDArray[Any]) -> None:
        """Fill `out`, contiguous and of the tensor's dtype, from element `start` on; raises Corrupt."""
        blob.read_into(self.offset + start * out.itemsize, out.data.cast("B"))


@dataclass(frozen=True, slots=True)
class Encoding(Generic[P]):
    """One way to store integers."""

    parameters: type[P]
    """The document that fixes it; its `name` is the encoding's."""
    tensors: Callable[[P, Tensor], tuple[Tensor, ...]]
    """Name the tensors that are stored for one merged tensor, in file order. Sizes follow from their shapes."""
    encode: Callable[[P, NDArray[np.int32]], Iterator[NDArray[Any]]]
    """Yield the data of those tensors, in file order and in portions of any length, from all q of one merged tensor.

    q is (n,) within ±(2^31 - 1). Raises FormatError where a change is too large for the encoding.
    """
    decode: Callable[[P, BlobReader, Sequence[Stored], int, NDArray[np.int32]], None]
    """Fill `out` with the q of one merged tensor from element `start` on; `out` is contiguous and not empty.

    Raises FormatError at a stored value that has no meaning, Corrupt. Safe from several threads. It may leave a q of
    -2^31, which has no negative, to whoever inspects the update.
    """
    joins: bool = False
    """Whether the stored tensors of neighbours, one right after the other, can be decoded as if they were one."""
