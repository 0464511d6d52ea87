"""Unsigned LEB128 integers, as in protobuf, CIDs and CAR files (multiformats unsigned-varint)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fedchain.core.errors import FormatError

_MOST_BYTES: Final = 9
"""The multiformats specification's limit: 63 bits."""


def encode(value: int) -> bytes:
    """Encode a number in groups of 7 bits, lowest first; the top bit says that another group follows."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read(read: Callable[[int], bytes]) -> int | None:
    """Read a number from a stream; None where it ends before the first byte.

    Raises FormatError where the number is cut off, longer than 9 bytes or not in its shortest form.
    """
    value = 0
    for index in range(_MOST_BYTES):
        byte = read(1)
        if not byte:
            if index == 0:
                return None
            raise FormatError("a varint is cut off: the file ends inside it")
        value |= (byte[0] & 0x7F) << (7 * index)
        if byte[0] < 0x80:
            if byte[0] == 0 and index > 0:
                raise FormatError(f"a varint is not in its shortest form: {value} in {index + 1} bytes")
            return value
    raise FormatError(f"a varint is longer than {_MOST_BYTES} bytes")
