"""The outbox: what a key means to send, durable before anything is sent (SQLite).

An intent is one call under one key; an attempt is one signed transaction for it. An intent has several attempts
when fees were raised (same nonce) or when somebody else used the nonce up (next nonce). The file is held by one
process at a time: two that number transactions by themselves would take each other's nonces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fedchain.core.errors import ConfigError, DatabaseError
from fedchain.core.ledger.records import Address
from fedchain.ledger.fees import Fees
from fedchain.system.database import Database, Schema

SCHEMA: Final = Schema(
    what="the outbox",
    version=1,
    statements=(
        "CREATE TABLE IF NOT EXISTS owner (chain_id INTEGER NOT NULL, address TEXT NOT NULL)",
        """CREATE TABLE IF NOT EXISTS intents (
            key TEXT PRIMARY KEY, data BLOB NOT NULL, gas INTEGER NOT NULL, done INTEGER NOT NULL DEFAULT 0)""",
        """CREATE TABLE IF NOT EXISTS attempts (
            hash TEXT PRIMARY KEY, key TEXT NOT NULL REFERENCES intents ON DELETE CASCADE,
            nonce INTEGER NOT NULL, tip INTEGER NOT NULL, cap INTEGER NOT NULL, raw BLOB NOT NULL)""",
        "CREATE INDEX IF NOT EXISTS by_key ON attempts (key)",
        "CREATE INDEX IF NOT EXISTS by_nonce ON attempts (nonce)",
    ),
    if_damaged="move it away once the chain has all of this key's transactions; what was not sent is lost",
    exclusive=True,
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
        self._finished: list[str] = []
        try:
            self._database = Database(path, SCHEMA)
        except DatabaseError as error:
            if "locked" in error.reason:
                raise ConfigError(f"{path} is in use: another process sends with the key {owner}") from error
            raise
        try:
            self._claim(chain_id, owner)
        except (ConfigError, DatabaseError):
            self._database.close()
            raise

    def close(self) -> None:
        """Close the file."""
        with self._database.transaction():
            self._write_finished()
        self._database.close()

    def intent(self, key: str) -> Intent | None:
        """Return the intent under a key."""
        found = self._database.all("SELECT key, data, gas FROM intents WHERE key = ?", key)
        return Intent(*found[0]) if found else None

    def attempts(self, key: str) -> list[Attempt]:
        """Return an intent's transactions, oldest first."""
        query = "SELECT hash, nonce, tip, cap, raw FROM attempts WHERE key = ? ORDER BY rowid"
        return [_attempt(found) for found in self._database.all(query, key)]

    def unfinished(self) -> list[Intent]:
        """Return the intents that are not known to be on the chain, by nonce."""
        query = """
            SELECT key, data, gas FROM intents JOIN attempts USING (key)
            WHERE NOT done GROUP BY key ORDER BY max(nonce)"""
        return [Intent(*found) for found in self._database.all(query)]

    def newest(self, nonce: int) -> list[Attempt]:
        """Return the newest transaction of every nonce from `nonce` on, in their order."""
        query = (
            "SELECT hash, nonce, tip, cap, raw, max(rowid) FROM attempts WHERE nonce >= ? GROUP BY nonce ORDER BY nonce"
        )
        return [_attempt(found[:5]) for found in self._database.all(query, nonce)]

    def next_nonce(self) -> int:
        """Return the nonce after the last one that was given to a transaction."""
        return int(self._database.all("SELECT coalesce(max(nonce) + 1, 0) FROM attempts")[0][0])

    def store(self, intent: Intent, attempt: Attempt) -> None:
        """Make an intent with a new transaction durable, before it is sent."""
        values = (attempt.hash, intent.key, attempt.nonce, attempt.fees.tip, attempt.fees.cap, attempt.raw)
        with self._database.transaction():
            self._write_finished()
            self._database.all(
                "INSERT OR IGNORE INTO intents (key, data, gas) VALUES (?, ?, ?)", intent.key, intent.data, intent.gas
            )
            self._database.all(
                "INSERT OR IGNORE INTO attempts (hash, key, nonce, tip, cap, raw) VALUES (?, ?, ?, ?, ?, ?)", *values
            )

    def finish(self, key: str) -> None:
        """Note that an intent is on the chain; written with the next one, since a crash costs one more look only."""
        self._finished.append(key)

    def forget(self, key: str) -> None:
        """Forget an intent that has had no effect, and will have none: its key is free."""
        self._database.all("DELETE FROM intents WHERE key = ?", key)

    def _write_finished(self) -> None:
        finished, self._finished = self._finished, []
        for key in finished:
            self._database.all("UPDATE intents SET done = 1 WHERE key = ?", key)

    def _claim(self, chain_id: int, owner: Address) -> None:
        """Make the file this key's on this chain; raises ConfigError when it is another's."""
        with self._database.transaction():
            if not self._database.all("SELECT 1 FROM owner"):
                self._database.all("INSERT INTO owner VALUES (?, ?)", chain_id, owner)
        found = self._database.all("SELECT chain_id, address FROM owner")[0]
        if found != (chain_id, owner):
            raise ConfigError(
                f"{self._database.name} is for the key {found[1]} on chain {found[0]}, not {owner} on {chain_id}"
            )


def _attempt(values: Sequence[Any]) -> Attempt:
    transaction, nonce, tip, cap, raw = values
    return Attempt(transaction, nonce, Fees(tip, cap), raw)
