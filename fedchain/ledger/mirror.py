"""The local copy of a ledger's records (SQLite): it survives nodes that drop old logs, and it can be audited.

A row keeps a record's payload as it came and the head after it, so that a changed or missing row shows without
any other source. The file is `records` in seq order and one row of `ledger`: what head_0 binds, and the block
up to which the copy is complete. Whoever opens a mirror to audit it trusts neither rows nor heads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fedchain.core.errors import ConfigError, DatabaseError, FormatError, HeadMismatch
from fedchain.core.ledger.records import (
    Federation,
    Head,
    Place,
    Record,
    Seq,
    address,
    decode_payload,
    first_head,
    next_head,
)
from fedchain.system.database import Database, Schema

SCHEMA: Final = Schema(
    what="the mirror",
    version=2,
    statements=(
        """CREATE TABLE IF NOT EXISTS ledger (
            chain_id INTEGER NOT NULL, contract TEXT NOT NULL,
            predecessor TEXT NOT NULL, predecessor_head BLOB NOT NULL,
            genesis TEXT NOT NULL,
            block INTEGER NOT NULL, block_hash TEXT NOT NULL)""",
        """CREATE TABLE IF NOT EXISTS records (
            seq INTEGER PRIMARY KEY, kind INTEGER NOT NULL, actor TEXT NOT NULL, time INTEGER NOT NULL,
            payload BLOB NOT NULL,
            block INTEGER NOT NULL, block_hash TEXT NOT NULL, tx TEXT NOT NULL, log_index INTEGER NOT NULL,
            head BLOB NOT NULL)""",
        "CREATE INDEX IF NOT EXISTS by_transaction ON records (tx)",
    ),
    if_damaged="delete it, it is read anew from the chain",
    can_be_deleted=True,
    synchronous=False,  # what a power cut takes back is read again
)


@dataclass(frozen=True, slots=True)
class MirrorRow:
    """One record as the mirror keeps it; nothing in it is checked."""

    seq: int
    kind: int
    actor: str
    time: int
    payload: bytes
    """The payload's encoding (core/ledger/abi.py)."""
    place: Place
    head: Head
    """The ledger's head after this record, as the mirror says."""

    def record(self) -> Record:
        """Read the row as a record; raises FormatError when it encodes none."""
        try:
            payload = decode_payload(self.kind, self.payload)
            return Record(Seq(self.seq), address(self.actor), self.time, payload, self.place)
        except (TypeError, AttributeError) as error:
            raise FormatError(f"row {self.seq} of the mirror has a column of another type: {error}") from error


def row_of(record: Record, place: Place, head: Head) -> MirrorRow:
    """Encode a record as a row; `head` is the ledger's head after it."""
    payload = record.payload.encoding.encode(record.payload)
    return MirrorRow(record.seq, record.kind, record.actor, record.time, payload, place, head)


@dataclass(frozen=True, slots=True)
class BlockRef:
    """A block, as far as the mirror wants to know it again."""

    number: int
    hash: str


NOWHERE: Final = BlockRef(-1, "")
"""The block before the first one."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a mirror is a copy of."""

    federation: Federation
    genesis: str
    """Hash of the chain's block 0: a development chain begun anew keeps chain id and addresses, but not this."""


