"""State files: one vector that a strategy hands from version to version, as long as the model's merged elements."""

from __future__ import annotations

from typing import Any, Final

from numpy.typing import NDArray

from fedchain.core.errors import FormatError
from fedchain.core.formats.layout import Layout
from fedchain.core.formats.tensors import ITEM_SIZE, Tensor, encode_header
from fedchain.core.ports import BlobReader

FORMAT: Final = "fedchain/state/1"


def state_header(layout: Layout, strategy: str, name: str, dtype: str) -> bytes:
    """Encode the header of a state vector's safetensors file: one tensor of the strategy's name for it."""
    metadata = {"format": FORMAT, "layout": layout.digest, "strategy": strategy}
    return encode_header([Tensor(name, dtype, (layout.elements,))], metadata)


class StateFile:
    """An opened state vector."""

    def __init__(self, blob: BlobReader, layout: Layout, strategy: str, name: str, dtype: str) -> None:
        """Check the file's header and size; raises FormatError when it is not this vector."""
        header = state_header(layout, strategy, name, dtype)
        size = len(header) + layout.elements * ITEM_SIZE[dtype]
        if blob.size != size or blob.read(0, len(header)) != header:
            raise FormatError(f"{blob.size} bytes are not the state vector {name} of {strategy}: expected {size}")
        self._blob = blob
        self._data = len(header)
        self._item = ITEM_SIZE[dtype]

    def read_into(self, start: int, out: NDArray[Any]) -> None:
        """Read elements [start, start + len(out)); safe from several threads."""
        self._blob.read_into(self._data + start * self._item, out.data.cast("B"))


class _Zeros:
    """The state before any version left one."""

    def read_into(self, start: int, out: NDArray[Any]) -> None:
        """Fill with zeros."""
        del start
        out.fill(0)


ZEROS: Final = _Zeros()
"""A state vector of zeros."""
