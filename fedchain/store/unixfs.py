"""A file as a tree of blocks: UnixFS in dag-pb, profile unixfs-v1-2025 (IPIP-499).

Leaves are raw chunks of 1 MiB; an inner node links up to 1,024 blocks of the level below; every level is
filled from the left; a file of one chunk is that raw chunk. Nothing else is ever written, so everything in
an inner node but the digests follows from two numbers: its height, and how many bytes of the file lie under
it. That is how nodes are written here, and how they are read: whatever differs by a byte is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final

from fedchain.core.errors import Corrupt, FormatError
from fedchain.core.ledger.content import CHUNK_SIZE, DAG_PB, RAW, Cid, Content, Digest, cid_bytes, cid_text
from fedchain.core.ports import BlobReader
from fedchain.store import varint

LINKS: Final = 1024
"""Most links in one inner node (IPIP-499, unixfs-v1-2025)."""


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a file's tree: its name, and the bytes of the file that lie under it."""

    digest: Digest
    height: int
    """0 for a raw leaf, 1 for a node over leaves, and so on."""
    offset: int
    """Where in the file its bytes begin."""
    span: int
    """How many bytes of the file lie under it."""

    @property
    def codec(self) -> int:
        """Multicodec of the block."""
        return DAG_PB if self.height else RAW

    @property
    def cid(self) -> Cid:
        """The block's CID in text."""
        return cid_text(self.codec, self.digest)

    @property
    def length(self) -> int:
        """Bytes in the block itself."""
        return _frame(self.span, self.height).length if self.height else self.span

    def covers(self, other: Block) -> bool:
        """Tell whether another block of the same tree is this one, or lies under it."""
        return other.height <= self.height and self.offset <= other.offset < self.offset + max(self.span, 1)


@dataclass(frozen=True, slots=True)
class Tree:
    """All blocks of one file, but for the leaves' bytes."""

    content: Content
    nodes: tuple[tuple[Block, bytes], ...]
    """The inner nodes and their bytes, depth first, root first; none where the file is one chunk."""
    leaves: tuple[Digest, ...]
    """The digests of the chunks, in the file's order."""

    def blocks(self) -> list[Block]:
        """List all blocks, depth first: every node before what lies under it, left before right."""
        nodes = [block for block, _ in self.nodes]
        return sorted([*nodes, *_leaves(self.leaves, self.content.size)], key=depth_first)


class TreeBuilder:
    """The tree of a file that is still being written: bytes in, tree out."""

    def __init__(self) -> None:
        self.size = 0
        self.leaves: list[Digest] = []
        """Digests of the chunks that are complete."""
        self._hash = sha256()

    def add(self, data: memoryview) -> None:
        """Hash the next bytes of the file."""
        at = 0
        while at < len(data):
            step = min(len(data) - at, CHUNK_SIZE - self.size % CHUNK_SIZE)
            self._hash.update(data[at : at + step])
            at += step
            self.size += step
            if self.size % CHUNK_SIZE == 0:
                self.leaves.append(Digest(self._hash.digest()))
                self._hash = sha256()

    def tree(self) -> Tree:
        """Build the tree over all bytes so far."""
        last = [] if len(self.leaves) == chunks(self.size) else [Digest(self._hash.digest())]
        return build_tree([*self.leaves, *last], self.size)


