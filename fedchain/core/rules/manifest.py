"""The manifest: how one version was made, in canonical JSON.

It is a pure function of the ledger and the content: everybody who makes a version writes the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import Field

from fedchain.core.formats.document import U64, Blob, Count, Document
from fedchain.core.ledger.content import NOTHING, Content
from fedchain.core.ledger.records import Address, Federation, Seq, Version
from fedchain.core.rules.judged import Decision, Inspection, JudgedUpdate
from fedchain.core.rules.plan import Plan
from fedchain.core.strategies.merge import Merged
from fedchain.core.strategies.strategy import Gram, Weights

FORMAT: Final = "fedchain/manifest/2"

DecimalInt = Annotated[str, Field(pattern=r"^(0|-?[1-9][0-9]{0,79})$")]
"""A whole number in decimal digits: it may be larger than JSON's numbers carry exactly."""

Magnitude = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,79})$")]
"""One that is never below zero."""


class FederationName(Document):
    """The contract that the version belongs to."""

    chain_id: Count
    contract: str


class UpdateLine(Blob):
    """What became of one update."""

    seq: Count
    site: str
    base: Count
    samples: U64
    decision: Annotated[Decision, Field(strict=False)]
    staleness: Count | None
    """τ; None where the base is unknown."""
    weights: Annotated[tuple[int, ...], Field(strict=False)]
    """What its changes were multiplied by, one integer for each row of the weights; empty for a rejected update."""
    max_abs: Magnitude | None
    """Largest change of a parameter in units of 2^-30; None where the content is not an update or was not read."""
    norm2: Magnitude | None
    """Squared norm of the change in units of 2^-60; None likewise."""

    @property
    def inspection(self) -> Inspection | None:
        """What the line says was found in the content; None where it says nothing of it."""
        if self.decision in (Decision.UNAVAILABLE, Decision.MALFORMED):
            return Inspection(self.decision)
        if self.max_abs is None or self.norm2 is None:
            return None
        return Inspection(None, int(self.max_abs), int(self.norm2))

    @property
    def judged(self) -> JudgedUpdate:
        """The line as the plan has it."""
        return JudgedUpdate(
            seq=Seq(self.seq),
            site=Address(self.site),
            content=self.content,
            base=Version(self.base),
            samples=self.samples,
            decision=self.decision,
            staleness=self.staleness,
            inspection=self.inspection,
        )


class Manifest(Document):
    """How one version was made."""

    format: Literal["fedchain/manifest/2"] = FORMAT
    sealing: Literal["none"] = "none"
    federation: FederationName
    version: Count
    parent: Blob | None
    """The model that the version changed; None for genesis."""
    policy: Count | None
    """The record that set the policy in force; None for genesis."""
    first: Count
    """The first record that the version consumes."""
    through: Count
    """The last one: the record that closed the buffer."""
    updates: Annotated[tuple[UpdateLine, ...], Field(strict=False)]
    divisors: Annotated[tuple[Count, ...], Field(strict=False)]
    """What each weighted sum is divided by, before 2^-bits."""
    integers: dict[str, DecimalInt]
    """Other integers of the merge, by name."""
    gram: Annotated[tuple[Annotated[tuple[DecimalInt, ...], Field(strict=False)], ...], Field(strict=False)] | None
    """Σ q_i q_j in units of 2^-60; None where the strategy does not ask for it."""
    state: dict[str, Blob] | None
    """The state vectors that the version leaves, by name; None where the strategy has none."""
    result: Blob

    @property
    def inspections(self) -> dict[Seq, Inspection]:
        """What the manifest says was found in the updates' contents, by seq."""
        return {Seq(line.seq): found for line in self.updates if (found := line.inspection) is not None}

    @property
    def gram_matrix(self) -> Gram | None:
        """The Gram matrix as integers."""
        return None if self.gram is None else tuple(tuple(map(int, row)) for row in self.gram)


def described(line: UpdateLine) -> str:
    """Describe what became of an update, in a few words."""
    weights = ", ".join(map(str, line.weights))
    return f"{line.decision} with weight {weights}" if weights else str(line.decision)


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
        divisors=(),
        integers={},
        gram=None,
        state=None,
        result=_named(model),
    )


def manifest_of(
    federation: Federation, plan: Plan, merged: Merged, gram: Gram | None = None, weights: Weights | None = None
) -> Manifest:
    """Describe a version that was merged by a plan, by the plan's weights unless others are given; raises PlanError."""
    weights = plan.weigh(gram) if weights is None else weights
    columns = dict(zip((update.seq for update in plan.merged), zip(*weights.rows, strict=True), strict=False))
    return Manifest(
        federation=_federation(federation),
        version=plan.version,
        parent=_named(plan.parent),
        policy=plan.policy_seq,
        first=plan.first,
        through=plan.through,
        updates=tuple(update_line(update, columns.get(update.seq, ())) for update in plan.updates),
        divisors=weights.divisors,
        integers={name: str(value) for name, value in weights.integers.items()},
        gram=None if gram is None else tuple(tuple(map(str, row)) for row in gram),
        state=_state(merged.state),
        result=_named(merged.model),
    )


def manifest_as_stated(
    federation: Federation, plan: Plan, model: Content, stated: Manifest, weights: Weights | None = None
) -> Manifest:
    """Describe a version by its plan; what contents alone give, its state and Gram matrix, is taken as stated.

    A vector that the strategy does not have is left out, one that is not stated is named as nothing. Raises PlanError
    where the plan cannot be weighed by the matrix and no weights are given.
    """
    named = stated.state or {}
    state = {name: named[name].content if name in named else NOTHING for name in plan.strategy.state}
    gram = stated.gram_matrix if plan.strategy.needs_gram else None
    return manifest_of(federation, plan, Merged(model, state), gram, weights)


def update_line(update: JudgedUpdate, weights: tuple[int, ...] = ()) -> UpdateLine:
    """Format what a plan decided about one update."""
    found = update.inspection
    return UpdateLine(
        seq=update.seq,
        site=update.site,
        cid=update.content.cid,
        size=update.content.size,
        base=update.base,
        samples=update.samples,
        decision=update.decision,
        staleness=update.staleness,
        weights=weights,
        max_abs=_digits(found.max_abs if found else None),
        norm2=_digits(found.norm2 if found else None),
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
    """Compare a manifest with the one that the rules imply, key by key.

    Where the rules imply none, `expected` says why.
    """
    if isinstance(expected, str):
        return [Discrepancy("through", str(stated.through), expected)]
    found = []
    for key in Manifest.model_fields.keys() - {"updates"}:
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
            found.append(Discrepancy(where, "nothing", described(ours[seq])))
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


def _plain(value: object) -> str:
    return value.canonical().decode() if isinstance(value, Document) else str(value)


def _federation(federation: Federation) -> FederationName:
    return FederationName(chain_id=federation.chain_id, contract=federation.contract)


def _named(content: Content) -> Blob:
    return Blob(cid=content.cid, size=content.size)


def _state(state: Mapping[str, Content]) -> dict[str, Blob] | None:
    return {name: _named(content) for name, content in state.items()} or None


def _digits(value: int | None) -> str | None:
    return None if value is None else str(value)
