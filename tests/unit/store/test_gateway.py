from __future__ import annotations

import io
import os
import random
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest
from aiohttp import ClientPayloadError, ClientSession, web
from aiohttp.test_utils import TestClient, TestServer

from fedchain.core.ledger.content import CHUNK_SIZE, DAG_PB, RAW, Content, Digest, cid_text
from fedchain.store import car
from fedchain.store.disk import FileReader
from fedchain.store.files import FileBlobs
from fedchain.store.gateway import negotiate, routes
from fedchain.store.unixfs import LINKS, Block, build_tree

DATA = random.Random(3).randbytes(CHUNK_SIZE) * 2 + b"the end"  # its first two leaves are one block
Client = TestClient[web.Request, web.Application]


@pytest.fixture
def blobs(tmp_path: Path) -> FileBlobs:
    return FileBlobs(tmp_path / "blobs")


@pytest.fixture
async def client(blobs: FileBlobs) -> AsyncIterator[Client]:
    app = web.Application()
    app.add_routes(routes(blobs))
    async with TestClient(TestServer(app)) as client:
        yield client


def put(blobs: FileBlobs, data: bytes) -> Content:
    writer = blobs.create()
    writer.write(data)
    return writer.commit()


async def get(client: Client, path: str, accept: str | None = None) -> bytes:
    async with client.get(path, headers={"Accept": accept} if accept else {}) as response:
        assert response.status == 200, await response.text()
        body = await response.read()
        assert response.content_length == len(body)
        return body


def read_car(data: bytes) -> tuple[int, Digest, list[bytes]]:
    codec, digest, sections = car.read(io.BytesIO(data).read)
    return codec, digest, [section.data for section in sections]


def bytes_of(blobs: FileBlobs, content: Content, block: Block) -> bytes:
    nodes = {node.digest: data for node, data in blobs.tree(content).nodes}
    return nodes[block.digest] if block.height else blobs.open(content).read(block.offset, block.span)


@pytest.mark.parametrize("size", [0, 1, CHUNK_SIZE, CHUNK_SIZE + 1, len(DATA)])
async def test_every_block_is_served_raw(blobs: FileBlobs, client: Client, size: int) -> None:
    content = put(blobs, DATA[:size])
    for block in blobs.tree(content).blocks():
        body = await get(client, f"/ipfs/{block.cid}?format=raw")
        assert sha256(body).digest() == block.digest
        assert len(body) == block.length


async def test_raw_headers_are_those_of_the_specification(blobs: FileBlobs, client: Client) -> None:
    content = put(blobs, DATA)
    async with client.get(f"/ipfs/{content.cid}?format=raw") as response:
        headers = response.headers
    assert headers["Content-Type"] == "application/vnd.ipld.raw"
    assert headers["Etag"] == f'"{content.cid}.raw"'
    assert headers["Cache-Control"] == "public, max-age=29030400, immutable"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Disposition"] == f'attachment; filename="{content.cid}.bin"'
    assert headers["X-Ipfs-Roots"] == content.cid
    assert headers["X-Ipfs-Path"] == f"/ipfs/{content.cid}"


async def test_a_car_has_the_whole_tree_depth_first(blobs: FileBlobs, client: Client) -> None:
    content = put(blobs, DATA)
    blocks = [bytes_of(blobs, content, block) for block in blobs.tree(content).blocks()]
    path = f"/ipfs/{content.cid}?format=car"
    assert read_car(await get(client, path + "&car-dups=y")) == (DAG_PB, content.digest, blocks)
    assert read_car(await get(client, path)) == (DAG_PB, content.digest, [*blocks[:2], blocks[3]])
    assert read_car(await get(client, path + "&dag-scope=entity"))[2] == [*blocks[:2], blocks[3]]
    assert read_car(await get(client, path + "&dag-scope=block"))[2] == blocks[:1]


async def test_car_headers_are_those_of_the_specification(blobs: FileBlobs, client: Client) -> None:
    cid = put(blobs, DATA).cid
    tags = set()
    for query, dups in (("", "n"), ("&car-dups=y", "y"), ("&dag-scope=block", "n")):
        async with client.get(f"/ipfs/{cid}?format=car{query}") as response:
            assert response.headers["Content-Type"] == f"application/vnd.ipld.car; version=1; order=dfs; dups={dups}"
            assert response.headers["Content-Disposition"] == f'attachment; filename="{cid}.car"'
            tags.add(response.headers["Etag"])
    assert len(tags) == 3


