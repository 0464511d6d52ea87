"""CAR v1: blocks one after another in one file (IPLD specification, Content Addressable aRchives v1).

    file    = section(header) section*          section(x) = varint(length of x), x
    header  = dag-cbor { "roots": [CID], "version": 1 }
    section = CID, block

One header shape is written and read: one root. A header has then one form only, so it is compared, not
parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from fedchain.core.errors import Corrupt, FormatError
from fedchain.core.ledger.content import DAG_PB, RAW, Digest, cid_bytes, cid_text
from fedchain.store import varint

MOST_BLOCK: Final = 2 << 20
"""Bytes that a block may have: what IPFS implementations exchange (2 MiB)."""

_CID_LENGTH: Final = 36
_HEADER_LENGTH: Final = 58
_ROOT_AT: Final = 13


@dataclass(frozen=True, slots=True)
class Section:
    """One block of a CAR file; its bytes hash to its digest."""

    codec: int
    digest: Digest
    data: bytes


def header(codec: int, digest: Digest) -> bytes:
    """Write the header with one root.

    dag-cbor: map of 2 (a2), "roots": list of 1 (81), tag 42 (d82a) on bytes of 37 (5825): 0 and the CID;
    "version": 1. Source: IPLD specification, DAG-CBOR, section Links.
    """
    body = b"\xa2\x65roots\x81\xd8\x2a\x58\x25\x00" + cid_bytes(codec, digest) + b"\x67version\x01"
    return varint.encode(len(body)) + body


def prefix(codec: int, digest: Digest, length: int) -> bytes:
    """Write what stands before a block of `length` bytes: the section's length and the CID."""
    return varint.encode(_CID_LENGTH + length) + cid_bytes(codec, digest)


def read(read: Callable[[int], bytes], most: int = MOST_BLOCK) -> tuple[int, Digest, Iterator[Section]]:
    """Read a CAR file from a stream: codec and digest of its root, and its blocks as they come.

    `read(n)` returns n bytes, or fewer at the end. No more than one block of at most `most` bytes is held.
    Raises FormatError on anything but a CAR v1 with one root and the CIDs that fedchain uses, here or while
    the blocks are read; Corrupt where a block does not hash to its CID.
    """
    length = varint.read(read)
    head = read(_HEADER_LENGTH) if length == _HEADER_LENGTH else b""
    found = _parse_cid(head[_ROOT_AT : _ROOT_AT + _CID_LENGTH])
    if found is None or header(*found)[1:] != head:
        raise FormatError(f"not a CAR v1 with one root: its header has {length} bytes, beginning {head[:16]!r}")
    return *found, _sections(read, most)


def _sections(read: Callable[[int], bytes], most: int) -> Iterator[Section]:
    while (length := varint.read(read)) is not None:
        if not _CID_LENGTH <= length <= _CID_LENGTH + most:
            raise FormatError(f"a CAR section of {length} bytes: from {_CID_LENGTH} to {_CID_LENGTH + most} fit")
        section = read(length)
        if len(section) != length:
            raise FormatError(f"a CAR section is cut off: {len(section)} of {length} bytes are there")
        cid = _parse_cid(section[:_CID_LENGTH])
        if cid is None:
            raise FormatError(f"a CAR section begins {section[:_CID_LENGTH].hex()}: no CID that fedchain uses")
        codec, digest = cid
        data = section[_CID_LENGTH:]
        actual = sha256(data).digest()
        if actual != digest:
            raise Corrupt(f"the CAR's block {cid_text(codec, digest)} has sha2-256 {actual.hex()}")
        yield Section(codec, digest, data)


def _parse_cid(binary: bytes) -> tuple[int, Digest] | None:
    codec, digest = (binary[1], Digest(binary[4:])) if len(binary) == _CID_LENGTH else (0, Digest(b""))
    return (codec, digest) if codec in (RAW, DAG_PB) and binary == cid_bytes(codec, digest) else None
