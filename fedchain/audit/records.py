"""The records that an audit judges: from the ledger, from a copy, or both held against each other."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from fedchain.audit.chain import Copy, CopyRow, differences, follow, report_added, report_order
from fedchain.audit.findings import Findings, Rule
from fedchain.audit.formatting import place_fields, record_evidence, record_fields, record_text
from fedchain.core.errors import HeadMismatch, LedgerUnreachable
from fedchain.core.ledger.records import Federation, Head, Record, first_head, next_head
from fedchain.core.ports import Ledger

ATTEMPTS: Final = 5
"""Times that records and head are read while the ledger grows between the two."""

CONTRACT: Final = "the contract's head"
GIVEN: Final = "the head given"
UNPROVEN: Final = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """The records to judge, and what proves them."""

    records: tuple[Record, ...]
    head: Head
    """What the records hash to."""
    proof: str
    """What the head was compared with: CONTRACT, GIVEN or UNPROVEN."""
    heads: tuple[Head, ...]
    """The head after each record."""


async def read(
    federation: Federation, *, copy: Copy | None, ledger: Ledger | None, given: Head | None, findings: Findings
) -> Reading:
    """Read the records from the ledger where there is one, from the copy otherwise, and check them.

    What is wrong with the copy or the ledger's endpoint goes into `findings`. Records that are not proven wrong are
    returned up to the first one that is.
    """
    if ledger is not None:
        try:
            reading = await _online(ledger, copy, findings)
            if given is not None:
                _leads_to(reading, given, "the ledger's endpoint", findings)
            return reading
        except LedgerUnreachable as error:
            findings.skip("the ledger's head", str(error))
        except HeadMismatch as error:
            findings.find(Rule.LEDGER_HEAD, "the ledger's endpoint", str(error), "records that hash to the head", {})
    return _offline(federation, copy or Copy("no copy", ()), given, findings)


async def _online(ledger: Ledger, copy: Copy | None, findings: Findings) -> Reading:
    """Judge by the ledger: a copy that hashes to its head needs no reading anew."""
    chain = None if copy is None else follow(ledger.federation, copy)
    if chain is not None and not chain.faults and chain.head == await ledger.head():
        return _reading(ledger.federation, chain.records, CONTRACT)
    reading = await _from_ledger(ledger)
    if copy is not None and chain is not None and not _compare(copy, reading, findings):
        findings.found += chain.faults
    return reading


async def _from_ledger(ledger: Ledger) -> Reading:
    """Read all records; raises HeadMismatch when they do not hash to the ledger's head."""
    attempts = count(1)
    while True:
        before = await ledger.head()
        reading = _reading(ledger.federation, await ledger.records(), CONTRACT)
        after = await ledger.head()
        if reading.head in (before, after):
            return reading
        if before == after or next(attempts) == ATTEMPTS:
            raise HeadMismatch(
                f"{len(reading.records)} records hash to 0x{reading.head.hex()}, the contract's head is "
                f"0x{after.hex()}: the endpoint leaves records out or alters them; read from another one"
            )


def _offline(federation: Federation, copy: Copy, given: Head | None, findings: Findings) -> Reading:
    """Judge by a copy alone: its own heads, and the last one against the head given."""
    chain = follow(federation, copy)
    findings.found += chain.faults
    reading = _reading(federation, chain.records, UNPROVEN)
    if chain.broken:
        findings.skip(f"records from {len(chain.records)} on", f"{copy.name} is damaged there: read from the ledger")
        return reading
    if given is None:
        findings.note(
            "head",
            "compared with nothing: only the ledger, or a head known from elsewhere, shows whether records were added"
            " or rewritten",
        )
        return reading
    if not _leads_to(reading, given, copy.name, findings):
        findings.skip(
            "all records", f"{copy.name} is not a copy of the ledger that the head given is from: name that ledger"
        )
        return _reading(federation, (), UNPROVEN)
    return _reading(federation, chain.records, GIVEN)


