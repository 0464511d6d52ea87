from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedchain.core.errors import DatabaseError
from fedchain.core.ledger.content import Content, Digest
from fedchain.core.ledger.records import Seq, UpdateSubmitted, Version
from fedchain.core.ports import Journal, JournalEntry, Step
from fedchain.node.journal import SqliteJournal


def content(number: int) -> Content:
    return Content(Digest(bytes([number]) * 32), 1000 + number)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    opened = SqliteJournal(path)
    yield opened
    opened.close()


def stored(journal: Journal, number: int, base: int = 0) -> JournalEntry:
    """Train and store an update, and return what the journal says of it."""
    journal.stored(journal.begin(Version(base)), number * 10, content(number))
    return journal.waiting()[-1]


def test_an_update_goes_from_training_to_the_ledger(journal: Journal) -> None:
    begun = journal.begin(Version(4))
    assert (begun.number, begun.step, begun.base, begun.samples, begun.seq) == (1, Step.TRAINING, 4, 0, None)
    assert journal.counts() == {"training": 1}
    assert journal.waiting() == []
    journal.stored(begun, 30, content(3))
    (waiting,) = journal.waiting()
    assert waiting == JournalEntry(1, Step.STORED, Version(4), 30, content(3), None)
    assert waiting.update == UpdateSubmitted(Version(4), 30, content(3))
    journal.included(waiting, Seq(17))
    assert journal.waiting() == []
    assert journal.included_since(17) == [JournalEntry(1, Step.INCLUDED, Version(4), 30, content(3), Seq(17))]
    assert journal.included_since(18) == []
    assert journal.counts() == {"included": 1}


def test_a_refused_update_does_not_wait_any_more(journal: Journal) -> None:
    journal.refused(stored(journal, 1), "the ledger refuses the record: NoSamples()")
    assert (journal.waiting(), journal.included_since(0), journal.counts()) == ([], [], {"refused": 1})


def test_a_training_that_was_cut_off_is_done_again_with_its_number(journal: Journal) -> None:
    assert stored(journal, 1).number == 1
    assert journal.begin(Version(1)).number == 2
    again = journal.begin(Version(3))
    assert (again.number, again.base, again.step) == (2, 3, Step.TRAINING)
    journal.stored(again, 5, content(2))
    assert journal.begin(Version(3)).number == 3


def test_updates_wait_in_order(journal: Journal) -> None:
    for number in (1, 2, 3):
        stored(journal, number)
    journal.included(journal.waiting()[1], Seq(8))
    assert [entry.number for entry in journal.waiting()] == [1, 3]
    journal.included(journal.waiting()[1], Seq(9))
    journal.included(journal.waiting()[0], Seq(10))
    assert [entry.seq for entry in journal.included_since(9)] == [10, 9]


def test_what_is_stored_is_there_after_a_restart(path: Path) -> None:
    first = SqliteJournal(path)
    journal_of_before = [stored(first, 1), stored(first, 2)]
    first.included(journal_of_before[0], Seq(5))
    first.begin(Version(7))
    first.close()
    second = SqliteJournal(path)
    assert second.counts() == {"included": 1, "stored": 1, "training": 1}
    assert second.waiting() == journal_of_before[1:]
    assert second.begin(Version(7)).number == 3
    second.close()


KILLED = """
import os, sys
from pathlib import Path
from fedchain.core.ledger.content import Content, Digest
from fedchain.core.ledger.records import Seq, Version
from fedchain.core.ports import Step
from fedchain.node.journal import SqliteJournal

def die(step):
    if step == sys.argv[2]:
        os.kill(os.getpid(), 9)

journal = SqliteJournal(Path(sys.argv[1]), after=die)
entry = journal.begin(Version(1))
journal.stored(entry, 10, Content(Digest(bytes(32)), 99))
journal.included(entry, Seq(4)) if sys.argv[2] != "refused" else journal.refused(entry, "no")
"""


@pytest.mark.parametrize("step", list(Step))
def test_each_step_is_durable_when_the_call_returns(path: Path, step: Step) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path), step], check=False)
    assert killed.returncode == -signal.SIGKILL
    after = SqliteJournal(path)
    assert after.counts() == {step: 1}
    after.close()


def test_steps_are_told_in_order(path: Path) -> None:
    steps: list[Step] = []
    journal = SqliteJournal(path, after=steps.append)
    journal.included(stored(journal, 1), Seq(3))
    journal.refused(stored(journal, 2), "no")
    journal.close()
    assert steps == [Step.TRAINING, Step.STORED, Step.INCLUDED, Step.TRAINING, Step.STORED, Step.REFUSED]


def test_a_file_that_is_no_journal(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(
        DatabaseError, match=r"journal\.sqlite cannot be used: file is not a database; .*: move it away"
    ):
        SqliteJournal(path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"journal\.sqlite cannot be used: unable to open database file"):
        SqliteJournal(tmp_path / "missing" / "journal.sqlite")
    assert not (tmp_path / "missing").exists()
