from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import textwrap
import time
from hashlib import sha256
from pathlib import Path

import pytest

from fedchain.core.content import CHUNK, Content, Digest
from fedchain.core.errors import ContentError, Corrupt, Unavailable
from fedchain.store.files import FileBlobs
from fedchain.store.unixfs import chunks

DATA = random.Random(11).randbytes(3 * CHUNK + 99)


@pytest.fixture
def blobs(tmp_path: Path) -> FileBlobs:
    return FileBlobs(tmp_path / "blobs")


def put(blobs: FileBlobs, data: bytes) -> Content:
    writer = blobs.create()
    writer.write(data)
    return writer.commit()


def names(blobs: FileBlobs) -> set[str]:
    return {path.name for path in blobs.folder.iterdir()}


def test_a_blob_is_one_flat_file_named_by_its_cid(blobs: FileBlobs) -> None:
    content = put(blobs, DATA[:CHUNK])
    assert names(blobs) == {content.cid}
    assert (blobs.folder / content.cid).read_bytes() == DATA[:CHUNK]


def test_a_long_blob_has_its_tree_beside_it(blobs: FileBlobs) -> None:
    content = put(blobs, DATA)
    assert names(blobs) == {content.cid, content.cid + ".car"}
    tree = blobs.tree(content)
    assert tree.content == content
    assert tree.leaves == tuple(sha256(DATA[at : at + CHUNK]).digest() for at in range(0, len(DATA), CHUNK))


def test_every_block_is_found_also_by_the_next_process(blobs: FileBlobs) -> None:
    contents = [put(blobs, DATA), put(blobs, b"small")]
    for each in (blobs, FileBlobs(blobs.folder)):
        for content in contents:
            for block in each.tree(content).blocks():
                assert each.find(block.codec, block.digest) == (content, block)
        assert each.find(0x55, Digest(bytes(32))) is None


def test_a_blob_that_another_process_wrote_is_found(blobs: FileBlobs) -> None:
    content = put(FileBlobs(blobs.folder), DATA)
    found = blobs.find(content.codec, content.digest)
    assert found is not None
    assert found[0] == content


def test_strange_files_do_not_disturb(blobs: FileBlobs) -> None:
    content = put(blobs, DATA)
    (blobs.folder / "notes.car").write_bytes(b"no")
    (blobs.folder / "README").write_bytes(b"no")
    (blobs.folder / f"{Content(Digest(bytes(32)), 2 * CHUNK).cid}.car").write_bytes(b"no")
    assert FileBlobs(blobs.folder).has(content)


