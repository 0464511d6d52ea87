from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from fedchain.core.errors import ConfigError, DatabaseError, FormatError, HeadMismatch
from fedchain.core.ledger.records import (
    BufferClosed,
    Federation,
    Head,
    Place,
    PolicySet,
    Record,
    Seq,
    address,
    first_head,
    next_head,
)
from fedchain.ledger.mirror import NOWHERE, BlockRef, Mirror, Origin, row_of

FEDERATION = Federation(1, address("11" * 20), address("22" * 20), Head(bytes([7]) * 32))
ORIGIN = Origin(FEDERATION, "0xgenesis")


def chained(count, start=0, head=None):
    """Make rows that go on from each other, two in a block."""
    head = head or first_head(FEDERATION)
    rows = []
    for seq in range(start, start + count):
        place = Place(10 + seq // 2, f"0xblock{seq // 2}", f"0xtx{seq}", seq % 2)
        payload = PolicySet(b"a policy") if seq % 3 else BufferClosed()
        record = Record(Seq(seq), address("ab" * 20), 1000 + seq, payload, place)
        head = next_head(head, record)
        rows.append(row_of(record, place, head))
    return rows


@pytest.fixture
def mirror():
    with closing(Mirror.create(None, ORIGIN)) as one:
        yield one


def test_a_new_mirror_is_empty(mirror):
    assert (mirror.last_block, mirror.count, mirror.rows(), mirror.head(0)) == (NOWHERE, 0, [], first_head(FEDERATION))
    assert mirror.origin == ORIGIN


def test_rows_come_back_as_records_that_hash_to_the_head(mirror):
    rows = chained(5)
    mirror.replace(0, rows, BlockRef(20, "0xb"))
    assert mirror.rows() == rows
    assert mirror.rows(3) == rows[3:]
    assert mirror.of("0xtx2") == [rows[2]]
    assert (mirror.count, mirror.last_block, mirror.head(5)) == (5, BlockRef(20, "0xb"), rows[-1].head)
    assert mirror.records(Seq(2)) == [row.record() for row in rows[2:]]
    assert mirror.records(Seq(5)) == mirror.records(Seq(9)) == []
    assert mirror.blocks() == [
        (BlockRef(12, "0xblock2"), 5),
        (BlockRef(11, "0xblock1"), 4),
        (BlockRef(10, "0xblock0"), 2),
    ]


def test_replacing_keeps_what_it_is_told_to(mirror):
    rows = chained(5)
    mirror.replace(0, rows, BlockRef(20, "0xb"))
    mirror.replace(2, rows[2:4], BlockRef(21, "0xc"))
    assert (mirror.rows(), mirror.last_block) == (rows[:4], BlockRef(21, "0xc"))


def test_replacing_is_all_or_nothing(mirror):
    rows = chained(3)
    mirror.replace(0, rows, BlockRef(20, "0xb"))
    with pytest.raises(DatabaseError, match="the mirror in memory cannot be used"):
        mirror.replace(1, [rows[1], rows[1]], BlockRef(21, "0xc"))
    assert (mirror.rows(), mirror.last_block) == (rows, BlockRef(20, "0xb"))


@pytest.mark.parametrize(
    "changed", [{"time": 5}, {"payload": b""}, {"kind": 8}, {"actor": "nobody"}, {"head": bytes(32)}]
)
def test_a_changed_row_is_found_when_it_is_read(mirror, changed):
    rows = chained(5)
    mirror.replace(0, [*rows[:2], replace(rows[2], **changed), *rows[3:]], BlockRef(20, "0xb"))
    with pytest.raises(HeadMismatch, match="row 2"):
        mirror.records(Seq(0))
    assert len(mirror.rows()) == 5


def test_a_mirror_is_one_ledgers_on_one_chain(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with closing(Mirror.create(path, ORIGIN)) as one:
        one.replace(0, chained(1), BlockRef(20, "0xb"))
    with closing(Mirror.create(path, ORIGIN)) as again:
        assert again.count == 1
    other = replace(ORIGIN, federation=replace(FEDERATION, contract=address("33" * 20)))
    with pytest.raises(ConfigError, match=rf"{path}.*0x1111.*not 0x3333.*use another folder"):
        Mirror.create(path, other)
    with pytest.raises(ConfigError, match=r"0xgenesis.*0xanother.*started anew"):
        Mirror.create(path, replace(ORIGIN, genesis="0xanother"))


def test_a_mirror_can_be_opened_beside_its_daemon_and_written_by_nobody(tmp_path):
    path = tmp_path / "ledger.sqlite"
    rows = chained(4)
    with closing(Mirror.create(path, ORIGIN)) as daemon:
        daemon.replace(0, rows, BlockRef(20, "0xb"))
        with closing(Mirror.open(path)) as audit:
            assert (audit.origin, audit.last_block, audit.rows()) == (ORIGIN, BlockRef(20, "0xb"), rows)
            with pytest.raises(DatabaseError, match="readonly"):
                audit.replace(0, [], NOWHERE)


def test_what_is_no_mirror_is_a_format_error(tmp_path):
    text = tmp_path / "text"
    text.write_text("not a database, but long enough to be read as the header of one" * 9)
    newer = tmp_path / "newer"
    with closing(sqlite3.connect(newer)) as database:
        database.execute("PRAGMA user_version = 99")
    for path, why in ((text, "not a database"), (tmp_path / "missing", "unable to open"), (newer, "version 99")):
        with pytest.raises(FormatError, match=why):
            Mirror.open(path)
    with pytest.raises(DatabaseError, match="delete it"):
        Mirror.create(text, ORIGIN)
    with pytest.raises(ConfigError, match="version 99"):
        Mirror.create(newer, ORIGIN)
