"""How an audit encodes records: the same words in findings, tables and JSON."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime

from fedchain.core.ledger.content import NOTHING, Content
from fedchain.core.ledger.records import Record, Role, Verdict
from fedchain.core.rules.history import Published


def record_fields(record: Record) -> dict[str, str | int]:
    """Format what the head binds of a record: kind, actor, time and the payload's fields, contents by CID."""
    found: dict[str, str | int] = {"kind": type(record.payload).__name__, "actor": record.actor, "time": record.time}
    for field in fields(record.payload):
        value = getattr(record.payload, field.name)
        if isinstance(value, Content):
            found[field.name] = "none" if value == NOTHING else value.cid
            found[f"{field.name}_size"] = value.size
        elif isinstance(value, Role):
            found[field.name] = roles_text(value)
        elif isinstance(value, Verdict):
            found[field.name] = value.name.lower()
        elif isinstance(value, bytes):
            found[field.name] = f"0x{value.hex()}"
        else:
            found[field.name] = value
    return found


def place_fields(record: Record) -> dict[str, str | int]:
    """Format where on the chain a record stands: evidence for people; nothing in a ledger without a chain."""
    place = record.place
    if place is None:
        return {}
    return {
        "transaction": place.transaction,
        "block": place.block,
        "block_hash": place.block_hash,
        "log_index": place.log_index,
    }


def version_evidence(version: Published) -> dict[str, str | int]:
    """Say which record published a version, for a finding about it."""
    return {
        "version": version.version,
        "seq": version.record.seq,
        "aggregator": version.record.actor,
        "manifest": version.claim.manifest.cid,
        **place_fields(version.record),
    }


def record_text(record: Record) -> str:
    """Format a record in one line."""
    encoded = record_fields(record)
    kind = encoded.pop("kind")
    return f"{kind}({', '.join(f'{name}={value}' for name, value in encoded.items())})"


def record_evidence(record: Record) -> dict[str, str | int]:
    """Name a record, say what it is and where it stands, for a finding about it."""
    return {"seq": record.seq, "record": record_text(record), **place_fields(record)}


def roles_text(roles: Role) -> str:
    """Format a set of roles."""
    return ", ".join(role.name.lower() for role in Role if role.name and role in roles) or "none"


def time_text(time: int) -> str:
    """Format a block time for people, in UTC."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S")
