"""The oracle beside the package: do both make the same versions of a federation, byte for byte?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import fields
from itertools import product
from pathlib import Path

from oracle import federation as oracle

from fedchain.core.errors import Unavailable
from fedchain.core.ledger.content import Content
from fedchain.core.ledger.records import Federation, ModelPublished, Payload, Record, Seq
from fedchain.core.ports import Blobs
from fedchain.ledger.mirror import Mirror
from fedchain.store.files import FileBlobs

ANY_LENGTH = {"document", "policy", "certificate"}
"""Fields of payloads that are bytes of any length, not a word."""


def agree(federation: Federation, records: Sequence[Record], *blobs: Blobs) -> list[oracle.Version]:
    """Recompute a federation with the oracle and compare every version with what is published; returns the versions.

    Of several blob stores each content is taken from the first that has it.
    """
    contents: dict[str, set[Content]] = defaultdict(set)
    for record in records:
        for field in fields(record.payload):
            value = getattr(record.payload, field.name)
            if isinstance(value, Content):
                contents[value.cid].add(value)

    def fetch(cid: str) -> bytes | None:
        for some, content in product(blobs, contents[cid]):
            with suppress(Unavailable):
                return some.open(content).read(0, content.size)
        return None

    found = oracle.Federation(
        federation.chain_id,
        federation.contract,
        federation.predecessor,
        federation.predecessor_head,
        [raw(record) for record in records],
        fetch,
    )
    for number, version in enumerate(found.versions):
        claim = records[version.claim].payload
        assert isinstance(claim, ModelPublished)
        assert fetch(claim.manifest.cid) == version.manifest_bytes, f"the manifest of version {number}"
        assert claim.model.cid == version.cid, f"the model of version {number}"
    return found.versions


def agree_on_disk(mirror: Path, *folders: Path) -> list[oracle.Version]:
    """Compare as `agree`, from a daemon's copy of the records and from folders of blobs."""
    with closing(Mirror.open(mirror)) as opened:
        return agree(opened.origin.federation, opened.records(Seq(0)), *map(FileBlobs, folders))


def raw(record: Record) -> oracle.Record:
    """Take a record apart for the oracle."""
    return oracle.Record(int(record.kind), record.actor, record.time, tuple(words(record.payload)))


def words(payload: Payload) -> list[int | bytes]:
    """List a payload's words as numbers, and its bytes of any length as they are."""
    found: list[int | bytes] = []
    for field in fields(payload):
        value = getattr(payload, field.name)
        if isinstance(value, Content):
            found += [int.from_bytes(value.digest, "big"), value.size]
        elif isinstance(value, bytes):
            found.append(value if field.name in ANY_LENGTH else int.from_bytes(value, "big"))
        else:
            found.append(int(value, 16) if isinstance(value, str) else int(value))
    return found
