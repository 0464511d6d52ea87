"""The manifest: how one version was made, in canonical JSON.

Everything in it but `software` follows from the ledger and the content, so two honest aggregators running the
same release publish the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.metadata import version as installed
from typing import Annotated, Final, Literal

from pydantic import Field

from fedchain.core.formats.document import U64, Blob, Count, Document
from fedchain.core.ledger.content import Content
from fedchain.core.ledger.records import Address, Federation, Seq, Version
from fedchain.core.rules.admission import Decision, Inspection
from fedchain.core.rules.plan import Entry, Plan

FORMAT: Final = "fedchain/manifest/1"

Whole = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,59})$")]
"""A whole number in decimal digits: it may be larger than JSON's numbers carry exactly."""


class FederationName(Document):
    """The contract that the version belongs to."""

    chain_id: Count
    contract: str


class PolicyName(Blob):
    """The policy in force, and the record that set it."""

    seq: Count


class UpdateLine(Blob):
    """What became of one update."""

    seq: Count
    site: str
    base: Count
    samples: U64
    decision: Annotated[Decision, Field(strict=False)]
    staleness: Count | None
    """τ; None where the base is unknown."""
    weight: Count
    """The integer that its changes were multiplied by; 0 for a rejected update."""
    max_abs: Whole | None
    """Largest change of a parameter in units of 2^-30; None where the content was not read."""
    norm2: Whole | None
    """Squared norm of the change in units of 2^-60; None where the policy bounds no norm."""

    @property
    def blob(self) -> Blob:
        """The update's content."""
        return Blob(cid=self.cid, size=self.size)


class Manifest(Document):
    """How one version was made."""

    format: Literal["fedchain/manifest/1"] = FORMAT
    sealing: Literal["none"] = "none"
    federation: FederationName
    version: Count
    parent: Blob | None
    """The model that the version changed; None for genesis."""
    policy: PolicyName | None
    first: Count
    """The first record that the version consumes."""
    through: Count
    """The last one: the record that closed the buffer."""
    updates: tuple[UpdateLine, ...]
    divisor: Count
    """What the weighted sum is divided by, before 2^-bits."""
    result: Blob
    software: dict[str, str]
    """Releases that computed it, by name."""

    @property
    def inspections(self) -> dict[Seq, Inspection]:
        """What the manifest says was found in the updates' contents, by seq."""
        return {Seq(line.seq): found for line in self.updates if (found := _inspection(line)) is not None}


def genesis_manifest(federation: Federation, model: Content) -> Manifest:
    """Describe version 0: an input, published as it is."""
    return Manifest(
        federation=_federation(federation),
        version=0,
        parent=None,
        policy=None,
        first=0,
        through=0,
        updates=(),
        divisor=1,
        result=_named(model),
        software=software(),
    )


def manifest_of(federation: Federation, plan: Plan, result: Content) -> Manifest:
    """Describe a version that was merged by a plan."""
    return Manifest(
        federation=_federation(federation),
        version=plan.version,
        parent=_named(plan.parent),
        policy=PolicyName(seq=plan.policy_seq, cid=plan.policy_content.cid, size=plan.policy_content.size),
        first=plan.first,
        through=plan.through,
        updates=tuple(map(update_line, plan.entries)),
        divisor=plan.divisor,
        result=_named(result),
        software=software(),
    )


def update_line(entry: Entry) -> UpdateLine:
    """Encode what a plan decided about one update."""
    found = entry.inspection
    return UpdateLine(
        seq=entry.seq,
        site=entry.site,
        cid=entry.content.cid,
        size=entry.content.size,
        base=entry.base,
        samples=entry.samples,
        decision=entry.decision,
        staleness=entry.staleness,
        weight=entry.weight,
        max_abs=_digits(found.max_abs if found else None),
        norm2=_digits(found.norm2 if found else None),
    )


def entry_of(line: UpdateLine) -> Entry:
    """Read back what a plan decided about one update."""
    return Entry(
        seq=Seq(line.seq),
        site=Address(line.site),
        content=line.content,
        base=Version(line.base),
        samples=line.samples,
        decision=line.decision,
        staleness=line.staleness,
        inspection=_inspection(line),
        weight=line.weight,
    )


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """One place where a manifest departs from what the records and contents imply."""

    where: str
    """The key, as in `updates[seq 17].weight`."""
    stated: str
    expected: str

    def __str__(self) -> str:
        return f"{self.where}: the manifest states {self.stated}, the ledger implies {self.expected}"


def differences(stated: Manifest, expected: Manifest | str) -> list[Discrepancy]:
    """Compare a manifest with the one that the rules imply, key by key; `software` may differ.

    Where the rules imply none, `expected` says why.
    """
    if isinstance(expected, str):
        return [Discrepancy("through", str(stated.through), expected)]
    found = []
    for key in Manifest.model_fields.keys() - {"software", "updates"}:
        ours, theirs = getattr(expected, key), getattr(stated, key)
        if ours != theirs:
            found.append(Discrepancy(key, _plain(theirs), _plain(ours)))
    return sorted(found, key=lambda item: item.where) + _line_differences(stated, expected)


def _line_differences(stated: Manifest, expected: Manifest) -> list[Discrepancy]:
    theirs, ours = {line.seq: line for line in stated.updates}, {line.seq: line for line in expected.updates}
    found = []
    for seq in sorted(theirs.keys() | ours.keys()):
        where = f"updates[seq {seq}]"
        if seq not in theirs:
            found.append(Discrepancy(where, "nothing", f"{ours[seq].decision} with weight {ours[seq].weight}"))
        elif seq not in ours:
            found.append(Discrepancy(where, f"{theirs[seq].decision}", "nothing: no such update in this buffer"))
        else:
            found += [
                Discrepancy(f"{where}.{key}", _plain(getattr(theirs[seq], key)), _plain(getattr(ours[seq], key)))
                for key in UpdateLine.model_fields
                if getattr(theirs[seq], key) != getattr(ours[seq], key)
            ]
    if not found and stated.updates != expected.updates:
        found.append(Discrepancy("updates", "lines repeated or out of order", "one line per update in ledger order"))
    return found


def software() -> dict[str, str]:
    """Name the releases whose arithmetic decides a model's bits."""
    return {name: _release(name) for name in ("fedchain", "numpy")}


@cache
def _release(name: str) -> str:
    return installed(name)


def _plain(value: object) -> str:
    return value.canonical().decode() if isinstance(value, Document) else str(value)


def _federation(federation: Federation) -> FederationName:
    return FederationName(chain_id=federation.chain_id, contract=federation.contract)


def _named(content: Content) -> Blob:
    return Blob(cid=content.cid, size=content.size)


def _inspection(line: UpdateLine) -> Inspection | None:
    if line.decision in (Decision.UNAVAILABLE, Decision.MALFORMED):
        return Inspection(line.decision)
    if line.max_abs is None:
        return None
    return Inspection(None, int(line.max_abs), None if line.norm2 is None else int(line.norm2))


def _digits(value: int | None) -> str | None:
    return None if value is None else str(value)