class Mirror:
    """A ledger's records in a file, or in memory.

    More than 12 methods because each is one question that reader or audit asks of the copy, with its SQL.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.name = database.name
        """The file, for messages."""

    @classmethod
    def create(cls, path: Path | None, origin: Origin) -> Mirror:
        """Open a ledger's mirror, or make an empty one; without a path it lives in memory.

        Raises ConfigError when the file is another ledger's, DatabaseError when it is damaged.
        """
        mirror = cls(Database(path, SCHEMA))
        try:
            mirror._prepare(origin)
        except (ConfigError, DatabaseError):
            mirror.close()
            raise
        return mirror

    @classmethod
    def open(cls, path: Path) -> Mirror:
        """Open a mirror for reading and check nothing; raises FormatError when the file is not one."""
        try:
            return cls(Database(path, SCHEMA, read_only=True))
        except (ConfigError, DatabaseError) as error:
            raise FormatError(f"{path} is not a mirror of a ledger: {error}") from error

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @property
    def origin(self) -> Origin:
        """What this is a copy of."""
        chain_id, contract, predecessor, head, genesis = self._database.all(
            "SELECT chain_id, contract, predecessor, predecessor_head, genesis FROM ledger"
        )[0]
        return Origin(Federation(chain_id, address(contract), address(predecessor), Head(head)), genesis)

    @property
    def last_block(self) -> BlockRef:
        """The block up to which the copy is complete; `NOWHERE`, or a block without hash, before anything was read."""
        return BlockRef(*self._database.all("SELECT block, block_hash FROM ledger")[0])

    @property
    def count(self) -> int:
        """How many records there are."""
        return int(self._database.all("SELECT coalesce(max(seq) + 1, 0) FROM records")[0][0])

    def head(self, count: int) -> Head:
        """Return the head after the first `count` records, as the mirror says; raises HeadMismatch without one."""
        if not count:
            return first_head(self.origin.federation)
        found = self._database.all("SELECT head FROM records WHERE seq = ?", count - 1)
        if not found or not isinstance(found[0][0], bytes):
            raise HeadMismatch(f"{self.name} has no head after record {count - 1}: the file is damaged")
        return Head(found[0][0])

    def rows(self, start: int = 0) -> list[MirrorRow]:
        """Return the rows from seq `start` on, in order."""
        return list(map(_row, self._database.all("SELECT * FROM records WHERE seq >= ? ORDER BY seq", start)))

    def records(self, start: Seq) -> list[Record]:
        """Return the records from seq `start` on; raises HeadMismatch for a row that does not go on from the last."""
        if start >= self.count:
            return []
        head = self.head(start)
        records = []
        for seq, row in enumerate(self.rows(start), start):
            try:
                record = row.record()
                head = next_head(head, record)
            except (FormatError, TypeError, OverflowError) as error:
                raise HeadMismatch(f"row {seq} of {self.name} is not a record: {error}") from error
            if (seq, head) != (row.seq, row.head):
                raise HeadMismatch(f"row {seq} of {self.name} was changed or left out: it does not hash to its head")
            records.append(record)
        return records

    def of(self, transaction: str) -> list[MirrorRow]:
        """Return the rows that a transaction made."""
        return list(map(_row, self._database.all("SELECT * FROM records WHERE tx = ? ORDER BY seq", transaction)))

    def blocks(self) -> list[tuple[BlockRef, int]]:
        """Return the blocks that hold records, newest first, each with how many records there are up to it."""
        query = "SELECT block, block_hash, max(seq) + 1 FROM records GROUP BY block, block_hash ORDER BY 3 DESC"
        return [(BlockRef(number, block_hash), count) for number, block_hash, count in self._database.all(query)]

    def begin(self, deployment_block: int) -> None:
        """Say that no record is looked for before a block."""
        self._database.all("UPDATE ledger SET block = ?", deployment_block - 1)

    def replace(self, keep: int, rows: Iterable[MirrorRow], through: BlockRef) -> None:
        """Keep the first `keep` records, put `rows` behind them, complete up to a block: all or nothing."""
        with self._database.transaction():
            self._database.all("DELETE FROM records WHERE seq >= ?", keep)
            for row in rows:
                self._database.all("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", *_values(row))
            self._database.all("UPDATE ledger SET block = ?, block_hash = ?", through.number, through.hash)

    def _prepare(self, origin: Origin) -> None:
        if not self._database.all("SELECT 1 FROM ledger"):
            one = origin.federation
            values = (one.chain_id, one.contract, one.predecessor, one.predecessor_head, origin.genesis)
            self._database.all("INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?, '')", *values, NOWHERE.number)
        found = self.origin
        if found.federation != origin.federation:
            was, now = found.federation, origin.federation
            raise ConfigError(
                f"{self.name} mirrors the ledger {was.contract} on chain {was.chain_id}, not {now.contract} "
                f"on chain {now.chain_id}: use another folder"
            )
        if found.genesis != origin.genesis:
            raise ConfigError(
                f"{self.name} mirrors chain {origin.federation.chain_id} as it began with block {found.genesis}, "
                f"but this one began with {origin.genesis}: the chain was started anew, use another folder"
            )


def _row(values: Sequence[Any]) -> MirrorRow:
    seq, kind, actor, time, payload, block, block_hash, transaction, log_index, head = values
    return MirrorRow(seq, kind, actor, time, payload, Place(block, block_hash, transaction, log_index), Head(head))


def _values(row: MirrorRow) -> tuple[object, ...]:
    place = row.place
    where = (place.block, place.block_hash, place.transaction, place.log_index)
    return (row.seq, row.kind, row.actor, row.time, row.payload, *where, row.head)