def chunks(size: int) -> int:
    """Count the leaves of a file of `size` bytes; the empty file has one."""
    return max(1, -(-size // CHUNK_SIZE))


def root(content: Content) -> Block:
    """Return the root block of a blob's tree; its height is the least h with 1024^h ≥ the number of leaves."""
    height, reach = 0, 1
    while reach < chunks(content.size):
        height, reach = height + 1, reach * LINKS
    return Block(content.digest, height, 0, content.size)


def build_tree(leaves: Sequence[Digest], size: int) -> Tree:
    """Build the tree over the chunks of a file of `size` bytes."""
    level = _leaves(leaves, size)
    found: list[tuple[Block, bytes]] = []
    while len(level) > 1:
        above = []
        for start in range(0, len(level), LINKS):
            below = level[start : start + LINKS]
            height, span = below[0].height + 1, sum(block.span for block in below)
            data = _frame(span, height).fill([block.digest for block in below])
            above.append(Block(Digest(sha256(data).digest()), height, below[0].offset, span))
            found.append((above[-1], data))
        level = above
    found.sort(key=lambda node: depth_first(node[0]))
    return Tree(Content(level[0].digest, size), tuple(found), tuple(leaves))


def children(node: Block, data: bytes) -> list[Block]:
    """Read an inner node's links; raises FormatError where `data` is not what the profile writes for it.

    The caller has checked that `data` hashes to the node's digest.
    """
    frame = _frame(node.span, node.height)
    digests = frame.digests(data)
    if digests is None:
        raise FormatError(
            f"block {node.cid} is not the unixfs-v1-2025 node over {node.span} bytes that stands here: "
            "either the size that was given with the CID is wrong, or it was made with another profile"
        )
    step = CHUNK_SIZE * LINKS ** (node.height - 1)
    return [
        Block(digest, node.height - 1, node.offset + index * step, min(step, node.span - index * step))
        for index, digest in enumerate(digests)
    ]


def _leaves(digests: Sequence[Digest], size: int) -> list[Block]:
    offsets = range(0, max(size, 1), CHUNK_SIZE)
    return [Block(digest, 0, at, min(CHUNK_SIZE, size - at)) for digest, at in zip(digests, offsets, strict=True)]


def depth_first(block: Block) -> tuple[int, int]:
    """Give the sort key of the order in which a node comes before what lies under it, left before right."""
    return block.offset, -block.height


def check_leaves(tree: Tree, blob: BlobReader, place: str) -> None:
    """Hash every chunk of a blob; raises Corrupt naming CID, place, block and both digests.

    `place` says where the bytes lie: a path, or "memory".
    """
    chunk = memoryview(bytearray(min(CHUNK_SIZE, tree.content.size)))
    for index, expected in enumerate(tree.leaves):
        offset = index * CHUNK_SIZE
        part = chunk[: tree.content.size - offset]
        blob.read_into(offset, part)
        actual = sha256(part).digest()
        if actual != expected:
            raise Corrupt(
                f"{tree.content}: block {index} at byte {offset} of {place} has sha2-256 {actual.hex()}, "
                f"not {expected.hex()}: fetch the blob again"
            )


@dataclass(frozen=True, slots=True)
class _Frame:
    """An inner node with holes for the digests: link k is `before[k]`, digest, `after[k]`."""

    before: tuple[bytes, ...]
    after: tuple[bytes, ...]
    data: bytes
    """The node's UnixFS field, which dag-pb puts after the links."""
    length: int
    total: int
    """Bytes in the node and all blocks under it: what a link to it says as Tsize."""

    def fill(self, digests: Sequence[Digest]) -> bytes:
        """Write the node."""
        links = zip(self.before, digests, self.after, strict=True)
        return b"".join(part for link in links for part in link) + self.data

    def digests(self, data: bytes) -> list[Digest] | None:
        """Read the digests out of a node; None where anything around them is otherwise."""
        found, at = [], 0
        for before, after in zip(self.before, self.after, strict=True):
            at += len(before)
            found.append(Digest(bytes(data[at : at + 32])))
            at += 32 + len(after)
        return found if len(data) == self.length and self.fill(found) == data else None


@lru_cache(maxsize=256)
def _frame(span: int, height: int) -> _Frame:
    """Lay out the inner node of a height over `span` bytes.

    dag-pb: PBLink { Hash = 1, Name = 2, Tsize = 3 } as field 2, then the UnixFS message as field 1; UnixFS:
    { Type = 1: File = 2, filesize = 3, blocksizes = 4 }. Source: the IPLD dag-pb and UnixFS specifications.
    """
    step = CHUNK_SIZE * LINKS ** (height - 1)
    spans = [min(step, span - start) for start in range(0, span, step)]
    codec = RAW if height == 1 else DAG_PB
    before, after, total = [], [], 0
    for below in spans:
        size = below if height == 1 else _frame(below, height - 1).total
        tail = b"\x12\x00\x18" + varint.encode(size)
        cid = cid_bytes(codec, b"")
        before.append(b"\x12" + varint.encode(2 + len(cid) + 32 + len(tail)) + b"\x0a\x24" + cid)
        after.append(tail)
        total += size
    sizes = b"".join(b"\x20" + varint.encode(below) for below in spans)
    file = b"\x08\x02\x18" + varint.encode(span) + sizes
    data = b"\x0a" + varint.encode(len(file)) + file
    length = sum(map(len, before)) + sum(map(len, after)) + 32 * len(spans) + len(data)
    return _Frame(tuple(before), tuple(after), data, length, length + total)
