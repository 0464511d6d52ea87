"""The outbox: what a key means to send, durable before anything is sent (SQLite).

An intent is one call under one key; an attempt is one signed transaction for it. An intent has several attempts
when fees were raised (same nonce) or when somebody else used the nonce up (next nonce). The file is held by one
process at a time: two that number transactions by themselves would take each other's nonces.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fedchain.core.errors import ConfigError, LedgerError
from fedchain.core.ledger.records import Address
from fedchain.ledger.fees import Fees

_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS owner (chain_id INTEGER NOT NULL, address TEXT NOT NULL)",
    """CREATE TABLE IF NOT EXISTS intents (
        key TEXT PRIMARY KEY, data BLOB NOT NULL, gas INTEGER NOT NULL, done INTEGER NOT NULL DEFAULT 0)""",
    """CREATE TABLE IF NOT EXISTS attempts (
        hash TEXT PRIMARY KEY, key TEXT NOT NULL REFERENCES intents ON DELETE CASCADE,
        nonce INTEGER NOT NULL, tip INTEGER NOT NULL, cap INTEGER NOT NULL, raw BLOB NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS by_key ON attempts (key)",
    "CREATE INDEX IF NOT EXISTS by_nonce ON attempts (nonce)",
)


@dataclass(frozen=True, slots=True)
class Intent:
    """A call that is to have one effect."""

    key: str
    data: bytes
    """Call data."""
    gas: int
    """Gas limit."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A signed transaction."""

    hash: str
    nonce: int
    fees: Fees
    raw: bytes


class Outbox:
    """One key's intents and attempts; without a path they live in memory."""

    def __init__(self, path: Path | None, chain_id: int, owner: Address) -> None:
        self._name = str(path or "the outbox in memory")
        self._finished: list[str] = []
        self._database = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False, timeout=0.2)
        try:
            self._prepare(chain_id, owner)
        except LedgerError:
            self._database.close()
            raise

    def close(self) -> None:
        """Close the file."""
        with self._change():
            self._write_finished()
        self._database.close()

    def intent(self, key: str) -> Intent | None:
        """Return the intent under a key."""
        found = self._all("SELECT key, data, gas FROM intents WHERE key = ?", key)
        return Intent(*found[0]) if found else None

    def attempts(self, key: str) -> list[Attempt]:
        """Return an intent's transactions, oldest first."""
        query = "SELECT hash, nonce, tip, cap, raw FROM attempts WHERE key = ? ORDER BY rowid"
        return [_attempt(found) for found in self._all(query, key)]

    def unfinished(self) -> list[Intent]:
        """Return the intents that are not known to be on the chain, by nonce."""
        query = """
            SELECT key, data, gas FROM intents JOIN attempts USING (key)
            WHERE NOT done GROUP BY key ORDER BY max(nonce)"""
        return [Intent(*found) for found in self._all(query)]

    def newest(self, nonce: int) -> list[Attempt]:
        """Return the newest transaction of every nonce from `nonce` on, in their order."""
        query = (
            "SELECT hash, nonce, tip, cap, raw, max(rowid) FROM attempts WHERE nonce >= ? GROUP BY nonce ORDER BY nonce"
        )
        return [_attempt(found[:5]) for found in self._all(query, nonce)]

    def next_nonce(self) -> int:
        """Return the nonce after the last one that was given to a transaction."""
        return int(self._all("SELECT coalesce(max(nonce) + 1, 0) FROM attempts")[0][0])

    def store(self, intent: Intent, attempt: Attempt) -> None:
        """Make an intent with a new transaction durable, before it is sent."""
        values = (attempt.hash, intent.key, attempt.nonce, attempt.fees.tip, attempt.fees.cap, attempt.raw)
        with self._change():
            self._write_finished()
            self._all(
                "INSERT OR IGNORE INTO intents (key, data, gas) VALUES (?, ?, ?)", intent.key, intent.data, intent.gas
            )
            self._all(
                "INSERT OR IGNORE INTO attempts (hash, key, nonce, tip, cap, raw) VALUES (?, ?, ?, ?, ?, ?)", *values
            )

    def finish(self, key: str) -> None:
        """Note that an intent is on the chain; written with the next one, since a crash costs one more look only."""
        self._finished.append(key)

    def forget(self, key: str) -> None:
        """Forget an intent that has had no effect, and will have none: its key is free."""
        self._all("DELETE FROM intents WHERE key = ?", key)

    def _write_finished(self) -> None:
        finished, self._finished = self._finished, []
        for key in finished:
            self._all("UPDATE intents SET done = 1 WHERE key = ?", key)

    def _prepare(self, chain_id: int, owner: Address) -> None:
        try:
            self._all("PRAGMA locking_mode = EXCLUSIVE")
            self._all("PRAGMA journal_mode = WAL")
            self._all("PRAGMA synchronous = FULL")
            self._all("PRAGMA foreign_keys = ON")
            with self._change():
                for statement in _SCHEMA:
                    self._all(statement)
                if not self._all("SELECT 1 FROM owner"):
                    self._all("INSERT INTO owner VALUES (?, ?)", chain_id, owner)
        except LedgerError as error:
            if isinstance(error.__cause__, sqlite3.OperationalError) and "locked" in str(error.__cause__):
                raise ConfigError(f"{self._name} is in use: another process sends with the key {owner}") from error
            raise
        found = self._all("SELECT chain_id, address FROM owner")[0]
        if found != (chain_id, owner):
            raise ConfigError(f"{self._name} is for the key {found[1]} on chain {found[0]}, not {owner} on {chain_id}")

    @contextmanager
    def _change(self) -> Iterator[None]:
        self._all("BEGIN IMMEDIATE")
        try:
            yield
            self._all("COMMIT")
        except LedgerError:
            self._database.rollback()
            raise

    def _all(self, query: str, *values: object) -> list[Any]:
        try:
            return self._database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise LedgerError(
                f"{self._name} cannot be used: {error}; see whether its disk is full or damaged"
            ) from error


def _attempt(values: Sequence[Any]) -> Attempt:
    transaction, nonce, tip, cap, raw = values
    return Attempt(transaction, nonce, Fees(tip, cap), raw)
