"""The safetensors header, in one canonical form.

    8 bytes   length of the JSON that follows, little-endian
    JSON      RFC 8785, {"__metadata__": {…}, name: {"data_offsets", "dtype", "shape"}, …}, padded with
              spaces so that the data begins at a multiple of 8
    data      the tensors, contiguous, in the order in which they were given

Any safetensors reader opens these files. We write the header ourselves because a file here is made chunk by
chunk and must be the same bytes everywhere; the `safetensors` package writes whole dictionaries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import rfc8785
from pydantic_core import from_json

from fedchain.core.errors import FormatError
from fedchain.core.ports import BlobReader

ITEM_SIZE: Final = {
    "BOOL": 1, "U8": 1, "I8": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip
"""Bytes per element of the dtypes that safetensors knows and a model may hold."""

MAX_HEADER: Final = 100_000_000
"""Longest header in bytes: the limit of the safetensors reference implementation."""

METADATA: Final = "__metadata__"

_UNREADABLE: Final = (ValueError, TypeError, KeyError, AttributeError, rfc8785.CanonicalizationError)
"""What reading JSON as if it were a header can raise."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a file: name, dtype as safetensors encodes it, shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """Number of elements; 1 for a scalar."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of data."""
        return self.elements * ITEM_SIZE[self.dtype]


def encode_header(tensors: Sequence[Tensor], metadata: Mapping[str, str]) -> bytes:
    """Encode the header of a file that holds `tensors` one after the other; raises FormatError."""
    if any(tensor.name == METADATA for tensor in tensors):
        raise FormatError(f"no tensor can be called {METADATA}: safetensors keeps that name for itself")
    document: dict[str, Any] = {METADATA: dict(metadata)}
    offset = 0
    for tensor in tensors:
        if tensor.name in document:
            raise FormatError(f"two tensors of one file are called {tensor.name}")
        end = offset + tensor.nbytes
        document[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = rfc8785.dumps(document)
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def read_header(buffer: BlobReader) -> bytes:
    """Read the bytes of a file's header, length field included; raises FormatError."""
    if buffer.size < 8:
        raise FormatError(f"{buffer.size} bytes are not a safetensors file: a header needs at least 8")
    length = int.from_bytes(buffer.read(0, 8), "little")
    if length > min(MAX_HEADER, buffer.size - 8):
        raise FormatError(
            f"a safetensors header of {length} bytes does not fit: the file has {buffer.size} bytes "
            f"and a header at most {MAX_HEADER}"
        )
    return buffer.read(0, 8 + length)


def decode_header(header: bytes) -> tuple[tuple[Tensor, ...], dict[str, str]]:
    """Read tensors, in the order of their data, and metadata; raises FormatError.

    Accepts only what `encode_header` writes: whatever else a header might say is refused, not interpreted.
    """
    try:
        document = from_json(header[8:])  # unlike json, it refuses deep nesting by itself
        metadata = {key: _text(value) for key, value in document.pop(METADATA, {}).items()}
        entries = sorted(document.items(), key=lambda entry: (entry[1]["data_offsets"], entry[0]))
        tensors = tuple(Tensor(name, entry["dtype"], _shape(entry["shape"])) for name, entry in entries)
        canonical = encode_header(tensors, metadata)
    except _UNREADABLE as error:
        raise FormatError(f"the safetensors header cannot be read: {error!r}") from error
    if canonical != header:
        raise FormatError(
            "the safetensors header is not in canonical form: "
            "write it with fedchain (RFC 8785 JSON, contiguous offsets, padded to 8 bytes)"
        )
    return tensors, metadata


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"metadata {value!r:.80} is not text")
    return value


def _shape(value: Sequence[object]) -> tuple[int, ...]:
    sizes = tuple(size for size in value if type(size) is int and size >= 0)
    if len(sizes) != len(value):
        raise ValueError(f"{value!r:.80} is not a shape")
    return sizes
