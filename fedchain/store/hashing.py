"""A writer that keeps nothing: it tells which blob the bytes would be."""

from __future__ import annotations

from fedchain.core.ledger.content import Content
from fedchain.store.unixfs import TreeBuilder


class HashingWriter:
    """A blob that is only hashed."""

    def __init__(self) -> None:
        self._builder = TreeBuilder()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Hash bytes."""
        self._builder.add(memoryview(data).cast("B"))

    def commit(self) -> Content:
        """Return the name of what was written."""
        return self._builder.tree().content

    def abort(self) -> None:
        """Do nothing: nothing was kept."""
