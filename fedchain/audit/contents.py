"""The contents: does every file hold the bytes that its CID names, and if not, which byte is wrong?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from fedchain.audit.findings import Findings, Rule
from fedchain.audit.sources import Source, first_difference
from fedchain.core.errors import ContentError, FormatError, Unavailable
from fedchain.core.ledger.content import CHUNK_SIZE, Content, Digest, cid_text
from fedchain.core.ports import BlobReader, Blobs, Store
from fedchain.replica.follower import MAX_DOCUMENT
from fedchain.store.unixfs import Tree, build_tree, chunks


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that does not hold what its CID names."""

    source: Source
    size: int
    """Bytes that it has."""
    digests: tuple[Digest, ...]
    """sha2-256 of each of its chunks."""


class Contents:
    """All blobs that an audit can reach; a `Store` (core/ports.py) that hands out only bytes it has hashed."""

    def __init__(self, sources: Sequence[Source], fallback: Store, findings: Findings) -> None:
        self.sources = sources
        self.fallback = fallback
        """Where a blob is looked for that no source has whole: peers' gateways."""
        self.findings = findings
        self.checked = 0
        """Blobs found whole."""
        self._good: dict[Content, Source | None] = {}
        self._gone: set[Content] = set()
        self._lock = asyncio.Lock()

    @property
    def local(self) -> Blobs:
        """Where blobs from peers end up."""
        return self.fallback.local

    async def check(self, content: Content, subject: str) -> bool:
        """Hash a blob in every place, report each wrong byte, and tell whether it can be had whole somewhere.

        `subject` says what the blob is, as in `update of record 17`.
        """
        async with self._lock:
            if content not in self._good:
                self._good[content] = await asyncio.to_thread(self._examine, content, subject)
        if self._good[content] is None and content not in self._gone:
            try:
                await self.fallback.fetch(content)
            except ContentError:
                self._gone.add(content)
        return content not in self._gone

    async def fetch(self, content: Content) -> BlobReader:
        """Open a blob that hashes to its CID; raises Unavailable when no peer has it so."""
        if await self.check(content, "blob"):
            source = self._good[content]
            buffer = await self.fallback.fetch(content) if source is None else source.open(content)
            if buffer is not None:
                return buffer
        raise Unavailable(
            f"{content} is in none of {', '.join(source.name for source in self.sources) or 'no folders'}",
            content,
        )

    async def document(self, content: Content) -> bytes:
        """Read a policy or manifest; raises Unavailable, FormatError when it is too large to be one."""
        if content.size > MAX_DOCUMENT:
            raise FormatError(f"{content} is too large for a document: at most {MAX_DOCUMENT} bytes")
        buffer = await self.fetch(content)
        return await asyncio.to_thread(buffer.read, 0, content.size)

    def _examine(self, content: Content, subject: str) -> Source | None:
        """Hash a blob in every source; returns one that has it whole."""
        good: Source | None = None
        damaged = []
        for source in self.sources:
            buffer = source.open(content)
            if buffer is None:
                continue
            digests = tuple(_digests(buffer))
            tree = build_tree(digests, buffer.size)
            if tree.content == content:
                good = good or source
                self._check_tree(source, tree, subject)
            else:
                damaged.append(Damage(source, buffer.size, digests))
        for damage in damaged:
            self._report(content, damage, good, subject)
        self.checked += good is not None
        return good

    def _check_tree(self, source: Source, tree: Tree, subject: str) -> None:
        fault = source.tree_fault(tree)
        if fault is not None:
            offset, path = fault
            stated = f"byte {offset} of {path} is wrong"
            expected = "the inner nodes of the blob beside it, which is whole"
            self.findings.find(
                Rule.CONTENT_TREE, f"tree of {subject}", stated, expected, cid=tree.content.cid, file=path, byte=offset
            )

    def _report(self, content: Content, damage: Damage, good: Source | None, subject: str) -> None:
        """Report a damaged file: the first wrong block, and the first wrong byte where a good copy shows it."""
        where = damage.source.where(content)
        evidence: dict[str, str | int] = {"cid": content.cid, "file": where}
        if good is not None:
            evidence["good_copy"] = good.where(content)
        if damage.size != content.size:
            evidence |= {"size": damage.size, "expected_size": content.size}
            self.findings.find(Rule.CONTENT_BYTES, subject, f"{where} has {damage.size} bytes", content.size, evidence)
            return
        expected = self._leaves(content, good)
        if expected is None:
            actual = build_tree(damage.digests, damage.size).content
            evidence |= {"digest": actual.digest.hex(), "expected_digest": content.digest.hex()}
            stated = (
                f"{where} has the CID {actual.cid}; no tree tells which of its {len(damage.digests)} blocks is wrong"
            )
            self.findings.find(Rule.CONTENT_BYTES, subject, stated, content.cid, evidence)
            return
        wrong = [n for n, (ours, theirs) in enumerate(zip(expected, damage.digests, strict=True)) if ours != theirs]
        block = wrong[0]
        evidence |= {
            "block": block,
            "block_cid": cid_text(0x55, expected[block]),
            "offset": block * CHUNK_SIZE,
            "digest": damage.digests[block].hex(),
            "expected_digest": expected[block].hex(),
            "wrong_blocks": len(wrong),
        }
        byte = None if good is None else _first_wrong_byte(content, damage.source, good, block)
        if byte is not None:
            evidence["byte"] = byte
        at = f"byte {byte}" if byte is not None else f"block {block} at byte {block * CHUNK_SIZE}"
        stated = f"{at} of {where} is wrong: sha2-256 {damage.digests[block].hex()}"
        self.findings.find(Rule.CONTENT_BYTES, subject, stated, expected[block].hex(), evidence)

    def _leaves(self, content: Content, good: Source | None) -> Sequence[Digest] | None:
        """Find the digests that a blob's chunks should have: from any tree, or from a good copy."""
        if chunks(content.size) == 1:
            return [content.digest]
        found = (leaves for source in self.sources if (leaves := source.leaves(content)) is not None)
        leaves = next(found, None)
        buffer = good.open(content) if leaves is None and good is not None else None
        return leaves if buffer is None else list(_digests(buffer))


def _digests(buffer: BlobReader) -> Iterator[Digest]:
    """Hash a buffer chunk by chunk."""
    room = memoryview(bytearray(min(CHUNK_SIZE, buffer.size)))
    for offset in range(0, max(buffer.size, 1), CHUNK_SIZE):
        part = room[: buffer.size - offset]
        buffer.read_into(offset, part)
        yield Digest(sha256(part).digest())


def _first_wrong_byte(content: Content, bad: Source, good: Source, block: int) -> int | None:
    ours, theirs = good.open(content), bad.open(content)
    if ours is None or theirs is None:
        return None
    offset = block * CHUNK_SIZE
    size = min(CHUNK_SIZE, content.size - offset)
    found = first_difference(ours.read(offset, size), theirs.read(offset, size))
    return None if found is None else offset + found
