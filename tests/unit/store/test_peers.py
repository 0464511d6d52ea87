"""Fetching from peers that are honest, absent, slow, broken or lying: all of them real servers on loopback.

Longer than 300 lines because every kind of peer is a server of a few lines beside what it provokes.
"""

from __future__ import annotations

import asyncio
import gzip
import random
import re
import sys
import textwrap
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import ClientSession, ClientTimeout, web
from aiohttp.test_utils import TestServer

from fedchain.core.errors import ContentError, Corrupt, Unavailable
from fedchain.core.ledger.content import CHUNK_SIZE, Content, Digest
from fedchain.store.files import FileBlobs, FileDownload
from fedchain.store.gateway import routes
from fedchain.store.memory import MemoryBlobs
from fedchain.store.peers import AT_ONCE, PeerStore
from fedchain.store.unixfs import Block

DATA = random.Random(5).randbytes(6 * CHUNK_SIZE + 1234)
SOON = ClientTimeout(total=2, sock_connect=0.3, sock_read=0.3)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Answer = Callable[[web.Request, Block], Awaitable[web.StreamResponse | None]]
"""Answers a request for a block in its own way; None for the honest way."""


class Peer:
    """A peer with one blob, honest but where `answer` says otherwise; it counts what it is asked."""

    def __init__(self, folder: Path) -> None:
        self.blobs = FileBlobs(folder)
        self.content = put(self.blobs, DATA)
        self.blocks = {block.cid: block for block in self.blobs.tree(self.content).blocks()}
        self.asked: Counter[str] = Counter()
        self.answer: Answer | None = None
        self.url = ""

    @property
    def leaves(self) -> list[Block]:
        return [block for block in self.blocks.values() if block.height == 0]

    async def start(self, stack: AsyncExitStack) -> None:
        @web.middleware
        async def count(request: web.Request, handler: Handler):
            cid = request.match_info["cid"]
            self.asked[cid] += 1
            own = await self.answer(request, self.blocks[cid]) if self.answer and cid in self.blocks else None
            return own or await handler(request)

        app = web.Application(middlewares=[count])
        app.add_routes(routes(self.blobs))
        self.url = await serve(app, stack)


async def serve(app: web.Application, stack: AsyncExitStack) -> str:
    server = await stack.enter_async_context(TestServer(app))
    return str(server.make_url("")).rstrip("/")


def put(blobs: FileBlobs | MemoryBlobs, data: bytes) -> Content:
    writer = blobs.create()
    writer.write(data)
    return writer.commit()


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def session(stack: AsyncExitStack) -> ClientSession:
    return await stack.enter_async_context(ClientSession())


@pytest.fixture
async def peer(stack: AsyncExitStack, tmp_path: Path) -> Peer:
    peer = Peer(tmp_path / "peer")
    await peer.start(stack)
    return peer


@pytest.fixture
async def other(stack: AsyncExitStack, tmp_path: Path) -> Peer:
    peer = Peer(tmp_path / "other")
    await peer.start(stack)
    return peer


@pytest.fixture(params=["files", "memory"])
def local(request: pytest.FixtureRequest, tmp_path: Path) -> FileBlobs | MemoryBlobs:
    return FileBlobs(tmp_path / "local") if request.param == "files" else MemoryBlobs()


@pytest.fixture
def folder(tmp_path: Path) -> FileBlobs:
    return FileBlobs(tmp_path / "local")


async def test_a_blob_is_brought_here_verified(local, peer: Peer, session: ClientSession) -> None:
    store = PeerStore(local, [peer.url], session)
    buffer = await store.fetch(peer.content)
    assert buffer.read(0, buffer.size) == DATA
    local.check(peer.content)
    assert set(peer.asked) == set(peer.blocks)
    assert set(peer.asked.values()) == {1}


@pytest.mark.parametrize("size", [0, 1, CHUNK_SIZE, CHUNK_SIZE + 1])
async def test_blobs_of_any_size_are_brought_here(local, peer: Peer, session: ClientSession, size: int) -> None:
    content = put(peer.blobs, DATA[:size])
    buffer = await PeerStore(local, [peer.url], session).fetch(content)
    assert buffer.read(0, size) == DATA[:size]
    local.check(content)


async def test_what_is_here_is_not_asked_for(local, peer: Peer, session: ClientSession) -> None:
    assert put(local, DATA) == peer.content
    await PeerStore(local, [peer.url], session).fetch(peer.content)
    assert not peer.asked


