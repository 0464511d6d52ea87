"""What a fetch asks of the blobs on this machine, beyond the port in core."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from fedchain.core.content import Content, Digest
from fedchain.core.ports import Blobs


class Landing(Protocol):
    """A blob on its way here, chunk by chunk, in the blob's order."""

    @property
    def leaves(self) -> Sequence[Digest]:
        """sha2-256 of each chunk that is here, hashed from the bytes themselves."""

    def append(self, digest: Digest, parts: Sequence[bytes]) -> None:
        """Add the next chunk, in parts; the caller has checked that they hash to `digest`."""

    def cut(self, count: int) -> None:
        """Drop all chunks after the first `count`."""

    def commit(self) -> Content:
        """Make the blob durable and visible, and return its name."""

    def abort(self) -> None:
        """Throw away what came."""

    def keep(self) -> None:
        """Stop here, so that a later `resume` goes on from what came; harmless after `commit`."""


class Landings(Blobs, Protocol):
    """Blobs that a fetch can bring in."""

    def resume(self, content: Content) -> Landing:
        """Start a fetch, or go on with one that was cut off."""