def _leads_to(reading: Reading, given: Head, name: str, findings: Findings) -> bool:
    """Tell whether a head given is one of the records' heads; a head that is older covers only what came before."""
    if given not in reading.heads:
        stated = f"{len(reading.records)} records that hash to 0x{reading.head.hex()}"
        findings.find(Rule.LEDGER_HEAD, "head", stated, f"0x{given.hex()}, the head given, on the way", source=name)
        return False
    covered = reading.heads.index(given)
    if covered < len(reading.records) - 1:
        findings.note("head", f"the head given is that of record {covered}: it says nothing about later ones")
    return True


def _reading(federation: Federation, records: Sequence[Record], proof: str) -> Reading:
    heads = [first_head(federation)]
    for record in records:
        heads.append(next_head(heads[-1], record))
    return Reading(tuple(records), heads[-1], proof, tuple(heads[1:]))


def _compare(copy: Copy, truth: Reading, findings: Findings) -> bool:
    """Hold a copy's rows against the ledger's records and report each that differs; tells whether any does."""
    before = len(findings.found)
    pairs = differences([_identity(record) for record in truth.records], [_row_identity(row) for row in copy.rows])
    moved, lag = [], 0
    for ours, theirs in pairs:
        if ours is None and theirs is not None:
            report_added(copy, copy.rows[theirs], "a row that is not a record of the ledger", findings)
        elif theirs is None and ours is not None:
            if ours >= len(truth.records) - _newer(copy, truth):
                lag += 1
            else:
                _report_missing(copy, truth, ours, findings)
        elif ours is not None and theirs is not None:
            if _identity(truth.records[ours]) == _row_identity(copy.rows[theirs]):
                moved.append((ours, theirs))
            else:
                _report_changed(copy, truth, ours, copy.rows[theirs], findings)
    report_order(copy, moved, findings)
    if lag:
        last = "record" if lag == 1 else f"{lag} records"
        findings.note("mirror", f"{copy.name} ends before the last {last}: read from the ledger")
    return len(findings.found) > before


def _newer(copy: Copy, truth: Reading) -> int:
    """Count the ledger's last records that lie after the block up to which the copy says that it is complete."""
    if copy.through is None:
        return 0
    places = [record.place for record in reversed(truth.records)]
    old = (n for n, place in enumerate(places) if place is None or place.block <= copy.through)
    return next(old, len(places))


def _identity(record: Record) -> Hashable:
    return record.actor, record.time, record.payload, record.place


def _row_identity(row: CopyRow) -> Hashable:
    return row.seq if row.record is None else _identity(row.record)


def _report_missing(copy: Copy, truth: Reading, seq: int, findings: Findings) -> None:
    record = truth.records[seq]
    evidence = {"ledger_head": f"0x{truth.heads[seq].hex()}", "file": copy.name}
    findings.find(
        Rule.RECORD_MISSING, f"record {seq}", "no row", record_text(record), record_evidence(record), evidence
    )


def _report_changed(copy: Copy, truth: Reading, seq: int, row: CopyRow, findings: Findings) -> None:
    record = truth.records[seq]
    if row.record is None:
        stated, expected = f"words that are not a record: {row.problem}", record_text(record)
    else:
        ours, theirs = (record_fields(one) | place_fields(one) for one in (record, row.record))
        keys = [key for key in ours | theirs if ours.get(key) != theirs.get(key)]
        stated = ", ".join(f"{key}={theirs.get(key, 'nothing')}" for key in keys)
        expected = ", ".join(f"{key}={ours.get(key, 'nothing')}" for key in keys)
    evidence = {"ledger_head": f"0x{truth.heads[seq].hex()}", "file": copy.name}
    findings.find(
        Rule.RECORD_CHANGED, f"record {seq}", stated, expected, row.evidence(), record_evidence(record), evidence
    )