async def test_what_came_is_served_on(folder: FileBlobs, peer: Peer, session: ClientSession) -> None:
    await PeerStore(folder, [peer.url], session).fetch(peer.content)
    for block in peer.blocks.values():
        assert folder.find(block.codec, block.digest) is not None


async def test_without_peers_a_blob_is_unavailable(local, session: ClientSession) -> None:
    content = Content(Digest(bytes(32)), 5)
    with pytest.raises(Unavailable, match=f"no peer has {content.cid} .*there is none to ask"):
        await PeerStore(local, [], session).fetch(content)


async def test_the_message_lists_what_each_peer_answered(folder, peer: Peer, other: Peer, session, stack) -> None:
    content = Content(Digest(bytes(32)), 5)

    async def teapot(_request: web.Request) -> web.Response:
        return web.Response(status=418)

    app = web.Application()
    app.add_routes([web.get("/ipfs/{cid}", teapot)])
    strange = await serve(app, stack)
    peers = [peer.url, strange, "http://127.0.0.1:1", "nonsense"]
    with pytest.raises(Unavailable) as caught:
        await PeerStore(folder, peers, session).fetch(content)
    message = str(caught.value)
    assert f"{peer.url} does not have it" in message
    assert re.search(rf"{strange} failed at block {content.cid}: it answered with status 418", message)
    assert re.search(r"http://127.0.0.1:1 failed at block .*: Cannot connect", message)
    assert "nonsense failed at block" in message


@pytest.mark.parametrize(
    "url", ["", "http://", "http://a..b", "http://[bad", "http://a:99999", "ftp://a", "file:///a", "\0"]
)
async def test_a_url_that_cannot_be_asked_is_a_peers_failure(folder, peer: Peer, session, url: str) -> None:
    await PeerStore(folder, [url, peer.url], session, SOON).fetch(peer.content)
    folder.check(peer.content)


async def test_peers_may_come_later(local, peer: Peer, session: ClientSession) -> None:
    peers: list[str] = []
    store = PeerStore(local, peers, session)
    with pytest.raises(Unavailable):
        await store.fetch(peer.content)
    peers.append(peer.url)
    assert (await store.fetch(peer.content)).size == len(DATA)


# Lies and faults. Each is told by `peer` for one block; `other` is honest.


def wrong_byte(data: bytes) -> bytes:
    return data[:-1] + bytes((data[-1] ^ 1,))


def honest_bytes(peer: Peer, block: Block) -> bytes:
    nodes = {node.digest: data for node, data in peer.blobs.tree(peer.content).nodes}
    return nodes[block.digest] if block.height else DATA[block.offset : block.offset + block.span]


async def lie_wrong(peer: Peer, _request: web.Request, block: Block) -> web.StreamResponse:
    return web.Response(body=wrong_byte(honest_bytes(peer, block)))


async def lie_short(peer: Peer, _request: web.Request, block: Block) -> web.StreamResponse:
    return web.Response(body=honest_bytes(peer, block)[:-1])


async def lie_long(peer: Peer, _request: web.Request, block: Block) -> web.StreamResponse:
    return web.Response(body=honest_bytes(peer, block) + b"\0")


async def lie_empty(_peer: Peer, _request: web.Request, _block: Block) -> web.StreamResponse:
    return web.Response(body=b"")


async def lie_endless(_peer: Peer, request: web.Request, _block: Block) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:  # until the client hangs up
        await response.write(bytes(CHUNK_SIZE))


async def lie_encoded(peer: Peer, _request: web.Request, block: Block) -> web.StreamResponse:
    body = gzip.compress(honest_bytes(peer, block), 1)
    return web.Response(body=body, headers={"Content-Encoding": "gzip"})


async def lie_elsewhere(_peer: Peer, request: web.Request, _block: Block) -> web.StreamResponse:
    raise web.HTTPFound(request.url.with_query(format="raw", again="yes"))


