"""Names of content: a sha2-256 digest with a size in bytes, and the CID that the pair names.

With the UnixFS profile unixfs-v1-2025 (IPIP-499: CIDv1, sha2-256, 1 MiB chunks, raw leaves) the codec
follows from the size - raw up to one chunk, dag-pb above - so the pair *is* the CID.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Final, NewType

from fedchain.core.errors import FormatError

Digest = NewType("Digest", bytes)
"""A sha2-256 digest, 32 bytes."""

Cid = NewType("Cid", str)
"""A CIDv1 in base32 text, as in `bafkrei…` (raw) and `bafybei…` (dag-pb)."""

CHUNK_SIZE: Final = 1 << 20
"""Bytes in one leaf of the profile (IPIP-499, unixfs-v1-2025)."""

RAW: Final = 0x55
DAG_PB: Final = 0x70
_SHA2_256: Final = b"\x12\x20"
_NO_DIGEST: Final = Digest(bytes(32))


def cid_bytes(codec: int, digest: bytes) -> bytes:
    """Encode a CIDv1 in binary: version 1, codec, sha2-256 multihash (CID specification, section CIDv1)."""
    return bytes((1, codec)) + _SHA2_256 + digest


def cid_text(codec: int, digest: bytes) -> Cid:
    """Encode a CIDv1 in text: multibase prefix `b`, RFC 4648 base32, lower case, no padding."""
    return Cid("b" + base64.b32encode(cid_bytes(codec, digest)).decode().rstrip("=").lower())


def parse_cid(text: str) -> tuple[int, Digest]:
    """Read codec and digest from a CIDv1 in base32 text; raises FormatError on any other form."""
    wanted = "a CIDv1 in base32 with sha2-256 and codec raw or dag-pb, as in bafkrei… or bafybei…"
    try:
        binary = base64.b32decode(text[1:].upper() + "=" * (-(len(text) - 1) % 8))
    except (binascii.Error, ValueError) as error:
        raise FormatError(f"{text[:80]!r} is not a CID: expected {wanted}") from error
    codec, digest = (binary[1], binary[4:]) if len(binary) == 36 else (0, b"")
    if codec not in (RAW, DAG_PB) or cid_text(codec, digest) != text:
        raise FormatError(f"{text[:80]!r} is not a CID that fedchain uses: expected {wanted}")
    return codec, Digest(digest)


@dataclass(frozen=True, slots=True)
class Content:
    """What a record says of a blob: enough to name it, find it, and refuse a byte too many."""

    digest: Digest
    """sha2-256 of the root block: the multihash inside the CID."""

    size: int
    """Length of the blob in bytes (not of the DAG)."""

    @property
    def codec(self) -> int:
        """Multicodec of the root block: raw up to one chunk, dag-pb above."""
        return RAW if self.size <= CHUNK_SIZE else DAG_PB

    @property
    def cid(self) -> Cid:
        """The CID in text."""
        return cid_text(self.codec, self.digest)

    def __str__(self) -> str:
        return f"{self.cid} ({self.size} bytes)"


def content_of(cid: str, size: int) -> Content:
    """Pair a CID with its size; raises FormatError when the codec is not the one that the size implies."""
    codec, digest = parse_cid(cid)
    content = Content(digest, size)
    if size < 0 or content.codec != codec:
        raise FormatError(f"{cid} cannot name {size} bytes: up to {CHUNK_SIZE} bytes are raw, more are dag-pb")
    return content


NOTHING: Final = Content(_NO_DIGEST, 0)
"""The pair of zeros that a record carries where it has no content."""
