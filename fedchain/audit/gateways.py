"""Where an audit looks for blobs that none of its folders has whole: peers' gateways."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from aiohttp import ClientSession

from fedchain.core.ports import Store
from fedchain.store.alone import LoneStore
from fedchain.store.files import FileBlobs
from fedchain.store.peers import PeerStore


@asynccontextmanager
async def gateways(urls: Sequence[str]) -> AsyncIterator[Store]:
    """Give a store that fetches from gateways into a folder that is gone afterwards."""
    with TemporaryDirectory(prefix="fedchain-audit-") as folder:
        blobs = FileBlobs(Path(folder))
        if not urls:
            yield LoneStore(blobs)
            return
        async with ClientSession() as session:
            yield PeerStore(blobs, [url.rstrip("/") for url in urls], session)
