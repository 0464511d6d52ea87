from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from fedchain.core.errors import ConfigError, DatabaseError
from fedchain.system.database import Database, Schema

NOTES = Schema(
    what="the notebook",
    version=3,
    statements=("CREATE TABLE notes (n INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT",),
    if_damaged="throw it away",
    can_be_deleted=True,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.sqlite"


@contextmanager
def opened(path: Path | None, schema: Schema = NOTES, *, read_only: bool = False) -> Iterator[Database]:
    with closing(Database(path, schema, read_only=read_only)) as database:
        yield database


def texts(database: Database) -> list[str]:
    return [text for (text,) in database.all("SELECT text FROM notes ORDER BY n")]


def write(database: Database, *values: str | None) -> None:
    for text in values:
        database.insert("INSERT INTO notes (text) VALUES (?)", text)


def test_what_is_written_is_there_for_the_next_process(path: Path) -> None:
    with opened(path) as database:
        assert database.insert("INSERT INTO notes (text) VALUES (?)", "one") == 1
        assert (database.version, database.name) == (3, str(path))
    with opened(path) as database:
        assert texts(database) == ["one"]


@pytest.mark.parametrize(("synchronous", "level"), [(True, 2), (False, 1)])
def test_pragmas(path: Path, synchronous: bool, level: int) -> None:
    with opened(path, replace(NOTES, synchronous=synchronous)) as database:
        assert database.all("PRAGMA journal_mode") == [("wal",)]
        assert database.all("PRAGMA synchronous") == [(level,)]
        assert database.all("PRAGMA foreign_keys") == [(1,)]


def test_a_database_in_memory() -> None:
    with opened(None) as database:
        database.insert("INSERT INTO notes (text) VALUES ('one')")
        with pytest.raises(DatabaseError, match="the notebook in memory cannot be used: UNIQUE") as caught:
            database.insert("INSERT INTO notes (text) VALUES ('one')")
        assert caught.value.file is None


def test_a_transaction_is_all_or_nothing(path: Path) -> None:
    with opened(path) as database:
        for text in ("first", None):
            with pytest.raises(DatabaseError), database.transaction():
                write(database, "first", text)
        with pytest.raises(ZeroDivisionError), database.transaction():
            write(database, "first", str(1 / len(texts(database)[1:])))
        assert texts(database) == []
        with database.transaction():
            database.insert("INSERT INTO notes (text) VALUES ('three')")
        assert texts(database) == ["three"]


def test_another_version_is_not_touched(path: Path) -> None:
    with opened(path):
        pass
    for read_only in (True, False):
        with pytest.raises(ConfigError, match="is the notebook in version 3, but this program uses version 4"):
            Database(path, replace(NOTES, version=4), read_only=read_only)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchall() == [(3,)]


def test_a_file_can_be_read_beside_its_writer_and_not_written(path: Path) -> None:
    with opened(path) as writer, opened(path, read_only=True) as reader:
        writer.insert("INSERT INTO notes (text) VALUES ('one')")
        assert texts(reader) == ["one"]
        with pytest.raises(DatabaseError, match=r"readonly database; check that the folder exists and who may write"):
            reader.insert("INSERT INTO notes (text) VALUES ('two')")


def test_a_file_that_is_held_by_another_process(path: Path) -> None:
    with opened(path, replace(NOTES, exclusive=True)):
        with pytest.raises(DatabaseError, match=r"locked; another process is using it: stop that one") as caught:
            Database(path, NOTES)
        assert (caught.value.file, caught.value.reason) == (str(path), "database is locked")
    with opened(path):
        pass


def test_a_damaged_file_says_what_may_be_done_with_it(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(DatabaseError, match=r"notebook .*notes\.sqlite cannot be used: .*: throw it away$") as caught:
        Database(path, NOTES)
    assert caught.value.can_be_deleted


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="unable to open database file; check that the folder exists"):
        Database(tmp_path / "missing" / "notes.sqlite", NOTES)
    assert not (tmp_path / "missing").exists()


FILL = """
import resource, sys
from pathlib import Path
from fedchain.core.errors import DatabaseError
from unit.system.test_database import NOTES, Database, texts
database = Database(Path(sys.argv[1]), NOTES)
database.insert("INSERT INTO notes (text) VALUES ('before')")
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
try:
    database.insert("INSERT INTO notes (text) VALUES (?)", "x" * 100_000)
except DatabaseError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
database.insert("INSERT INTO notes (text) VALUES ('after')")
print(texts(database))
database.close()
"""


def test_a_full_disk_is_said_and_the_file_goes_on_once_there_is_room(path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", FILL, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    error, after = done.stdout.splitlines() or [done.stderr, ""]
    assert f"the notebook {path} cannot be used: " in error
    assert "its disk is full or failing: make room; nothing that was written before is lost" in error
    assert after == "['before', 'after']"
    assert done.returncode == 0
