"""Where everything stands in an update file.

    header | what the encoding stores for each merged tensor, in layout order | freshest tensors

Layout and encoding imply all of it but three words of fixed length in the header: site, base and provenance.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, chain
from typing import Final

from fedchain.core.errors import FormatError
from fedchain.core.formats.layout import Layout, Rule
from fedchain.core.formats.tensors import encode_header
from fedchain.core.ledger.content import NOTHING, Content
from fedchain.core.ledger.records import NOBODY, Address
from fedchain.core.updates.encodings.encoding import EncodingParameters, Stored
from fedchain.core.updates.encodings.registry import ENCODINGS

UPDATE_FORMAT: Final = "fedchain/update/2"

PROVENANCE_BYTES: Final = 32

_NO_PROVENANCE: Final = bytes(PROVENANCE_BYTES)
_BLANKS: Final = {"base": NOTHING.cid, "provenance": _NO_PROVENANCE.hex(), "site": NOBODY}
"""What the template has for the words that differ from update to update; each as long as any such word."""
_DIGEST: Final = re.compile(rb"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Part:
    """Merged elements [start, stop) of the layout that are decoded as one tensor."""

    start: int
    stop: int
    stored: tuple[Stored, ...]


@dataclass(frozen=True, slots=True)
class Geometry:
    """The update files of one layout in one encoding."""

    template: bytes
    """The header, with blanks for site, base and provenance."""
    parts: tuple[Part, ...]
    freshest: int
    """Where the freshest tensors begin; they end with the file."""
    size: int
    """Bytes of a file."""

    def header(self, site: Address, base: Content, provenance: bytes | None) -> bytes:
        """Encode the header of a site's update to a base: one update has one header, so a reader compares bytes.

        Site and base stand in it, so that nobody can pass another's update off as its own or an old base as new.
        """
        words = {"base": base.cid, "provenance": (provenance or _NO_PROVENANCE).hex(), "site": site}
        header = self.template
        for key, word in words.items():
            # a quotation mark inside a name or a text is escaped, so this can stand nowhere else
            header = header.replace(_member(key, _BLANKS[key]), _member(key, word))
        if len(header) != len(self.template):
            raise FormatError(f"an update's header has fixed lengths, which {words} have not")
        return header

    def provenance(self, header: bytes) -> bytes | None:
        """Read the provenance from where a header has it; None for none, and where there is no digest."""
        at = self.template.index(b'"provenance":"') + len(b'"provenance":"')
        word = header[at : at + 2 * PROVENANCE_BYTES]
        digest = bytes.fromhex(word.decode()) if _DIGEST.fullmatch(word) else _NO_PROVENANCE
        return None if digest == _NO_PROVENANCE else digest

    def part(self, element: int) -> int:
        """Return the index of the part that an element is in."""
        return bisect_right(self.parts, element, key=lambda part: part.start) - 1


@lru_cache(maxsize=8)
def geometry_of(layout: Layout, encoding: EncodingParameters) -> Geometry:
    """Work out where everything stands; raises FormatError when the encoding has no file for the layout."""
    kind = ENCODINGS[encoding.name]
    merged = [slot.tensor for slot in layout.slots if slot.rule is Rule.MERGED]
    freshest = [slot.tensor for slot in layout.slots if slot.rule is Rule.FRESHEST]
    stored = [kind.tensors(encoding, tensor) for tensor in merged]
    metadata = {
        "format": UPDATE_FORMAT,
        "encoding": encoding.canonical().decode(),
        "sealing": "none",
        "layout": layout.digest,
        **_BLANKS,
    }
    template = encode_header([*chain.from_iterable(stored), *freshest], metadata)
    parts: list[Part] = []
    start, end = 0, len(template)
    for tensor, tensors in zip(merged, stored, strict=True):
        offsets = accumulate((one.nbytes for one in tensors), initial=end)
        part = Part(start, start + tensor.elements, tuple(map(Stored, tensors, offsets)))
        if kind.joins and parts:
            parts[-1] = Part(parts[-1].start, part.stop, parts[-1].stored)
        elif tensor.elements:
            parts.append(part)
        start, end = part.stop, end + sum(one.nbytes for one in tensors)
    return Geometry(template, tuple(parts), end, end + layout.freshest_bytes)


def _member(key: str, word: str) -> bytes:
    return f'"{key}":"{word}"'.encode()
