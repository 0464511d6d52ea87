"""The journal: what a node has begun and how far it came, so that a kill at any point loses nothing.

    training ─► stored ─► included
                     └──► refused

A training that was cut off is done again with the same number, so with the same seed. A stored update is
submitted until it is in the ledger; the ledger's outbox sees to it that this happens once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from fedchain.core.errors import ConfigError
from fedchain.core.ledger.content import Content, Digest
from fedchain.core.ledger.records import Seq, UpdateSubmitted, Version


class Step(StrEnum):
    """How far an update came."""

    TRAINING = "training"
    STORED = "stored"
    INCLUDED = "included"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One update of this site."""

    number: int
    """Counts the site's trainings from 1; the seed follows from it."""
    step: Step
    base: Version
    samples: int
    content: Content
    seq: Seq | None

    @property
    def update(self) -> UpdateSubmitted:
        """The record's payload."""
        return UpdateSubmitted(self.base, self.samples, self.content)


_SCHEMA = """
CREATE TABLE IF NOT EXISTS updates (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    step TEXT NOT NULL, base INTEGER NOT NULL,
    samples INTEGER NOT NULL DEFAULT 0, digest BLOB NOT NULL DEFAULT x'', size INTEGER NOT NULL DEFAULT 0,
    seq INTEGER, reason TEXT
) STRICT
"""


def _ignore(_step: Step) -> None:
    """Tell nobody."""


class Journal:
    """A site's updates in one SQLite file; each call is durable when it returns."""

    def __init__(self, path: Path, after: Callable[[Step], None] = _ignore) -> None:
        """Open or create the file; `after` hears of every step once it is durable. Raises ConfigError."""
        self._after = after
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
        except sqlite3.Error as error:
            raise ConfigError(f"{path}: {error}; look at the folder and its permissions") from error
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute(_SCHEMA)
        except sqlite3.Error as error:
            self._db.close()
            raise ConfigError(f"{path}: {error}; move the file away: the node then begins a new journal") from error

    def begin(self, base: Version) -> JournalEntry:
        """Begin a training on a base, or take up the one that was cut off."""
        row = self._db.execute("SELECT number FROM updates WHERE step = ?", (Step.TRAINING,)).fetchone()
        if row is None:
            number = self._db.execute("INSERT INTO updates (step, base) VALUES (?, ?)", (Step.TRAINING, base)).lastrowid
        else:
            number = row[0]
            self._db.execute("UPDATE updates SET base = ? WHERE number = ?", (base, number))
        self._after(Step.TRAINING)
        return self._entries("number = ?", number)[0]

    def stored(self, entry: JournalEntry, samples: int, content: Content) -> None:
        """Note that the update is in the store: from here on it will be submitted."""
        self._db.execute(
            "UPDATE updates SET step = ?, samples = ?, digest = ?, size = ? WHERE number = ?",
            (Step.STORED, samples, content.digest, content.size, entry.number),
        )
        self._after(Step.STORED)

    def included(self, entry: JournalEntry, seq: Seq) -> None:
        """Note that the update is in the ledger."""
        self._db.execute("UPDATE updates SET step = ?, seq = ? WHERE number = ?", (Step.INCLUDED, seq, entry.number))
        self._after(Step.INCLUDED)

    def refused(self, entry: JournalEntry, reason: str) -> None:
        """Note that the ledger's rules refuse the update."""
        self._db.execute(
            "UPDATE updates SET step = ?, reason = ? WHERE number = ?", (Step.REFUSED, reason, entry.number)
        )
        self._after(Step.REFUSED)

    def waiting(self) -> list[JournalEntry]:
        """List the stored updates that are not in the ledger yet, oldest first."""
        return self._entries("step = ?", Step.STORED)

    def included_since(self, seq: int) -> list[JournalEntry]:
        """List the updates that are in the ledger at `seq` or later."""
        return self._entries("seq >= ?", seq)

    def counts(self) -> dict[str, int]:
        """Count the updates at each step."""
        return dict(self._db.execute("SELECT step, count(*) FROM updates GROUP BY step"))

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _entries(self, where: str, value: object) -> list[JournalEntry]:
        rows = self._db.execute(
            f"SELECT number, step, base, samples, digest, size, seq FROM updates WHERE {where} ORDER BY number",  # noqa: S608 - `where` is ours
            (value,),
        )
        return [
            JournalEntry(number, Step(step), Version(base), samples, Content(Digest(digest), size), seq)
            for number, step, base, samples, digest, size, seq in rows
        ]