def test_files_of_a_killed_writer_are_cleaned_up_and_those_of_a_living_one_stay(blobs: FileBlobs) -> None:
    program = f"""
        import sys
        from pathlib import Path
        from fedchain.store.files import FileBlobs
        writer = FileBlobs(Path({str(blobs.folder)!r})).create()
        writer.write(b"half")
        print("written", flush=True)
        sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        left = names(blobs)
        assert len(left) == 1
        FileBlobs(blobs.folder)
        assert names(blobs) == left
        process.send_signal(signal.SIGKILL)
    assert names(blobs) == left
    FileBlobs(blobs.folder)
    assert names(blobs) == set()


def test_a_writer_that_is_dropped_leaves_nothing(blobs: FileBlobs) -> None:
    blobs.create().write(b"half")
    assert names(blobs) == set()


def test_a_full_disk_is_a_clear_error_and_leaves_nothing(blobs: FileBlobs) -> None:
    # A limit on file size fails writes with EFBIG in the same place where a full disk fails them.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    writer = blobs.create()
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (CHUNK, hard))
        with pytest.raises(ContentError, match=f"cannot write to {blobs.folder}: File too large"):
            writer.write(DATA)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    writer.abort()
    assert names(blobs) == set()


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ContentError, match=r"cannot create .*Not a directory"):
        FileBlobs(tmp_path / "file" / "blobs")


def test_a_truncated_file_is_not_here_and_says_so(blobs: FileBlobs) -> None:
    content = put(blobs, DATA)
    os.truncate(blobs.folder / content.cid, 100)
    assert not blobs.has(content)
    with pytest.raises(Corrupt, match=f"{content.cid} has 100 bytes, not {len(DATA)}"):
        blobs.open(content)
    assert put(blobs, DATA) == content
    blobs.check(content)


def test_a_damaged_or_missing_tree_is_named(blobs: FileBlobs) -> None:
    content = put(blobs, DATA)
    path = blobs.folder / f"{content.cid}.car"
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole + b"\0", whole[:59], whole[:100] + b"\0" + whole[101:], b""):
        path.write_bytes(damaged)
        with pytest.raises(Corrupt, match=f"{path}, the tree of {content.cid}"):
            blobs.check(content)
    path.unlink()
    with pytest.raises(Unavailable, match=str(path)):
        blobs.check(content)


def test_a_buffer_outlives_its_file_and_closes_once(blobs: FileBlobs) -> None:
    content = put(blobs, DATA)
    with blobs.open(content) as buffer:
        (blobs.folder / content.cid).unlink()
        assert buffer.read(5, 10) == DATA[5:15]
    buffer.close()
    with pytest.raises(ContentError, match="Bad file descriptor"):
        buffer.read(0, 1)


def test_buffers_that_are_dropped_close_their_files(blobs: FileBlobs) -> None:
    content = put(blobs, DATA)
    open_before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(50):
        blobs.open(content).read(0, 1)
    assert len(os.listdir("/proc/self/fd")) == open_before  # noqa: PTH208


def land(blobs: FileBlobs, content: Content, count: int) -> None:
    """Begin a fetch, or go on with it, and stop after `count` chunks."""
    landing = blobs.resume(content)
    for index in range(len(landing.leaves), count):
        part = DATA[index * CHUNK : (index + 1) * CHUNK]
        landing.append(Digest(sha256(part).digest()), [part[:1000], part[1000:]])
    if count == chunks(content.size):
        assert landing.commit() == content
    landing.keep()


def test_a_fetch_goes_on_where_it_was_cut_off(blobs: FileBlobs, tmp_path: Path) -> None:
    content = put(FileBlobs(tmp_path / "other"), DATA)
    land(blobs, content, 2)
    assert not blobs.has(content)
    assert len(blobs.resume(content).leaves) == 2
    assert len(FileBlobs(blobs.folder).resume(content).leaves) == 2
    land(blobs, content, 4)
    blobs.check(content)
    assert names(blobs) == {content.cid, content.cid + ".car"}


def test_a_cut_drops_wrong_chunks(blobs: FileBlobs, tmp_path: Path) -> None:
    content = put(FileBlobs(tmp_path / "other"), DATA)
    landing = blobs.resume(content)
    landing.append(Digest(sha256(DATA[:CHUNK]).digest()), [DATA[:CHUNK]])
    landing.append(Digest(bytes(32)), [bytes(CHUNK)])
    landing.cut(1)
    landing.keep()
    land(blobs, content, 4)
    blobs.check(content)


def test_two_fetches_of_one_blob_do_not_share_a_file(blobs: FileBlobs, tmp_path: Path) -> None:
    content = put(FileBlobs(tmp_path / "other"), DATA)
    first, second = blobs.resume(content), blobs.resume(content)
    for landing in (first, second):
        for at in range(0, len(DATA), CHUNK):
            landing.append(Digest(sha256(DATA[at : at + CHUNK]).digest()), [DATA[at : at + CHUNK]])
    assert first.commit() == second.commit() == content
    blobs.check(content)
    assert names(blobs) == {content.cid, content.cid + ".car"}


def test_a_fetch_that_nobody_went_on_with_is_forgotten_after_a_week(blobs: FileBlobs, tmp_path: Path) -> None:
    content = put(FileBlobs(tmp_path / "other"), DATA)
    land(blobs, content, 2)
    FileBlobs(blobs.folder)
    (partial,) = blobs.folder.iterdir()
    old = time.time() - 8 * 24 * 3600
    os.utime(partial, (old, old))
    FileBlobs(blobs.folder)
    assert names(blobs) == set()
