"""Files as the store writes and reads them: durable, renamed into place, errors in the store's words."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Final, Self

from fedchain.core.errors import ContentError, Corrupt, Unavailable

_WRITING: Final = ".writing-"
_PARTIAL: Final = ".partial-"
_FORGET_AFTER: Final = 7 * 24 * 3600
"""Seconds after which a kept file that nobody went on with is deleted."""
_LARGE: Final = 1 << 18
_MOST_PARTS: Final = 1024
"""Parts that one call of pwritev takes (IOV_MAX)."""


class FileReader:
    """A blob's bytes in a file, read with preadv; closed with its last reference, or as a context manager."""

    def __init__(self, path: Path) -> None:
        self._fd = -1
        self._path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._size = os.fstat(self._fd).st_size

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self._size

    def read_into(self, offset: int, out: memoryview) -> None:
        """Fill `out` from `offset` on; raises Corrupt when the bytes end early. Safe from several threads."""
        rest = out.cast("B")
        with failing(self._path, "read"):
            while rest:
                count = os.preadv(self._fd, [rest], offset)
                if count == 0:
                    raise Corrupt(f"{self._path} ends {len(rest)} bytes early, at byte {offset}")
                offset += count
                rest = rest[count:]

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on; raises Corrupt when the bytes end early."""
        out = bytearray(size)
        self.read_into(offset, memoryview(out))
        return bytes(out)

    def read_cached(self, offset: int, out: memoryview) -> bool:
        """Fill `out` if that takes no wait for the disk (RWF_NOWAIT); tell whether it did."""
        try:
            return os.preadv(self._fd, [out], offset, os.RWF_NOWAIT) == len(out)
        except OSError:  # not in the page cache, or a file system without RWF_NOWAIT
            return False

    def close(self) -> None:
        """Close the file; reading then fails."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


class NewFile:
    """A file that is not visible under its name before `publish`.

    Its writer holds a lock on it (flock), which ends with the process: an unlocked one was left behind.
    One with `kept` as its future name outlives its writer, so that a later one goes on with it.
    """

    def __init__(self, folder: Path, kept: str | None = None) -> None:
        self._fd = -1
        self._lock = Lock()
        self._folder = folder
        self._kept = kept is not None
        with failing(folder, "write to"):
            self._path, self._fd = _open_kept(folder, kept) if kept else _open_fresh(folder)

    @property
    def path(self) -> Path:
        """Where the bytes are for now."""
        return self._path

    def write(self, offset: int, parts: Sequence[bytes | memoryview]) -> int:
        """Write parts one after another from `offset` on; return where they end. Safe from several threads."""
        end, rest = offset, [memoryview(part) for part in parts if part]
        with failing(self._folder, "write to"), self._lock:
            while rest:
                count = os.pwritev(self._fd, rest[:_MOST_PARTS], end)
                end += count
                while rest and count >= len(rest[0]):
                    count -= len(rest.pop(0))
                if rest:
                    rest[0] = rest[0][count:]
            if end - offset >= _LARGE:
                # Linux starts to write out dirty pages on this advice, so that fsync finds little left to wait
                # for: 25 MB are durable at 940 instead of 700 MB/s.
                os.posix_fadvise(self._fd, offset, end - offset, os.POSIX_FADV_DONTNEED)
        return end

    def publish(self, name: str, size: int) -> None:
        """Make the file's first `size` bytes durable, then visible as `name` in place of what may stand there."""
        with failing(self._folder, "write to"), self._lock:
            os.ftruncate(self._fd, size)
            os.fsync(self._fd)
            self._path.rename(self._folder / name)
            _sync_folder(self._folder)
            self._close()

    def drop(self) -> None:
        """Delete the file; harmless after `publish`."""
        with self._lock:
            if self._fd >= 0:
                self._path.unlink(missing_ok=True)
                self._close()

    def suspend(self) -> None:
        """Let go of the file; one that is not to be kept, or is empty, is deleted."""
        with self._lock:
            if self._fd >= 0:
                if not self._kept or not os.fstat(self._fd).st_size:
                    self._path.unlink(missing_ok=True)
                self._close()

    def _close(self) -> None:
        """Close the file; under the lock, so that no thread that still writes meets another file at this number."""
        os.close(self._fd)
        self._fd = -1

    def __del__(self) -> None:
        self.suspend()


def clean(folder: Path) -> None:
    """Delete what killed processes left half-written; what living ones write is locked, and stays."""
    old = time.time() - _FORGET_AFTER
    with failing(folder, "clean up"):
        for path in [*folder.glob(f"{_WRITING}*"), *folder.glob(f"{_PARTIAL}*")]:
            with suppress(FileNotFoundError):
                fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                try:
                    stale = path.name.startswith(_WRITING) or os.fstat(fd).st_mtime < old
                    if stale and _lock(fd):
                        path.unlink()
                finally:
                    os.close(fd)


@contextmanager
def failing(path: Path, doing: str) -> Iterator[None]:
    """Turn an OSError into a ContentError that says what could not be done with which path, and why."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise Unavailable(f"cannot {doing} {path}: it is not here") from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ContentError(f"cannot {doing} {path}: the disk is full; free space and try again") from error
        raise ContentError(f"cannot {doing} {path}: {error.strerror or error}") from error


def _open_fresh(folder: Path) -> tuple[Path, int]:
    while True:
        path = folder / f"{_WRITING}{secrets.token_hex(8)}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        if _lock(fd) and _is_at(fd, path):  # else another process cleaned it up before the lock
            return path, fd
        os.close(fd)


def _open_kept(folder: Path, name: str) -> tuple[Path, int]:
    """Open a kept file, or a fresh one while another writer has it."""
    path = folder / f"{_PARTIAL}{name}"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    if _lock(fd) and _is_at(fd, path):  # else it was published, or cleaned up, before the lock
        return path, fd
    os.close(fd)
    return _open_fresh(folder)


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
