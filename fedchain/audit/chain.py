"""A copy of the records: do its rows hash to the heads beside them, and where not?

A copy is never trusted. Its rows are hashed again, one after the other from head_0; the head stored beside each
row tells which one is damaged, out of place, or does not belong.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Final

from fedchain.audit.findings import Evidence, Finding, Findings, Rule
from fedchain.audit.formatting import place_fields, record_text
from fedchain.core.ledger.records import Federation, Head, Record, Seq, first_head, next_head

WINDOW: Final = 256
"""Rows looked ahead for the one that goes on from the last head."""


@dataclass(frozen=True, slots=True)
class CopyRow:
    """One row of a copy, as it was stored."""

    seq: int
    head: Head
    """The head after this record, as the copy has it."""
    record: Record | None
    """None where the stored words are not a record."""
    problem: str = ""
    """Why they do not."""

    def evidence(self) -> dict[str, str | int]:
        """Format the row for a doubter."""
        found: dict[str, str | int] = {"seq": self.seq, "stored_head": f"0x{self.head.hex()}"}
        if self.record is not None:
            found |= {"row": record_text(self.record), **place_fields(self.record)}
        return found


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of the records."""

    name: str
    """The file, for messages."""
    rows: Sequence[CopyRow]
    """In the order in which the copy would hand them out."""
    through: int | None = None
    """The block up to which the copy says that it is complete; None: all of them."""


@dataclass(frozen=True, slots=True)
class Chain:
    """What the heads make of a copy."""

    records: tuple[Record, ...]
    """The records in the order of their heads, up to the first that is changed or left out."""
    head: Head
    """The head after `records`."""
    broken: bool
    """Whether a record is changed or left out, so that `records` ends early."""
    faults: tuple[Finding, ...]


def follow(federation: Federation, copy: Copy) -> Chain:
    """Follow the heads from head_0 through a copy and name every row at which they break."""
    walk = _Walk(federation, copy)
    walk.run()
    return Chain(tuple(walk.records), walk.proven, walk.broken, tuple(walk.findings.found))


class _Walk:
    """Takes rows in the order of their heads; rows that come too early are put aside until their turn."""

    def __init__(self, federation: Federation, copy: Copy) -> None:
        self.copy = copy
        self.head = first_head(federation)
        self.proven = self.head
        self.records: list[Record] = []
        self.broken = False
        self.order: list[int] = []
        """Positions of the rows that the heads lead to."""
        self.aside: list[int] = []
        self.findings = Findings()

    def run(self) -> None:
        """Walk to the end, and say which rows are out of place."""
        rows, at = self.copy.rows, 0
        while True:
            near = [*self.aside, *range(at, min(at + WINDOW, len(rows)))]
            found = next((index for index in near if self._goes_on(self.head, index)), None)
            if found is None and at == len(rows):
                break
            if found is None:
                self._break(at)
                at += 1
            elif found < at:
                self.aside.remove(found)
                self._take(found, rows[found].head)
            else:
                self.aside += range(at, found)
                self._take(found, rows[found].head)
                at = found + 1
        pairs = differences(self.order, range(len(rows)))
        report_order(self.copy, [(i, j) for i, j in pairs if i is not None and j is not None], self.findings)
        for added in (j for i, j in pairs if i is None and j is not None):
            report_added(self.copy, rows[added], "a row to which no head leads", self.findings)

    def _goes_on(self, head: Head, index: int) -> bool:
        row = self.copy.rows[index]
        return row.record is not None and next_head(head, row.record) == row.head

    def _take(self, index: int, head: Head) -> None:
        record = self.copy.rows[index].record
        self.order.append(index)
        self.head = head
        if not self.broken and record is not None:
            self.records.append(replace(record, seq=Seq(len(self.records))))
            self.proven = head

    def _break(self, at: int) -> None:
        """Blame the row at which no row goes on, and go on from the head that it claims."""
        rows = self.copy.rows
        row, due = rows[at], rows[at - 1].seq + 1 if at else 0
        evidence: Evidence = row.evidence() | {"head_before": f"0x{self.head.hex()}", "file": self.copy.name}
        hashed = None if row.record is None else next_head(self.head, row.record)
        if hashed is not None and at + 1 < len(rows) and self._goes_on(hashed, at + 1):
            subject, stated = f"record {row.seq}", f"the stored head 0x{row.head.hex()}"
            self.findings.find(
                Rule.RECORD_HEAD, subject, stated, f"0x{hashed.hex()}, to which its row hashes", evidence
            )
            self._take(at, hashed)
            return
        self.broken = True
        if row.seq > due:
            subject = f"record {due}" if row.seq == due + 1 else f"records {due} to {row.seq - 1}"
            self.findings.find(Rule.RECORD_MISSING, subject, "no row", "one row for every record", evidence)
        elif hashed is None:
            stated = f"words that are not a record: {row.problem}"
            self.findings.find(Rule.RECORD_CHANGED, f"record {row.seq}", stated, "a record", evidence)
        else:
            stated = f"a row that hashes to 0x{hashed.hex()}"
            expected = (
                f"one that hashes to its head 0x{row.head.hex()}; "
                "it or the one before it was changed, or one between left out"
            )
            self.findings.find(Rule.RECORD_CHANGED, f"record {row.seq}", stated, expected, evidence)
        self._take(at, row.head)


def differences(ours: Sequence[Hashable], theirs: Sequence[Hashable]) -> list[tuple[int | None, int | None]]:
    """Align two sequences and return the places where they differ, as pairs of positions.

    (i, j) with equal items: moved from i to j. (i, j) with unequal items: changed. (i, None): left out.
    (None, j): added. Sorted by place.
    """
    start = next((at for at, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), None)
    if start is None:
        start = min(len(ours), len(theirs))
    blocks = [
        (list(range(start + i1, start + i2)), list(range(start + j1, start + j2)))
        for tag, i1, i2, j1, j2 in SequenceMatcher(None, ours[start:], theirs[start:], autojunk=False).get_opcodes()
        if tag != "equal"
    ]
    arrived = {theirs[j]: j for _, right in blocks for j in right}
    moved = {i: j for left, _ in blocks for i in left if (j := arrived.pop(ours[i], None)) is not None}
    pairs: list[tuple[int | None, int | None]] = list(moved.items())
    taken = set(moved.values())
    for left, right in blocks:
        gone, come = [i for i in left if i not in moved], [j for j in right if j not in taken]
        pairs += zip_longest(gone, come)
    return sorted(pairs, key=lambda pair: min(place for place in pair if place is not None))


def report_order(copy: Copy, moved: Sequence[tuple[int, int]], findings: Findings) -> None:
    """Report rows that stand elsewhere: pairs of a record's seq and its place in the copy."""
    if not moved:
        return
    places = ", ".join(f"record {seq} at place {place}" for seq, place in moved)
    subject = "record " + ", ".join(str(seq) for seq, _ in moved)
    first = copy.rows[moved[0][1]].evidence()
    findings.find(
        Rule.RECORD_ORDER, subject, f"rows out of order: {places}", "the order of the ledger", first, file=copy.name
    )


def report_added(copy: Copy, row: CopyRow, stated: str, findings: Findings) -> None:
    """Report a row that is not a record."""
    findings.find(Rule.RECORD_ADDED, f"record {row.seq}", stated, "no such row", row.evidence(), file=copy.name)
