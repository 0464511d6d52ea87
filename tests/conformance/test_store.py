"""What every adapter of the port `Store` keeps."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from fedchain.core.errors import Unavailable
from fedchain.core.ledger.content import CHUNK_SIZE, Content, Digest
from fedchain.core.ports import Store
from fedchain.store.alone import LoneStore
from fedchain.store.files import FileBlobs
from fedchain.store.gateway import routes
from fedchain.store.memory import MemoryBlobs
from fedchain.store.peers import PeerStore

DATA = random.Random(9).randbytes(CHUNK_SIZE + 77)


@pytest.fixture(params=["alone", "peers over files", "peers over memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "alone":
        yield LoneStore(FileBlobs(tmp_path / "alone"))
        return
    app = web.Application()
    app.add_routes(routes(FileBlobs(tmp_path / "peer")))
    local = FileBlobs(tmp_path / "here") if request.param == "peers over files" else MemoryBlobs()
    async with TestServer(app) as server, ClientSession() as session:
        yield PeerStore(local, [str(server.make_url(""))], session)


@pytest.mark.parametrize("size", [0, 5, CHUNK_SIZE, CHUNK_SIZE + 77])
async def test_what_is_written_here_is_fetched(store: Store, size: int) -> None:
    writer = store.local.create()
    writer.write(DATA[:size])
    content = writer.commit()
    buffer = await store.fetch(content)
    assert buffer.size == size
    assert buffer.read(0, size) == DATA[:size]


async def test_what_nobody_has_is_unavailable(store: Store) -> None:
    for content in (Content(Digest(bytes(32)), 5), Content(Digest(bytes(32)), 2 * CHUNK_SIZE)):
        with pytest.raises(Unavailable, match=content.cid):
            await store.fetch(content)
        assert not store.local.has(content)