async def fault_hang(_peer: Peer, _request: web.Request, _block: Block) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def fault_stall(peer: Peer, request: web.Request, block: Block) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(block.length)})
    await response.prepare(request)
    await response.write(honest_bytes(peer, block)[: block.length // 2])
    await asyncio.Event().wait()
    raise AssertionError


async def fault_close(peer: Peer, request: web.Request, block: Block) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(block.length)})
    await response.prepare(request)
    await response.write(honest_bytes(peer, block)[: block.length // 2])
    assert request.transport is not None
    request.transport.abort()
    return response


async def fault_error(_peer: Peer, _request: web.Request, _block: Block) -> web.StreamResponse:
    return web.Response(status=500)


FAULTS = {
    lie_wrong: "it sent wrong bytes, with sha2-256",
    lie_short: "it sent less than the block's",
    lie_long: "it sent more than the block's",
    lie_empty: "it sent less than the block's",
    lie_endless: "it sent more than the block's",
    lie_encoded: "it sent",
    lie_elsewhere: "it answered with status 302",
    fault_hang: "",
    fault_stall: "",
    fault_close: "",
    fault_error: "it answered with status 500",
}


def tell(peer: Peer, fault, cid: str) -> None:
    async def answer(request: web.Request, block: Block) -> web.StreamResponse | None:
        return await fault(peer, request, block) if block.cid == cid else None

    peer.answer = answer


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("which", ["node", "first", "last"])
async def test_a_fault_costs_one_block_and_the_peers_turn(
    fault, which: str, folder: FileBlobs, peer: Peer, other: Peer, session: ClientSession
) -> None:
    index = {"node": 0, "first": 1, "last": -1}[which]
    bad = list(peer.blocks)[index]
    tell(peer, fault, bad)
    buffer = await PeerStore(folder, [peer.url, other.url], session, SOON).fetch(peer.content)
    assert buffer.read(0, buffer.size) == DATA
    folder.check(peer.content)
    came = set(peer.asked) - {bad}
    assert bad in other.asked
    assert not came & set(other.asked), "a block that had come was asked for again"
    if which == "last":
        assert set(other.asked) == {bad}


@pytest.mark.parametrize(("fault", "says"), FAULTS.items(), ids=lambda value: getattr(value, "__name__", ""))
async def test_without_another_peer_the_message_names_fault_and_block(
    fault, says: str, folder: FileBlobs, peer: Peer, session: ClientSession
) -> None:
    bad = peer.leaves[2].cid
    tell(peer, fault, bad)
    with pytest.raises(Unavailable, match=f"{peer.url} failed at block {bad}: .*{says}"):
        await PeerStore(folder, [peer.url], session, SOON).fetch(peer.content)
    assert not folder.has(peer.content)


async def test_a_peer_that_trickles_is_given_up(folder: FileBlobs, peer: Peer, session: ClientSession) -> None:
    async def trickle(_peer: Peer, request: web.Request, block: Block) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(block.length)})
        await response.prepare(request)
        while True:
            await response.write(b"x")
            await asyncio.sleep(0.05)

    tell(peer, trickle, peer.leaves[0].cid)
    with pytest.raises(Unavailable, match="TimeoutError"):
        await PeerStore(folder, [peer.url], session, ClientTimeout(total=0.5)).fetch(peer.content)


async def test_peers_that_failed_are_asked_last(folder, peer: Peer, other: Peer, session: ClientSession) -> None:
    store = PeerStore(folder, [peer.url, other.url], session, SOON)
    tell(peer, fault_error, peer.content.cid)
    await store.fetch(peer.content)
    peer.asked.clear()
    small = put(other.blobs, b"small")
    await store.fetch(small)
    assert not peer.asked


async def test_a_record_with_a_wrong_size_names_no_blob(folder, peer: Peer, session: ClientSession) -> None:
    for size in (len(DATA) - 1, len(DATA) + 1, CHUNK_SIZE + 1, 1 << 62):
        lie = Content(peer.content.digest, size)
        with pytest.raises(Unavailable, match=r"the size that was given with the CID is wrong|no peer has"):
            await PeerStore(folder, [peer.url], session, SOON).fetch(lie)
    assert list(folder.folder.iterdir()) == []


# Restarts, sharing, cancelling.


async def test_a_fetch_that_was_cut_off_goes_on(folder, peer: Peer, other: Peer, session: ClientSession) -> None:
    bad = peer.leaves[3].cid
    tell(peer, fault_error, bad)
    with pytest.raises(Unavailable):
        await PeerStore(folder, [peer.url], session, SOON).fetch(peer.content)
    came = {block.cid for block in peer.leaves if block.cid in peer.asked} - {bad}
    assert came
    reborn = PeerStore(FileBlobs(folder.folder), [other.url], session)
    assert (await reborn.fetch(peer.content)).read(0, len(DATA)) == DATA
    assert not came & set(other.asked)


