"""The report: what an audit comes to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from fedchain.audit.findings import Finding, Note, Unchecked
from fedchain.core.ledger.records import Federation, Head

CLEAN: Final = 0
FOUND: Final = 1
UNCHECKED: Final = 2


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of `fedchain audit verify`."""

    federation: Federation
    records: int
    head: Head
    proof: str
    """What the head was compared with; empty: nothing."""
    block: int | None
    """The block of the last record."""
    blobs: int
    """Blobs found whole."""
    versions: int
    recomputed: int
    """Versions that came out bit for bit; genesis is an input and does not count."""
    decisions: dict[str, int]
    """Updates consumed by versions, by what became of them."""
    findings: tuple[Finding, ...]
    unchecked: tuple[Unchecked, ...]
    notes: tuple[Note, ...]

    @property
    def exit_code(self) -> int:
        """0 clean, 1 findings, 2 something that the verdict needs could not be checked."""
        return FOUND if self.findings else UNCHECKED if self.unchecked else CLEAN

    @property
    def verdict(self) -> str:
        """The outcome in one sentence."""
        proven = f"proven by {self.proof}" if self.proof else "whose head was compared with nothing"
        if self.findings:
            count = "1 finding" if len(self.findings) == 1 else f"{len(self.findings)} findings"
            return f"NOT CLEAN: {count} in {self.records} records {proven} and {self.versions} versions."
        if self.unchecked:
            count = "1 thing" if len(self.unchecked) == 1 else f"{len(self.unchecked)} things"
            return f"NOT FULLY CHECKED: no finding, but {count} could not be checked."
        return (
            f"CLEAN: {self.records} records {proven}; {self.recomputed} of {max(0, self.versions - 1)} versions "
            "after genesis recomputed bit for bit."
        )

    def as_json(self) -> dict[str, Any]:
        """Format the report as JSON values."""
        return {
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "chain_id": self.federation.chain_id,
            "contract": self.federation.contract,
            "records": self.records,
            "head": f"0x{self.head.hex()}",
            "head_compared_with": self.proof or None,
            "block": self.block,
            "blobs": self.blobs,
            "versions": self.versions,
            "recomputed": self.recomputed,
            "decisions": self.decisions,
            "findings": [asdict(finding) for finding in self.findings],
            "not_checked": [asdict(gap) for gap in self.unchecked],
            "notes": [asdict(note) for note in self.notes],
        }

    def as_rows(self) -> list[dict[str, Any]]:
        """Format what was found as rows: one per finding, gap and note."""
        rows = [
            {
                "what": "finding",
                "rule": one.rule,
                "subject": one.subject,
                "stated": one.stated,
                "expected": one.expected,
            }
            for one in self.findings
        ]
        rows += [
            {"what": "not checked", "rule": "", "subject": gap.subject, "stated": gap.reason, "expected": ""}
            for gap in self.unchecked
        ]
        rows += [
            {"what": "note", "rule": "", "subject": note.subject, "stated": note.text, "expected": ""}
            for note in self.notes
        ]
        return rows