async def test_a_small_blob_is_a_car_of_one_block(blobs: FileBlobs, client: Client) -> None:
    content = put(blobs, b"abc")
    assert read_car(await get(client, f"/ipfs/{content.cid}?format=car")) == (RAW, content.digest, [b"abc"])


async def test_a_car_of_an_inner_node_has_what_lies_under_it(blobs: FileBlobs, client: Client) -> None:
    zeros, tail = Digest(sha256(bytes(CHUNK_SIZE)).digest()), [b"a" * CHUNK_SIZE, b"z"]
    tree = build_tree([zeros] * LINKS + [Digest(sha256(part).digest()) for part in tail], (LINKS + 1) * CHUNK_SIZE + 1)
    content = tree.content
    download = blobs.resume(content)
    download.put(LINKS * CHUNK_SIZE, tail)  # what comes before is a hole in the file: zeros
    download.commit(tree)
    blocks = blobs.tree(content).blocks()
    last = blocks[-3:]
    assert [block.height for block in last] == [1, 0, 0]
    codec, digest, found = read_car(await get(client, f"/ipfs/{last[0].cid}?format=car"))
    assert (codec, digest) == (DAG_PB, last[0].digest)
    assert found == [bytes_of(blobs, content, block) for block in last]


async def test_the_accept_header_asks_too(blobs: FileBlobs, client: Client) -> None:
    content = put(blobs, b"abc")
    path = f"/ipfs/{content.cid}"
    assert await get(client, path, "application/vnd.ipld.raw") == b"abc"
    dups = await get(client, path, "application/vnd.ipld.car; version=1; order=dfs; dups=y")
    assert read_car(dups)[2] == [b"abc"]
    assert await get(client, path + "?format=raw", "application/vnd.ipld.car") == b"abc"


@pytest.mark.parametrize(
    ("query", "accept", "kind", "dups"),
    [
        ({}, "text/html, application/vnd.ipld.raw;q=0.5", "raw", None),
        ({}, "application/vnd.ipld.raw;q=0.5, application/vnd.ipld.car", "car", "n"),
        ({}, "application/vnd.ipld.car;order=dfs;dups=y;q=0.2, application/vnd.ipld.car;dups=n;q=0.1", "car", "y"),
        ({}, "Application/Vnd.ipld.CAR; Dups=y", "car", "y"),
        ({"format": "car", "car-dups": "y"}, "application/vnd.ipld.car;dups=n", "car", "y"),
        ({"format": "car"}, "application/vnd.ipld.car;dups=y", "car", "y"),
        ({"format": "raw", "dag-scope": "all"}, "", "raw", None),
    ],
)
def test_negotiation(query: dict[str, str], accept: str, kind: str, dups: str | None) -> None:
    wanted = negotiate(query, accept)
    assert wanted.kind == f"application/vnd.ipld.{kind}"
    assert dups is None or wanted.repeated == (dups == "y")


@pytest.mark.parametrize(
    ("query", "accept", "error"),
    [
        ({}, "", web.HTTPNotAcceptable),
        ({}, "*/*", web.HTTPNotAcceptable),
        ({}, "application/vnd.ipld.raw;q=0", web.HTTPNotAcceptable),
        ({}, "application/vnd.ipld.raw;q=much", web.HTTPNotAcceptable),
        ({"format": "tar"}, "application/vnd.ipld.raw", web.HTTPNotAcceptable),
        ({"format": "car", "car-version": "2"}, "", web.HTTPNotAcceptable),
        ({}, "application/vnd.ipld.car;version=2", web.HTTPNotAcceptable),
        ({"format": "car", "car-order": "bfs"}, "", web.HTTPNotAcceptable),
        ({"format": "car", "car-dups": "maybe"}, "", web.HTTPNotAcceptable),
        ({"format": "car", "dag-scope": "some"}, "", web.HTTPBadRequest),
        ({"format": "car", "entity-bytes": "0:9"}, "", web.HTTPBadRequest),
    ],
)
def test_what_is_not_served_is_refused(query: dict[str, str], accept: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        negotiate(query, accept)


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        (f"/ipfs/{cid_text(RAW, bytes(32))}?format=raw", 404, "is not here"),
        (f"/ipfs/{cid_text(DAG_PB, bytes(32))}?format=car", 404, "is not here"),
        ("/ipfs/nonsense?format=raw", 400, "is not a CID"),
        ("/ipfs/QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn?format=raw", 400, "is not a CID"),
        ("/ipfs/..%2f..%2fetc%2fpasswd?format=raw", 400, "is not a CID"),
        (f"/ipfs/{cid_text(RAW, bytes(32))}", 406, "format=raw"),
        (f"/ipfs/{cid_text(RAW, bytes(32))}/path?format=raw", 404, ""),
    ],
)
async def test_refusals_say_why(client: Client, path: str, status: int, says: str) -> None:
    async with client.get(path) as response:
        assert response.status == status
        assert says in await response.text()