async def test_a_fetch_whose_process_was_killed_goes_on(folder, peer: Peer, other: Peer, session) -> None:
    reached, go_on = hold(peer, peer.leaves[-1].cid)
    program = f"""
        import asyncio
        from pathlib import Path
        from aiohttp import ClientSession
        from fedchain.core.ledger.content import content_of
        from fedchain.store.files import FileBlobs
        from fedchain.store.peers import PeerStore

        async def main():
            async with ClientSession() as session:
                store = PeerStore(FileBlobs(Path({str(folder.folder)!r})), [{peer.url!r}], session)
                await store.fetch(content_of({peer.content.cid!r}, {peer.content.size}))

        asyncio.run(main())
    """
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", textwrap.dedent(program))
    await asyncio.wait_for(reached.wait(), 20)
    process.kill()
    await process.wait()
    go_on.set()
    reborn = PeerStore(FileBlobs(folder.folder), [other.url], session)
    assert (await reborn.fetch(peer.content)).read(0, len(DATA)) == DATA
    # The last block was asked for when at most this many were under way; all others had come.
    assert len(set(other.asked) - {peer.content.cid}) <= AT_ONCE
    assert peer.leaves[-1].cid in other.asked


async def test_a_damaged_part_of_a_cut_off_fetch_is_fetched_again(folder, peer: Peer, other, session) -> None:
    tell(peer, fault_error, peer.leaves[-1].cid)
    with pytest.raises(Unavailable):
        await PeerStore(folder, [peer.url], session, SOON).fetch(peer.content)
    (partial,) = folder.folder.iterdir()
    whole = bytearray(partial.read_bytes())
    whole[CHUNK_SIZE + 5] ^= 1
    partial.write_bytes(whole)
    await PeerStore(folder, [other.url], session).fetch(peer.content)
    folder.check(peer.content)
    assert peer.leaves[1].cid in other.asked
    assert peer.leaves[0].cid not in other.asked


async def test_concurrent_fetches_share_one_download(folder, peer: Peer, session: ClientSession) -> None:
    store = PeerStore(folder, [peer.url], session)
    buffers = await asyncio.gather(*(store.fetch(peer.content) for _ in range(5)))
    assert all(buffer.read(CHUNK_SIZE, 99) == DATA[CHUNK_SIZE : CHUNK_SIZE + 99] for buffer in buffers)
    assert set(peer.asked.values()) == {1}


async def test_concurrent_fetches_share_one_failure_and_the_next_starts_anew(folder, peer: Peer, session) -> None:
    store = PeerStore(folder, [peer.url], session, SOON)
    tell(peer, fault_error, peer.content.cid)
    results = await asyncio.gather(*(store.fetch(peer.content) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable] * 3
    assert peer.asked[peer.content.cid] == 1
    peer.answer = None
    assert (await store.fetch(peer.content)).size == len(DATA)


async def test_one_who_gives_up_does_not_end_the_others_download(folder, peer: Peer, session) -> None:
    store = PeerStore(folder, [peer.url], session)
    reached, go_on = hold(peer, peer.leaves[2].cid)
    first, second = (asyncio.create_task(store.fetch(peer.content)) for _ in range(2))
    await asyncio.wait_for(reached.wait(), 10)
    first.cancel()
    go_on.set()
    assert (await second).size == len(DATA)
    with pytest.raises(asyncio.CancelledError):
        await first
    assert set(peer.asked.values()) == {1}


async def test_a_download_ends_with_the_last_who_waits_and_can_be_resumed(folder, peer: Peer, session) -> None:
    store = PeerStore(folder, [peer.url], session)
    reached, go_on = hold(peer, peer.leaves[-1].cid)
    task = asyncio.create_task(store.fetch(peer.content))
    await asyncio.wait_for(reached.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    assert (await store.fetch(peer.content)).size == len(DATA)
    folder.check(peer.content)


def hold(peer: Peer, cid: str) -> tuple[asyncio.Event, asyncio.Event]:
    """Let the peer wait before it gives one block: returns events "it was asked" and "it may go on"."""
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def wait(_peer: Peer, _request: web.Request, _block: Block) -> None:
        reached.set()
        await go_on.wait()

    tell(peer, wait, cid)
    return reached, go_on


async def test_a_full_disk_is_not_the_peers_fault(folder, peer: Peer, session, monkeypatch) -> None:
    def full(_self: FileDownload, _offset: int, _parts: object) -> None:
        raise ContentError("the disk is full")

    monkeypatch.setattr(FileDownload, "put", full)
    with pytest.raises(ContentError, match="the disk is full") as caught:
        await PeerStore(folder, [peer.url], session).fetch(peer.content)
    assert not isinstance(caught.value, Unavailable | Corrupt)


async def test_no_more_than_a_few_blocks_are_asked_for_at_once(folder, peer: Peer, session) -> None:
    now, most = 0, 0

    async def watch(request: web.Request, _block: Block) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1

    peer.answer = watch
    await PeerStore(folder, [peer.url], session).fetch(peer.content)
    assert most == AT_ONCE
