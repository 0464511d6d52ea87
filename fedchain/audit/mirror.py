"""A daemon's mirror file, opened for an audit: every row as it was stored, nothing believed."""

from __future__ import annotations

from pathlib import Path

from fedchain.audit.chain import Copy, CopyRow
from fedchain.core.errors import FormatError
from fedchain.core.ledger.records import Federation, Head, next_head
from fedchain.ledger import mirror


def read_mirror(path: Path) -> tuple[Federation, Copy]:
    """Read a mirror; raises FormatError, LedgerError when the file is none."""
    opened = mirror.Mirror.open(path)
    try:
        through = opened.last_block.number
        return opened.origin.federation, Copy(str(path), tuple(map(_row, opened.rows())), through)
    finally:
        opened.close()


def _row(stored: mirror.MirrorRow) -> CopyRow:
    kept: object = stored.head  # SQLite keeps what it is given, whatever the column's type
    head = Head(kept if isinstance(kept, bytes) else b"")
    try:
        record = stored.record()
        next_head(head, record)
    except (FormatError, AttributeError, TypeError, OverflowError) as error:
        return CopyRow(stored.seq, head, None, str(error))
    return CopyRow(stored.seq, head, record)
