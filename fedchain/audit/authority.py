"""Authority: the contract lets nobody act beyond a role; an audit looks again, record by record.

It matters where the contract at the address is not the one that it is taken for. The rules are the contract's
(core/ledger/contract.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from fedchain.audit.findings import Findings, Rule
from fedchain.audit.formatting import record_evidence, roles_text
from fedchain.core.ledger.content import NOTHING, Content
from fedchain.core.ledger.contract import State, foundation, needed_roles, refusal
from fedchain.core.ledger.records import ContentErased, Record, Role


def check_authority(records: Sequence[Record], findings: Findings) -> tuple[list[Record], frozenset[Content]]:
    """Check that each record is one that the contract takes.

    Returns the records up to the first that no FederationLedger would have taken - what follows it cannot be
    judged - and the contents that their owners or a governor declared erased.
    """
    state = State()
    erased: set[Content] = set()
    for record in records:
        if not _is_taken(record, state, findings):
            findings.skip(
                f"records from {record.seq} on", "no FederationLedger takes such a record: check the contract"
            )
            return list(records[: record.seq]), frozenset(erased)
        if isinstance(record.payload, ContentErased):
            erased |= _erasure(record, record.payload, state, records, findings)
        state.apply(record.payload)
    return list(records), frozenset(erased)


def contents_of(record: Record) -> dict[str, Content]:
    """Name the contents that a record carries, by field."""
    values = {field.name: getattr(record.payload, field.name) for field in fields(record.payload)}
    return {name: value for name, value in values.items() if isinstance(value, Content) and value != NOTHING}


def _is_taken(record: Record, state: State, findings: Findings) -> bool:
    """Tell whether the contract takes a record, and report how it refuses one that it does not."""
    if record.seq == 0 and record.payload == foundation(record.actor):
        return True
    refused = refusal(state, record.actor, record.payload)
    if refused is None:
        return True
    subject, evidence = f"record {record.seq}", record_evidence(record)
    if refused.name == "Unauthorized":
        stated = f"its actor {record.actor} is {roles_text(state.roles.get(record.actor, Role.NONE))}"
        expected = f"one of {roles_text(needed_roles(record.payload))}"
        findings.find(Rule.AUTHORITY, subject, stated, expected, evidence)
    else:
        stated = f"{type(record.payload).__name__} that the contract refuses with {refused}"
        findings.find(Rule.SEQUENCE, subject, stated, "a record that it takes", evidence)
    return False


def _erasure(
    record: Record, erasure: ContentErased, state: State, records: Sequence[Record], findings: Findings
) -> set[Content]:
    """Return what an erasure covers; nothing, and a note, where it has no effect: any member can write such a one."""
    target = records[erasure.seq] if erasure.seq < record.seq else None
    if target is None or not contents_of(target):
        text = f"erases the content of record {erasure.seq}, which has none: no effect"
    elif record.actor != target.actor and not state.has(record.actor, Role.GOVERNOR):
        text = (
            f"{record.actor}, who is not a governor, erases the content of record {erasure.seq}, which is "
            f"{target.actor}'s: no effect"
        )
    else:
        return set(contents_of(target).values())
    findings.note(f"record {record.seq}", text)
    return set()
