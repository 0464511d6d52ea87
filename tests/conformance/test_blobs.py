"""What every adapter of the port `Blobs` keeps."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from fedchain.core.errors import Corrupt, Unavailable
from fedchain.core.ledger.content import CHUNK_SIZE, Content, Digest, content_of
from fedchain.core.ports import Blobs
from fedchain.store.files import FileBlobs
from fedchain.store.memory import MemoryBlobs

DATA = random.Random(7).randbytes(2 * CHUNK_SIZE + 345)
Damage = Callable[[Content, int], None]
"""Turns over the byte of a blob at an offset, behind the adapter's back."""


@pytest.fixture(params=["files", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    return FileBlobs(tmp_path / "blobs") if request.param == "files" else MemoryBlobs()


@pytest.fixture
def damage(blobs: Blobs) -> Damage:
    def in_file(content: Content, at: int) -> None:
        assert isinstance(blobs, FileBlobs)
        with blobs.path(content).open("r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes((byte ^ 1,)))

    def in_memory(content: Content, at: int) -> None:
        data, tree = blobs._held[content]  # type: ignore[attr-defined]
        blobs._held[content] = (data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :], tree)  # type: ignore[attr-defined]

    return in_file if isinstance(blobs, FileBlobs) else in_memory


def put(blobs: Blobs, data: bytes) -> Content:
    writer = blobs.create()
    writer.write(data)
    return writer.commit()


@pytest.mark.parametrize("size", [0, 1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 2 * CHUNK_SIZE + 345])
def test_what_is_written_is_read(blobs: Blobs, size: int) -> None:
    content = put(blobs, DATA[:size])
    buffer = blobs.open(content)
    assert blobs.has(content)
    assert content.size == buffer.size == size
    assert buffer.read(0, size) == DATA[:size]
    blobs.check(content)


def test_a_small_blob_is_named_by_its_hash(blobs: Blobs) -> None:
    assert put(blobs, b"abc") == Content(Digest(sha256(b"abc").digest()), 3)


def test_a_long_blob_is_named_as_by_the_reference_importer(blobs: Blobs) -> None:
    data = bytes(i % 251 for i in range(CHUNK_SIZE + 1))
    expected = content_of("bafybeidjogjfwuhbzwopgd4bn3skcf5m6oz72xshywcndzxgqb623nfclu", CHUNK_SIZE + 1)
    assert put(blobs, data) == expected


def test_a_name_does_not_depend_on_the_size_of_writes(blobs: Blobs) -> None:
    writer = blobs.create()
    view = memoryview(DATA)
    for start in range(0, len(DATA), 70_001):
        writer.write(view[start : start + 70_001])
    assert writer.commit() == put(blobs, DATA)


def test_a_writer_takes_views_of_wider_items(blobs: Blobs) -> None:
    writer = blobs.create()
    writer.write(memoryview(DATA[:4096]).cast("i"))
    assert writer.commit() == put(blobs, DATA[:4096])


def test_nothing_is_visible_before_commit_or_after_abort(blobs: Blobs) -> None:
    content = put(MemoryBlobs(), DATA)
    writer = blobs.create()
    writer.write(DATA)
    assert not blobs.has(content)
    writer.abort()
    assert not blobs.has(content)


def test_abort_after_commit_is_harmless(blobs: Blobs) -> None:
    writer = blobs.create()
    writer.write(b"abc")
    content = writer.commit()
    writer.abort()
    assert blobs.open(content).read(0, 3) == b"abc"


def test_writing_a_blob_again_changes_nothing(blobs: Blobs) -> None:
    content = put(blobs, DATA)
    buffer = blobs.open(content)
    assert put(blobs, DATA) == content
    assert buffer.read(CHUNK_SIZE, 9) == blobs.open(content).read(CHUNK_SIZE, 9) == DATA[CHUNK_SIZE : CHUNK_SIZE + 9]


def test_a_blob_that_is_not_here_is_unavailable(blobs: Blobs) -> None:
    content = Content(Digest(bytes(32)), 5)
    assert not blobs.has(content)
    with pytest.raises(Unavailable, match=content.cid):
        blobs.open(content)
    with pytest.raises(Unavailable, match=content.cid):
        blobs.check(content)


def test_the_right_cid_with_a_wrong_size_is_not_here(blobs: Blobs) -> None:
    content = put(blobs, DATA)
    lie = Content(content.digest, content.size + 1)
    assert not blobs.has(lie)
    with pytest.raises((Unavailable, Corrupt), match=content.cid):
        blobs.open(lie)


def test_reads_start_and_end_anywhere(blobs: Blobs) -> None:
    buffer = blobs.open(put(blobs, DATA))
    for offset, size in ((0, 0), (5, 9), (CHUNK_SIZE - 3, 8), (len(DATA) - 1, 1), (len(DATA), 0)):
        assert buffer.read(offset, size) == DATA[offset : offset + size]
        out = bytearray(size)
        buffer.read_into(offset, memoryview(out))
        assert out == DATA[offset : offset + size]


def test_a_read_past_the_end_is_corrupt(blobs: Blobs) -> None:
    buffer = blobs.open(put(blobs, DATA))
    with pytest.raises(Corrupt):
        buffer.read(len(DATA) - 4, 5)
    with pytest.raises(Corrupt):
        buffer.read_into(len(DATA), memoryview(bytearray(1)))


def test_a_buffer_may_be_read_from_several_threads(blobs: Blobs) -> None:
    buffer = blobs.open(put(blobs, DATA))

    def read(offset: int) -> bool:
        return buffer.read(offset, 50_000) == DATA[offset : offset + 50_000]

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(0, len(DATA) - 50_000, 40_000)))


@pytest.mark.parametrize(("at", "block"), [(0, 0), (CHUNK_SIZE - 1, 0), (CHUNK_SIZE, 1), (len(DATA) - 1, 2)])
def test_check_names_the_first_wrong_block(blobs: Blobs, damage: Damage, at: int, block: int) -> None:
    content = put(blobs, DATA)
    damage(content, at)
    chunk = bytearray(DATA[block * CHUNK_SIZE : (block + 1) * CHUNK_SIZE])
    expected = sha256(chunk).hexdigest()
    chunk[at % CHUNK_SIZE] ^= 1
    with pytest.raises(Corrupt) as caught:
        blobs.check(content)
    message = str(caught.value)
    assert content.cid in message
    assert f"block {block} at byte {block * CHUNK_SIZE} " in message
    assert f"sha2-256 {sha256(chunk).hexdigest()}, not {expected}" in message


def test_check_of_a_small_blob_names_it(blobs: Blobs, damage: Damage) -> None:
    content = put(blobs, b"abc")
    damage(content, 1)
    with pytest.raises(Corrupt, match=f"{content.cid}.*block 0 .*{sha256(b'abc').hexdigest()}"):
        blobs.check(content)
