"""Blobs in memory: for tests and simulations."""

from __future__ import annotations

from collections.abc import Sequence

from fedchain.core.errors import Corrupt, Unavailable
from fedchain.core.ledger.content import Content, Digest
from fedchain.store.unixfs import Tree, TreeBuilder, check_leaves


class MemoryReader:
    """A blob's bytes in memory."""

    def __init__(self, content: Content, data: bytes) -> None:
        self._content = content
        self._data = data

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self._data)

    def read_into(self, offset: int, out: memoryview) -> None:
        """Fill `out` from `offset` on; raises Corrupt when the bytes end early."""
        flat = out.cast("B")
        flat[:] = self.read(offset, len(flat))

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on; raises Corrupt when the bytes end early."""
        part = self._data[offset : offset + size]
        if len(part) != size:
            raise Corrupt(f"{self._content}: no {size} bytes at {offset}")
        return part


class MemoryBlobs:
    """Blobs that are gone with the process."""

    def __init__(self) -> None:
        self._held: dict[Content, tuple[bytes, Tree]] = {}

    def has(self, content: Content) -> bool:
        """Tell whether the blob is here."""
        return content in self._held

    def open(self, content: Content) -> MemoryReader:
        """Open a blob; raises Unavailable when it is not here."""
        return MemoryReader(content, self._find(content)[0])

    def create(self) -> MemoryWriter:
        """Start a new blob."""
        return MemoryWriter(self._held)

    def resume(self, _content: Content) -> MemoryDownload:
        """Start a fetch; nothing is left of earlier ones."""
        return MemoryDownload(self._held)

    def check(self, content: Content) -> None:
        """Re-hash a blob; raises Corrupt naming the first wrong block, Unavailable."""
        data, tree = self._find(content)
        check_leaves(tree, MemoryReader(content, data), "memory")

    def forget(self, content: Content) -> None:
        """Drop a blob, as a lost disk does."""
        del self._held[content]

    def _find(self, content: Content) -> tuple[bytes, Tree]:
        try:
            return self._held[content]
        except KeyError:
            raise Unavailable(f"{content} is not in memory", content) from None


class MemoryWriter:
    """A blob being written to memory."""

    def __init__(self, held: dict[Content, tuple[bytes, Tree]]) -> None:
        self._held = held
        self._data = bytearray()
        self._builder = TreeBuilder()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes."""
        flat = memoryview(data).cast("B")
        self._builder.add(flat)
        self._data += flat

    def commit(self) -> Content:
        """Make the blob visible, and return its name."""
        tree = self._builder.tree()
        self._held[tree.content] = (bytes(self._data), tree)
        return tree.content

    def abort(self) -> None:
        """Throw away what was written; harmless after `commit`."""
        self._data.clear()


class MemoryDownload:
    """A blob on its way into memory."""

    def __init__(self, held: dict[Content, tuple[bytes, Tree]]) -> None:
        self._held = held
        self._chunks: dict[int, bytes] = {}

    def held(self) -> list[Digest]:
        """Return nothing: no fetch outlives its process."""
        return []

    def put(self, offset: int, parts: Sequence[bytes | memoryview]) -> None:
        """Take a block that was checked."""
        self._chunks[offset] = b"".join(parts)

    def commit(self, tree: Tree) -> None:
        """Make the blob visible."""
        self._held[tree.content] = (b"".join(self._chunks[at] for at in sorted(self._chunks)), tree)

    def suspend(self) -> None:
        """Let go of what came."""
        self._chunks.clear()
