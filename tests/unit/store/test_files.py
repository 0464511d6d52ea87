from __future__ import annotations

import errno
import os
import random
import resource
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

import pytest

from fedchain.core.errors import ContentError, Corrupt, Unavailable
from fedchain.core.ledger.content import CHUNK_SIZE, Content, Digest
from fedchain.store import disk
from fedchain.store.files import FileBlobs, FileDownload
from fedchain.store.unixfs import Tree

DATA = random.Random(11).randbytes(3 * CHUNK_SIZE + 99)


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
    content = put(blobs, DATA[:CHUNK_SIZE])
    assert names(blobs) == {content.cid}
    assert (blobs.folder / content.cid).read_bytes() == DATA[:CHUNK_SIZE]


def test_a_long_blob_has_its_tree_beside_it(blobs: FileBlobs) -> None:
    content = put(blobs, DATA)
    assert names(blobs) == {content.cid, content.cid + ".car"}
    tree = blobs.tree(content)
    assert tree.content == content
    assert tree.leaves == tuple(sha256(DATA[at : at + CHUNK_SIZE]).digest() for at in range(0, len(DATA), CHUNK_SIZE))


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
    (blobs.folder / f"{Content(Digest(bytes(32)), 2 * CHUNK_SIZE).cid}.car").write_bytes(b"no")
    assert FileBlobs(blobs.folder).has(content)


def test_files_of_a_killed_writer_are_cleaned_up_and_those_of_a_living_one_stay(blobs: FileBlobs) -> None:
    program = f"""
        import sys
        from pathlib import Path
        from fedchain.store.files import FileBlobs, FileDownload
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


def test_a_disk_that_takes_no_more_is_a_clear_error_and_leaves_nothing(blobs: FileBlobs) -> None:
    # A limit on file size fails writes with EFBIG in the same place where a full disk fails them.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    writer = blobs.create()
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (CHUNK_SIZE, hard))
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


@pytest.fixture
def remote(tmp_path: Path) -> tuple[Content, Tree]:
    """A blob that is elsewhere."""
    elsewhere = FileBlobs(tmp_path / "elsewhere")
    content = put(elsewhere, DATA)
    return content, elsewhere.tree(content)


def land(download: FileDownload, chunks: Iterable[int]) -> None:
    for index in chunks:
        part = DATA[index * CHUNK_SIZE : (index + 1) * CHUNK_SIZE]
        download.put(index * CHUNK_SIZE, [part[:10], part[10:]])


def test_a_fetch_lands_in_any_order(blobs: FileBlobs, remote: tuple[Content, Tree]) -> None:
    content, tree = remote
    download = blobs.resume(content)
    assert download.held() == []
    land(download, [3, 0, 2, 1])
    assert not blobs.has(content)
    download.commit(tree)
    download.suspend()
    blobs.check(content)
    assert names(blobs) == {content.cid, content.cid + ".car"}


def test_a_fetch_goes_on_where_it_was_cut_off(blobs: FileBlobs, remote: tuple[Content, Tree]) -> None:
    content, tree = remote
    first = blobs.resume(content)
    land(first, [0, 2])
    first.suspend()
    second = FileBlobs(blobs.folder).resume(content)
    held = second.held()
    assert [held[0] == tree.leaves[0], held[1] == tree.leaves[1], held[2] == tree.leaves[2]] == [True, False, True]
    land(second, [1, 3])
    second.commit(tree)
    blobs.check(content)
    assert names(blobs) == {content.cid, content.cid + ".car"}


def test_a_fetch_that_brought_nothing_leaves_nothing(blobs: FileBlobs, remote: tuple[Content, Tree]) -> None:
    blobs.resume(remote[0]).suspend()
    assert names(blobs) == set()


def test_what_stands_behind_the_end_of_a_cut_off_fetch_is_dropped(
    blobs: FileBlobs, remote: tuple[Content, Tree]
) -> None:
    content, tree = remote
    download = blobs.resume(content)
    download.put(0, [DATA, b"more"])
    download.suspend()
    again = blobs.resume(content)
    assert tuple(again.held()) == tree.leaves
    again.commit(tree)
    blobs.check(content)


def test_two_fetches_of_one_blob_do_not_share_a_file(blobs: FileBlobs, remote: tuple[Content, Tree]) -> None:
    content, tree = remote
    downloads = blobs.resume(content), blobs.resume(content)
    for download in downloads:
        land(download, range(4))
    for download in downloads:
        download.commit(tree)
    blobs.check(content)
    assert names(blobs) == {content.cid, content.cid + ".car"}


def test_writing_to_a_fetch_that_has_ended_is_an_error(blobs: FileBlobs, remote: tuple[Content, Tree]) -> None:
    download = blobs.resume(remote[0])
    download.suspend()
    with pytest.raises(ContentError, match="Bad file descriptor"):
        land(download, [0])


def test_a_fetch_that_nobody_went_on_with_is_forgotten_after_a_week(
    blobs: FileBlobs, remote: tuple[Content, Tree]
) -> None:
    download = blobs.resume(remote[0])
    land(download, [0])
    download.suspend()
    FileBlobs(blobs.folder)
    (partial,) = blobs.folder.iterdir()
    old = time.time() - 8 * 24 * 3600
    os.utime(partial, (old, old))
    FileBlobs(blobs.folder)
    assert names(blobs) == set()


def test_a_full_disk_says_so() -> None:
    no_space = OSError(errno.ENOSPC, "No space left on device")
    with (
        pytest.raises(ContentError, match="cannot write to blobs: the disk is full; free space and try again"),
        disk.failing(Path("blobs"), "write to"),
    ):
        raise no_space


def test_a_write_that_the_system_cuts_short_goes_on(blobs: FileBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    pwritev = os.pwritev

    def cut_short(fd: int, parts: list[memoryview], offset: int) -> int:
        return pwritev(fd, [b"".join(parts)[:1000]], offset)

    monkeypatch.setattr(os, "pwritev", cut_short)
    download = blobs.resume(Content(Digest(sha256(DATA[:9000]).digest()), 9000))
    download.put(0, [DATA[:10], b"", DATA[10:1500], DATA[1500:9000]])
    assert download.held() == [sha256(DATA[:9000]).digest()]
    download.suspend()


def test_a_tree_is_stored_as_the_golden_file_says(blobs: FileBlobs) -> None:
    content = put(blobs, bytes(i % 251 for i in range(CHUNK_SIZE + 1)))
    golden = Path(__file__).parents[2] / "vectors" / "tree-1048577.car"
    assert (blobs.folder / f"{content.cid}.car").read_bytes() == golden.read_bytes()
