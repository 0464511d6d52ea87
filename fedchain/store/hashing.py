"""A writer that keeps nothing: it tells which blob the bytes would be."""

from __future__ import annotations

from fedchain.core.content import Content
from fedchain.store.unixfs import Growing


class HashingWriter:
    """A blob that is only hashed."""

    def __init__(self) -> None:
        self._growing = Growing()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Hash bytes."""
        self._growing.add(memoryview(data).cast("B"))

    def commit(self) -> Content:
        """Return the name of what was written."""
        return self._growing.tree().content

    def abort(self) -> None:
        """Do nothing: nothing was kept."""
