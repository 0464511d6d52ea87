"""The journal (core/ports.py) in SQLite: what a node has begun, so that a kill at any point loses nothing.

    training ─► stored ─► included
                     └──► refused

A training that was cut off is done again with the same number, so with the same seed. A stored update is
submitted until it is in the ledger; the ledger's outbox sees to it that this happens once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from fedchain.core.ledger.content import Content, Digest
from fedchain.core.ledger.records import Seq, Version
from fedchain.core.ports import JournalEntry, Step
from fedchain.system.database import Database, Schema

SCHEMA: Final = Schema(
    what="the journal",
    version=1,
    statements=(
        """CREATE TABLE IF NOT EXISTS updates (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            step TEXT NOT NULL, base INTEGER NOT NULL,
            samples INTEGER NOT NULL DEFAULT 0, digest BLOB NOT NULL DEFAULT x'', size INTEGER NOT NULL DEFAULT 0,
            seq INTEGER, reason TEXT) STRICT""",
    ),
    if_damaged="move it away: the node then begins a new one, and what waited for the ledger is not submitted",
)


def _ignore(_step: Step) -> None:
    """Tell nobody."""


class SqliteJournal:
    """A site's updates in one file, or in memory."""

    def __init__(self, path: Path | None, after: Callable[[Step], None] = _ignore) -> None:
        """Open or create the file; `after` hears of every step once it is durable. Raises DatabaseError."""
        self._after = after
        self._db = Database(path, SCHEMA)

    def begin(self, base: Version) -> JournalEntry:
        """Begin a training on a base, or take up the one that was cut off."""
        cut_off = self._db.all("SELECT number FROM updates WHERE step = ?", Step.TRAINING)
        if cut_off:
            number = cut_off[0][0]
            self._db.all("UPDATE updates SET base = ? WHERE number = ?", base, number)
        else:
            number = self._db.insert("INSERT INTO updates (step, base) VALUES (?, ?)", Step.TRAINING, base)
        self._after(Step.TRAINING)
        return self._entries("number = ?", number)[0]

    def stored(self, entry: JournalEntry, samples: int, content: Content) -> None:
        """Note that the update is in the store: from here on it will be submitted."""
        query = "UPDATE updates SET step = ?, samples = ?, digest = ?, size = ? WHERE number = ?"
        self._db.all(query, Step.STORED, samples, content.digest, content.size, entry.number)
        self._after(Step.STORED)

    def included(self, entry: JournalEntry, seq: Seq) -> None:
        """Note that the update is in the ledger."""
        self._db.all("UPDATE updates SET step = ?, seq = ? WHERE number = ?", Step.INCLUDED, seq, entry.number)
        self._after(Step.INCLUDED)

    def refused(self, entry: JournalEntry, reason: str) -> None:
        """Note that the ledger's rules refuse the update."""
        self._db.all("UPDATE updates SET step = ?, reason = ? WHERE number = ?", Step.REFUSED, reason, entry.number)
        self._after(Step.REFUSED)

    def waiting(self) -> list[JournalEntry]:
        """List the stored updates that are not in the ledger yet, oldest first."""
        return self._entries("step = ?", Step.STORED)

    def included_since(self, seq: int) -> list[JournalEntry]:
        """List the updates that are in the ledger at `seq` or later."""
        return self._entries("seq >= ?", seq)

    def counts(self) -> dict[str, int]:
        """Count the updates at each step."""
        return dict(self._db.all("SELECT step, count(*) FROM updates GROUP BY step"))

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _entries(self, where: str, value: object) -> list[JournalEntry]:
        rows = self._db.all(
            f"SELECT number, step, base, samples, digest, size, seq FROM updates WHERE {where} ORDER BY number",  # noqa: S608 - `where` is ours
            value,
        )
        return [
            JournalEntry(number, Step(step), Version(base), samples, Content(Digest(digest), size), seq)
            for number, step, base, samples, digest, size, seq in rows
        ]
