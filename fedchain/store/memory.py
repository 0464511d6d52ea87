"""Blobs in memory: for tests and simulations."""

from __future__ import annotations

from collections.abc import Sequence

from fedchain.core.content import CHUNK, Content, Digest
from fedchain.core.errors import Corrupt, Unavailable
from fedchain.store.unixfs import Growing, Tree, check_leaves


class MemoryBuffer:
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

    def open(self, content: Content) -> MemoryBuffer:
        """Open a blob; raises Unavailable when it is not here."""
        return MemoryBuffer(content, self._find(content)[0])

    def create(self) -> MemoryWriter:
        """Start a new blob."""
        return MemoryWriter(self._held)

    def resume(self, _content: Content) -> MemoryWriter:
        """Start a fetch; nothing is left of earlier ones."""
        return MemoryWriter(self._held)

    def check(self, content: Content) -> None:
        """Re-hash a blob; raises Corrupt naming the first wrong block, Unavailable."""
        data, tree = self._find(content)
        check_leaves(tree, MemoryBuffer(content, data), "memory")

    def _find(self, content: Content) -> tuple[bytes, Tree]:
        try:
            return self._held[content]
        except KeyError:
            raise Unavailable(f"{content} is not in memory") from None


class MemoryWriter:
    """A blob being written to memory."""

    def __init__(self, held: dict[Content, tuple[bytes, Tree]]) -> None:
        self._held = held
        self._data = bytearray()
        self._growing = Growing()

    @property
    def leaves(self) -> Sequence[Digest]:
        """sha2-256 of each complete chunk."""
        return self._growing.leaves

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes."""
        flat = memoryview(data).cast("B")
        self._growing.add(flat)
        self._data += flat

    def append(self, digest: Digest, parts: Sequence[bytes]) -> None:
        """Append a chunk that hashes to `digest`."""
        self._growing.add_leaf(digest, sum(map(len, parts)))
        self._data += b"".join(parts)

    def cut(self, count: int) -> None:
        """Drop all chunks after the first `count`."""
        self._growing.cut(count)
        del self._data[count * CHUNK :]

    def commit(self) -> Content:
        """Make the blob visible, and return its name."""
        tree = self._growing.tree()
        self._held[tree.content] = (bytes(self._data), tree)
        return tree.content

    def abort(self) -> None:
        """Throw away what was written; harmless after `commit`."""
        self._data.clear()

    def keep(self) -> None:
        """Throw away what was written: nothing outlives the writer."""
        self.abort()
