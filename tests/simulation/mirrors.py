"""A simulated chain as an endpoint shows it: records with places, and a daemon's mirror of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from fedchain.core.ledger.records import Head, Place, Record, Seq, first_head, next_head
from fedchain.ledger.memory import MemoryChain, MemoryLedger
from fedchain.ledger.mirror import BlockRef, Mirror, Origin, row_of


def mined(records: Sequence[Record]) -> list[Record]:
    """Give every record a place: one block and one transaction each."""
    return [
        replace(record, place=Place(100 + record.seq, f"0xb{record.seq:063x}", f"0x7{record.seq:063x}", 0))
        for record in records
    ]


class MinedLedger(MemoryLedger):
    """A memory ledger whose records have places."""

    def __init__(self, chain: MemoryChain) -> None:
        super().__init__(chain, None)

    async def records(self, start: Seq = Seq(0), after: Head | None = None) -> Sequence[Record]:
        del after
        return mined(self._chain.records)[start:]


def save_mirror(path: Path, chain: MemoryChain) -> Path:
    """Write the mirror that a daemon on this chain would have."""
    head, rows = first_head(chain.federation), []
    for record in mined(chain.records):
        head = next_head(head, record)
        assert record.place is not None
        rows.append(row_of(record, record.place, head))
    with closing(Mirror.create(path, Origin(chain.federation, "0x00"))) as mirror:
        mirror.replace(0, rows, BlockRef(100 + len(rows), "0x01"))
    return path


def damage(path: Path, *statements: str) -> None:
    """Run SQL on a mirror, as a thief would."""
    with closing(sqlite3.connect(path)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()
