"""A store without peers: what is not on this machine is unavailable."""

from __future__ import annotations

from fedchain.core.ledger.content import Content
from fedchain.core.ports import BlobReader, Blobs


class LoneStore:
    """The blobs of this machine as a store."""

    def __init__(self, local: Blobs) -> None:
        self.local = local

    async def fetch(self, content: Content) -> BlobReader:
        """Open a blob; raises Unavailable when it is not here."""
        return self.local.open(content)
