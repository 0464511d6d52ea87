"""A SQLite file with a schema of ours: one way to open it, to change it, and to say what is wrong with it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fedchain.core.errors import ConfigError, DatabaseError

BUSY_S: Final = 0.2
"""Seconds to wait for another process's lock: calls may come from an event loop."""

_FULL: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
_LOCKED: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT)
_FORBIDDEN: Final = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH)


@dataclass(frozen=True, slots=True)
class Schema:
    """What a file holds, and how it is to be kept."""

    what: str
    """What the file is, as in `the journal`."""
    version: int
    """Kept in `user_version`; a file with another one is not opened. Files from 1 on."""
    statements: tuple[str, ...]
    """What creates an empty file's tables and indices."""
    if_damaged: str
    """What may be done with a damaged file, and what may not."""
    can_be_deleted: bool = False
    """Whether everything in it can be had again from elsewhere."""
    synchronous: bool = True
    """Wait for the disk at each change (FULL); without it (NORMAL) a power cut may take back the last ones, whole."""
    exclusive: bool = False
    """Keep every other process out for as long as the file is open."""


class Database:
    """One open file, or one in memory. Every error is a DatabaseError that names the file and what to do."""

    def __init__(self, path: Path | None, schema: Schema, *, read_only: bool = False) -> None:
        """Open a file, or make it; without a path it lives in memory. A read-only one may be in use elsewhere.

        Raises DatabaseError; ConfigError when the file has another version of the schema.
        """
        self._path = path
        self._schema = schema
        target = f"{path.absolute().as_uri()}?mode=ro" if path and read_only else str(path or ":memory:")
        try:
            self._connection = sqlite3.connect(
                target, uri=read_only, isolation_level=None, check_same_thread=False, timeout=BUSY_S
            )
        except sqlite3.Error as error:
            raise self._error(error) from error
        try:
            if read_only:
                self._check_version(self.version)
            else:
                self._prepare()
        except (DatabaseError, ConfigError):
            self.close()
            raise

    @property
    def name(self) -> str:
        """The file, for messages."""
        return str(self._path or f"{self._schema.what} in memory")

    @property
    def version(self) -> int:
        """The version that the file says it has; 0 for one that was just made."""
        return int(self.all("PRAGMA user_version")[0][0])

    def all(self, query: str, *values: object) -> list[Any]:
        """Run a statement and return its rows."""
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._error(error) from error

    def insert(self, query: str, *values: object) -> int:
        """Run an INSERT and return the new row's id."""
        try:
            return self._connection.execute(query, values).lastrowid or 0
        except sqlite3.Error as error:
            raise self._error(error) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make changes that take effect together, when the block ends, or not at all."""
        self.all("BEGIN IMMEDIATE")
        try:
            yield
            self.all("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _prepare(self) -> None:
        if self._schema.exclusive:
            self.all("PRAGMA locking_mode = EXCLUSIVE")
        self.all("PRAGMA journal_mode = WAL")
        self.all(f"PRAGMA synchronous = {'FULL' if self._schema.synchronous else 'NORMAL'}")
        self.all("PRAGMA foreign_keys = ON")
        with self.transaction():
            if version := self.version:
                self._check_version(version)
                return
            for statement in self._schema.statements:
                self.all(statement)
            self.all(f"PRAGMA user_version = {self._schema.version}")

    def _check_version(self, version: int) -> None:
        if version != self._schema.version:
            raise ConfigError(
                f"{self.name} is {self._schema.what} in version {version}, but this program uses version "
                f"{self._schema.version}: use the program that wrote it, or another folder"
            )

    def _roll_back(self) -> None:
        """Take a transaction back; SQLite has done so itself after some errors."""
        with suppress(sqlite3.Error):  # the error that led here says more
            if self._connection.in_transaction:
                self._connection.rollback()

    def _error(self, error: sqlite3.Error) -> DatabaseError:
        # Closed connections and wrong statements have no code: those are mistakes of ours, and say so themselves.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE) & 0xFF  # the rest is SQLite's extended code
        if code in _FULL:
            advice = "its disk is full or failing: make room; nothing that was written before is lost"
        elif code in _LOCKED:
            advice = "another process is using it: stop that one"
        elif code in _DAMAGED:
            advice = f"it is damaged: {self._schema.if_damaged}"
        elif code in _FORBIDDEN:
            advice = "check that the folder exists and who may write to it"
        else:
            advice = "please report this"
        name = f"{self._schema.what} {self._path}" if self._path else self.name
        return DatabaseError(
            f"{name} cannot be used: {error}; {advice}",
            str(self._path) if self._path else None,
            str(error),
            can_be_deleted=self._schema.can_be_deleted,
        )
