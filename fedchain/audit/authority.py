"""Authority: the contract lets nobody act beyond a role; an audit looks again, record by record.

It matters where the contract at the address is not the one that it is taken for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Final

from fedchain.audit.findings import Findings, Rule
from fedchain.audit.formatting import record_evidence, roles_text
from fedchain.core.ledger.content import NOTHING, Content
from fedchain.core.ledger.members import Members
from fedchain.core.ledger.records import (
    Attested,
    ContentErased,
    EvaluationReported,
    Kind,
    MemberSet,
    ModelPublished,
    Record,
    Role,
    UpdateSubmitted,
)

NEEDED: Final[dict[Kind, Role]] = {
    Kind.POLICY_SET: Role.GOVERNOR,
    Kind.MEMBER_SET: Role.GOVERNOR,
    Kind.UPDATE_SUBMITTED: Role.TRAINER,
    Kind.BUFFER_CLOSED: Role.GOVERNOR | Role.TRAINER | Role.AGGREGATOR | Role.AUDITOR,
    Kind.MODEL_PUBLISHED: Role.AGGREGATOR,
    Kind.EVALUATION_REPORTED: Role.TRAINER | Role.AUDITOR,
    Kind.ATTESTED: Role.TRAINER | Role.AUDITOR,
    Kind.CONTENT_ERASED: Role.GOVERNOR | Role.TRAINER | Role.AGGREGATOR | Role.AUDITOR,
}
"""Any of these roles will do (IFederationLedger.sol)."""


def check_authority(records: Sequence[Record], findings: Findings) -> tuple[list[Record], frozenset[Content]]:
    """Check who did what, and what each record refers to.

    Returns the records up to the first that no FederationLedger would have taken - what follows it cannot be
    judged - and the contents that their owners or a governor declared erased.
    """
    members, versions = Members(), 0
    erased: set[Content] = set()
    for record in records:
        before = len(findings.found)
        roles = members.roles(record.actor, record.seq)
        if not _is_first(record) and not roles & NEEDED[record.kind]:
            expected = f"one of {roles_text(NEEDED[record.kind])}"
            findings.find(Rule.AUTHORITY, f"record {record.seq}", f"its actor {record.actor} is {roles_text(roles)}",
                      expected, record_evidence(record))  # fmt: skip
        _check_references(record, versions, findings)
        if isinstance(record.payload, ContentErased):
            erased |= _erasure(record, record.payload, roles, records, findings)
        elif len(findings.found) > before:
            findings.skip(
                f"records from {record.seq} on", "no FederationLedger takes such a record: check the contract"
            )
            return list(records[: record.seq]), frozenset(erased)
        match record.payload:
            case MemberSet() as change:
                members.apply(record, change)
            case ModelPublished():
                versions += 1
    return list(records), frozenset(erased)


def contents_of(record: Record) -> dict[str, Content]:
    """Name the contents that a record carries, by field."""
    values = {field.name: getattr(record.payload, field.name) for field in fields(record.payload)}
    return {name: value for name, value in values.items() if isinstance(value, Content) and value != NOTHING}


def _is_first(record: Record) -> bool:
    """Tell whether this is the record with which the constructor makes the governor one."""
    made = record.payload
    return (
        record.seq == 0 and isinstance(made, MemberSet) and made.member == record.actor and made.roles == Role.GOVERNOR
    )


def _check_references(record: Record, versions: int, findings: Findings) -> None:
    match record.payload:
        case UpdateSubmitted(base=base):
            stated, holds = f"base version {base}", base < versions
        case ModelPublished(version=version):
            stated, holds = f"version {version}", version == versions
        case EvaluationReported(version=version) | Attested(version=version):
            stated, holds = f"version {version}", version < versions
        case _:
            return
    if not holds:
        expected = f"a version of the {versions} published before" if versions else "no version: none is published"
        if isinstance(record.payload, ModelPublished):
            expected = f"version {versions}"
        findings.find(Rule.SEQUENCE, f"record {record.seq}", stated, expected, record_evidence(record))


def _erasure(
    record: Record, erasure: ContentErased, roles: Role, records: Sequence[Record], findings: Findings
) -> set[Content]:
    """Return what an erasure covers; nothing where its actor had no say over it."""
    target = records[erasure.seq] if erasure.seq < record.seq else None
    if target is None or not contents_of(target):
        findings.find(Rule.SEQUENCE, f"record {record.seq}", f"erases the content of record {erasure.seq}",
                  "an earlier record that carries content", record_evidence(record))  # fmt: skip
        return set()
    if record.actor != target.actor and Role.GOVERNOR not in roles:
        stated = f"{record.actor} erases the content of record {erasure.seq}"
        expected = f"its owner {target.actor}, or a governor"
        findings.find(Rule.AUTHORITY, f"record {record.seq}", stated, expected, record_evidence(record))
        return set()
    return set(contents_of(target).values())
