"""JSON, CIDs and tensor files as docs/format.md says; imports nothing of fedchain."""

from __future__ import annotations

import json
from base64 import b32encode
from collections.abc import Iterable
from decimal import Decimal
from hashlib import sha256
from math import prod
from typing import Any

import numpy as np

CHUNK, LINKS = 1 << 20, 1024
DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "F16": "<f2", "BF16": "<u2",
    "U32": "<u4", "I32": "<i4", "F32": "<f4", "U64": "<u8", "I64": "<i8", "F64": "<f8",
}  # fmt: skip

Tensor = tuple[str, str, tuple[int, ...]]
"""Name, dtype, shape."""


def canonical(value: Any) -> bytes:
    """Format a JSON value as RFC 8785 does."""
    return _text(value).encode()


def parse(data: bytes) -> Any:
    """Read RFC 8785 JSON; None for anything else."""
    try:
        value = json.loads(data, parse_constant=float)
        return value if canonical(value) == data else None
    except (ValueError, OverflowError, RecursionError):
        return None


def _text(value: Any) -> str:
    match value:
        case None | bool() | str():
            return json.dumps(value, ensure_ascii=False)
        case int() if abs(value) < 2**53:
            return str(value)
        case int() | float():
            return _number(float(value))
        case list() | tuple():
            return "[" + ",".join(map(_text, value)) + "]"
    keys = sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))
    return "{" + ",".join(f"{_text(key)}:{_text(value[key])}" for key in keys) + "}"


def _number(value: float) -> str:
    """Format a float64 as ECMAScript does: the shortest digits that read back, point or exponent by their place."""
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    if not isinstance(exponent, int):
        raise ValueError("not a number of JSON")
    if not any(digits):
        return "0"
    text = "".join(map(str, digits))
    point = len(text) + exponent
    if len(text) <= point <= 21:
        text += "0" * (point - len(text))
    elif 0 < point <= 21:
        text = f"{text[:point]}.{text[point:]}"
    elif -6 < point <= 0:
        text = "0." + "0" * -point + text
    else:
        text = text[0] + ("." + text[1:] if len(text) > 1 else "") + f"e{point - 1:+d}"
    return "-" * sign + text


def cid(digest: bytes, size: int) -> str:
    """Name a blob by its root block's digest and its size."""
    codec = 0x55 if size <= CHUNK else 0x70
    return "b" + b32encode(bytes((1, codec, 0x12, 0x20)) + digest).decode().lower().rstrip("=")


def digest(data: bytes) -> bytes:
    """Return the sha2-256 of a blob's root block."""
    return root((sha256(part).digest(), len(part)) for part in _parts(data, CHUNK))


def root(leaves: Iterable[tuple[bytes, int]]) -> bytes:
    """Return the sha2-256 of the root block over leaves, each given by digest and length."""
    level = [(leaf, size, size) for leaf, size in leaves]  # digest, bytes under it, bytes with its tree
    codec = 0x55
    while len(level) > 1:
        level = [_node(codec, level[start : start + LINKS]) for start in range(0, len(level), LINKS)]
        codec = 0x70
    return level[0][0]


def _node(codec: int, below: list[tuple[bytes, int, int]]) -> tuple[bytes, int, int]:
    links = b""
    for leaf, _, total in below:
        links += _field(0x12, _field(0x0A, bytes((1, codec, 0x12, 0x20)) + leaf) + b"\x12\x00\x18" + _varint(total))
    span = sum(size for _, size, _ in below)
    sizes = b"".join(b"\x20" + _varint(size) for _, size, _ in below)
    node = links + _field(0x0A, b"\x08\x02\x18" + _varint(span) + sizes)
    return sha256(node).digest(), span, len(node) + sum(total for _, _, total in below)


def _parts(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)] or [b""]


def _field(tag: int, data: bytes) -> bytes:
    return bytes((tag,)) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    low = value & 0x7F
    return bytes((low,)) if value < 0x80 else bytes((low | 0x80,)) + _varint(value >> 7)


def length(tensor: Tensor) -> int:
    """Return the bytes of a tensor's data."""
    return prod(tensor[2]) * np.dtype(DTYPES[tensor[1]]).itemsize


def header(tensors: list[Tensor], metadata: dict[str, str]) -> bytes:
    """Write the header of a tensor file."""
    document: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, dtype, shape in tensors:
        start, end = end, end + length((name, dtype, shape))
        document[name] = {"data_offsets": [start, end], "dtype": dtype, "shape": list(shape)}
    text = canonical(document)
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def read_header(data: bytes) -> tuple[bytes, list[Tensor], dict[str, str]]:
    """Read a tensor file's header: its bytes, the tensors in the order of their data, the metadata."""
    whole = data[: 8 + int.from_bytes(data[:8], "little")]
    document = json.loads(whole[8:])
    metadata = document.pop("__metadata__")
    entries = sorted(document.items(), key=lambda entry: (entry[1]["data_offsets"], entry[0]))
    tensors = [(name, entry["dtype"], tuple(entry["shape"])) for name, entry in entries]
    if header(tensors, metadata) != whole:
        raise ValueError("the header is not in its one form")
    return whole, tensors, metadata


def arrays(data: bytes, start: int, tensors: list[Tensor]) -> dict[str, Any]:
    """Read tensors that lie one after the other from `start` on; flat."""
    found = {}
    for tensor in tensors:
        found[tensor[0]] = np.frombuffer(data, DTYPES[tensor[1]], prod(tensor[2]), start)
        start += length(tensor)
    return found