async def test_head_tells_all_but_the_body(blobs: FileBlobs, client: Client) -> None:
    content = put(blobs, DATA)
    for query in ("format=raw", "format=car"):
        async with client.get(f"/ipfs/{content.cid}?{query}") as response:
            expected = dict(response.headers)
        async with client.head(f"/ipfs/{content.cid}?{query}") as response:
            assert response.status == 200
            assert await response.read() == b""
            told = dict(response.headers)
        expected.pop("Date"), told.pop("Date")
        assert told == expected
    async with client.head(f"/ipfs/{cid_text(RAW, bytes(32))}?format=raw") as response:
        assert response.status == 404


async def test_a_client_that_has_the_bytes_is_told_so(blobs: FileBlobs, client: Client) -> None:
    path = f"/ipfs/{put(blobs, DATA).cid}?format=raw"
    async with client.get(path) as response:
        tag = response.headers["Etag"]
    async with client.get(path, headers={"If-None-Match": tag}) as response:
        assert response.status == 304
        assert response.headers["Etag"] == tag
    async with client.get(path, headers={"If-None-Match": '"other"'}) as response:
        assert response.status == 200


async def test_the_probe_is_answered(client: Client) -> None:
    assert await get(client, "/ipfs/bafkqaaa?format=raw") == b""
    assert b"version" in await get(client, "/ipfs/bafkqaaa?format=car")
    async with client.head("/ipfs/bafkqaaa?format=raw") as response:
        assert response.status == 200


async def test_what_the_page_cache_does_not_hold_is_read_from_the_disk(
    blobs: FileBlobs, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = put(blobs, DATA)
    monkeypatch.setattr(FileReader, "read_cached", lambda *_: False)
    whole = await get(client, f"/ipfs/{content.cid}?format=car&car-dups=y")
    assert whole.endswith(b"the end")


async def test_a_deleted_blob_is_not_found_and_a_short_one_neither(blobs: FileBlobs, client: Client) -> None:
    content = put(blobs, DATA)
    leaf = blobs.tree(content).blocks()[-1]
    os.truncate(blobs.path(content), CHUNK_SIZE)
    for cid in (content.cid, leaf.cid):
        async with client.get(f"/ipfs/{cid}?format=raw") as response:
            assert response.status == 404
    blobs.path(content).unlink()
    async with client.get(f"/ipfs/{leaf.cid}?format=raw") as response:
        assert response.status == 404


async def test_a_file_that_shrinks_while_it_is_sent_ends_the_connection(
    blobs: FileBlobs, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = put(blobs, DATA)
    read_cached = FileReader.read_cached

    def shrink(self: FileReader, offset: int, out: memoryview) -> bool:
        if offset == CHUNK_SIZE:
            os.truncate(blobs.path(content), CHUNK_SIZE)
        return read_cached(self, offset, out)

    monkeypatch.setattr(FileReader, "read_cached", shrink)
    async with client.get(f"/ipfs/{content.cid}?format=car&car-dups=y") as response:
        with pytest.raises(ClientPayloadError):
            await response.read()


async def test_a_client_that_goes_away_disturbs_nobody(blobs: FileBlobs, client: Client) -> None:
    content = put(blobs, DATA * 20)
    path = f"/ipfs/{content.cid}?format=car&car-dups=y"
    async with ClientSession() as session, session.get(client.make_url(path)) as response:
        await response.content.readexactly(10)
    assert len(await get(client, path)) > content.size
