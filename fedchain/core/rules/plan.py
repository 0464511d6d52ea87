"""The plan of a merge: every update that a version consumes, what was decided, and the integers of the sum."""

from __future__ import annotations

from dataclasses import dataclass

from fedchain.core.ledger.content import Content
from fedchain.core.ledger.records import Address, Seq, Version
from fedchain.core.rules.admission import Decision, Inspection
from fedchain.core.rules.policy import Policy


@dataclass(frozen=True, slots=True)
class Entry:
    """One update of a plan."""

    seq: Seq
    site: Address
    content: Content
    base: Version
    samples: int
    decision: Decision
    staleness: int | None
    """τ; None where the base is unknown."""
    inspection: Inspection | None
    """None where the records already decided."""
    weight: int = 0
    """w: the integer that q is multiplied by; 0 for a rejected update."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How version `version` follows from its parent."""

    version: Version
    parent: Content
    policy: Policy
    policy_seq: Seq
    policy_content: Content
    first: Seq
    through: Seq
    entries: tuple[Entry, ...]
    """Every update in [first, through], in ledger order."""
    divisor: int
    """W: what the sum is divided by, before 2^-bits."""
    bases: dict[Version, Content]
    """The models that merged updates are changes to."""

    @property
    def merged(self) -> tuple[Entry, ...]:
        """The updates that are summed."""
        return tuple(entry for entry in self.entries if entry.decision is Decision.MERGED)

    @property
    def freshest(self) -> Entry | None:
        """The merged update with the newest base, the later one of equals."""
        return max(self.merged, key=lambda entry: (entry.base, entry.seq), default=None)
