"""What a fetch asks of the blobs on this machine, beyond the port in core."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from fedchain.core.ledger.content import Content, Digest
from fedchain.core.ports import Blobs
from fedchain.store.unixfs import Tree


class Download(Protocol):
    """A blob on its way here, block by block, in any order."""

    def held(self) -> list[Digest]:
        """Hash what an earlier fetch left: sha2-256 of each chunk, from the first on."""

    def put(self, offset: int, parts: Sequence[bytes | memoryview]) -> None:
        """Write a block that was checked, in parts. Safe from several threads."""

    def commit(self, tree: Tree) -> None:
        """Make the blob durable and visible; every leaf of its tree has been put, or was held."""

    def suspend(self) -> None:
        """Stop here, so that a later `resume` goes on from what came; harmless after `commit`."""


class Downloads(Blobs, Protocol):
    """Blobs that a fetch can bring in."""

    def resume(self, content: Content) -> Download:
        """Start a fetch, or go on with one that was cut off."""
