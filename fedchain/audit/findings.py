"""What an audit has to say: findings, unchecked and notes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

Evidence = Mapping[str, str | int]
"""What a doubter needs to see for himself: digests, CIDs, files, offsets, transaction hashes."""


class Rule(StrEnum):
    """What was broken. The names stand in JSON output: they never change."""

    RECORD_CHANGED = "record-changed"
    """A row of the local mirror is not the record that the ledger holds."""
    RECORD_MISSING = "record-missing"
    """A record of the ledger is left out of the local mirror."""
    RECORD_ADDED = "record-added"
    """A row of the local mirror is not a record of the ledger."""
    RECORD_ORDER = "record-order"
    """Rows of the local mirror stand in another order than the ledger's records."""
    RECORD_HEAD = "record-head"
    """The head stored beside a row is not the one that the rows so far hash to."""
    LEDGER_HEAD = "ledger-head"
    """All records together do not hash to the ledger's head."""
    CONTENT_BYTES = "content-bytes"
    """A file does not hold the bytes that its CID names."""
    CONTENT_TREE = "content-tree"
    """The tree beside a blob is not the blob's."""
    AUTHORITY = "authority"
    """An actor had not the role that the record needs."""
    SEQUENCE = "sequence"
    """A record refers to a version or record that it cannot refer to."""
    GENESIS = "genesis"
    """Version 0 is not a model."""
    MANIFEST_FORMAT = "manifest-format"
    """A manifest that cannot be read as one."""
    MANIFEST_KEY = "manifest-key"
    """A statement of a manifest that ledger and content contradict."""
    MANIFEST_UPDATE = "manifest-update"
    """What a manifest says of one update, against what ledger and content say."""
    MANIFEST_LEFT_OUT = "manifest-left-out"
    """An update that the manifest does not account for."""
    MANIFEST_INVENTED = "manifest-invented"
    """A line of a manifest about an update that the ledger does not hold there."""
    MANIFEST_ORDER = "manifest-order"
    """Lines of a manifest repeated, or not in the ledger's order."""
    VERSION_BOUNDARY = "version-boundary"
    """A version that consumes other records than its buffer."""
    VERSION_RESULT = "version-result"
    """A model that is not what its parent and updates make."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as the ledger says."""

    rule: Rule
    subject: str
    """What it is about, as in `record 17` or `version 3, update 17`."""
    stated: str
    """What was found."""
    expected: str
    """What should have been."""
    evidence: Evidence

    def __str__(self) -> str:
        return f"{self.subject}: {self.stated}; expected {self.expected} [{self.rule}]"


@dataclass(frozen=True, slots=True)
class Unchecked:
    """Something that a verdict needs and that could not be checked."""

    subject: str
    reason: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Note:
    """Something that a reader should know and that breaks no rule."""

    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.text}"


class Findings:
    """Where the parts of an audit write down what they see."""

    def __init__(self) -> None:
        self.found: list[Finding] = []
        self.unchecked: dict[Unchecked, None] = {}
        """What could not be checked, each once, in the order in which it came up."""
        self.notes: dict[Note, None] = {}

    def find(
        self, rule: Rule, subject: str, stated: object, expected: object, *parts: Evidence, **more: str | int
    ) -> None:
        """Write down a finding, with the evidence in parts."""
        evidence = {key: value for part in (*parts, more) for key, value in part.items()}
        self.found.append(Finding(rule, subject, str(stated), str(expected), evidence))

    def skip(self, subject: str, reason: str) -> None:
        """Write down what could not be checked."""
        self.unchecked[Unchecked(subject, reason)] = None

    def note(self, subject: str, text: str) -> None:
        """Write down what a reader should know."""
        self.notes[Note(subject, text)] = None
