"""Questions to a federation's records: which versions, which updates, what is this record?

Answers are what records and manifests say. Whether it is true, `verify` tells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from fedchain.audit.contents import Contents
from fedchain.audit.formatting import place_fields, record_fields, time_text
from fedchain.core.errors import ConfigError, FormatError, Unavailable
from fedchain.core.ledger.records import ModelPublished, Record, UpdateSubmitted
from fedchain.core.rules.judged import Decision
from fedchain.core.rules.manifest import Manifest, UpdateLine

TableRow = dict[str, Any]

WAITING = "waiting"
"""What is said of an update that no version has consumed yet."""

LINE: Final = (
    "seq", "site", "base", "samples", "decision", "staleness", "weights", "max_abs", "norm2", "cid", "size",
)  # fmt: skip
"""What a version's lines say, in the order of its columns."""


class Questions:
    """Records, and the manifests of their versions as far as they can be had."""

    def __init__(self, records: Sequence[Record], manifests: Mapping[int, Manifest]) -> None:
        self._records = records
        self._manifests = manifests

    @classmethod
    async def ask(cls, records: Sequence[Record], contents: Contents) -> Questions:
        """Read the manifests; one that no peer has, or that is none, is left out."""
        manifests = {}
        for record in records:
            claim = record.payload
            if isinstance(claim, ModelPublished):
                try:
                    manifests[int(claim.version)] = Manifest.parse(await contents.document(claim.manifest))
                except (Unavailable, FormatError):
                    continue
        return cls(records, manifests)

    def versions(self) -> list[TableRow]:
        """Describe every version in a row; what only a manifest says is None where there is none."""
        return [_version_row(*found, self._manifests.get(found[1].version)) for found in self._published()]

    def updates(
        self, *, site: str | None = None, version: int | None = None, decision: str | None = None
    ) -> list[TableRow]:
        """Describe every update in a row: those of sites whose address begins so, of a version, so decided.

        Raises ConfigError for a decision that there is none of.
        """
        known = [*Decision, WAITING]
        if decision is not None and decision not in known:
            raise ConfigError(f"unknown --decision {decision!r}; choose from {', '.join(known)}")
        rows = [row for record in self._records if (row := self._update_row(record)) is not None]
        return [
            row
            for row in rows
            if (site is None or row["site"].startswith(site.lower()))
            and (version is None or row["version"] == version)
            and (decision is None or row["decision"] == decision)
        ]

    def record(self, seq: int) -> TableRow:
        """Describe one record; raises ConfigError when there is none."""
        if not 0 <= seq < len(self._records):
            raise ConfigError(f"there is not a record {seq}: the ledger has records 0 to {len(self._records) - 1}")
        record = self._records[seq]
        found: TableRow = {"seq": record.seq, "time_utc": time_text(record.time), **record_fields(record)}
        update = self._update_row(record)
        if update is not None:
            found |= {"decision": update["decision"], "in_version": update["version"], "weights": update["weights"]}
        return found | place_fields(record)

    def version(self, number: int) -> tuple[TableRow, list[TableRow]]:
        """Describe one version and each update that it consumed; raises ConfigError when there is none."""
        found = next(((record, claim) for record, claim in self._published() if claim.version == number), None)
        if found is None:
            raise ConfigError(
                f"there is no version {number}: versions 0 to {len(list(self._published())) - 1} are published"
            )
        record, claim = found
        manifest = self._manifests.get(number)
        row = _version_row(record, claim, manifest) | {"manifest": claim.manifest.cid, "through": claim.through}
        if manifest is not None:
            row |= {
                "parent": manifest.parent.cid if manifest.parent else None,
                "policy": manifest.policy,
                "first": manifest.first,
                "divisors": list(manifest.divisors),
                "integers": manifest.integers,
            }
        lines = [line.model_dump(mode="json") for line in manifest.updates] if manifest else []
        lines = [{key: line[key] for key in LINE} for line in lines]
        return row | place_fields(record), lines

    def _published(self) -> Iterator[tuple[Record, ModelPublished]]:
        for record in self._records:
            if isinstance(record.payload, ModelPublished):
                yield record, record.payload

    def _update_row(self, record: Record) -> TableRow | None:
        update = record.payload
        if not isinstance(update, UpdateSubmitted):
            return None
        version = self._consumed_by(record)
        line = self._line(record, version)
        unknown = WAITING if version is None else None
        return {
            "seq": record.seq,
            "time_utc": time_text(record.time),
            "site": record.actor,
            "base": update.base,
            "samples": update.samples,
            "decision": str(line.decision) if line else unknown,
            "version": version,
            "staleness": line.staleness if line else None,
            "weights": list(line.weights) if line else None,
            "cid": update.content.cid,
        }

    def _consumed_by(self, record: Record) -> int | None:
        """Return the version that consumed an update, which the records alone say."""
        claims = (claim for _, claim in self._published() if claim.version)
        return next((int(claim.version) for claim in claims if record.seq <= claim.through), None)

    def _line(self, record: Record, version: int | None) -> UpdateLine | None:
        """Find what a version's manifest says of an update."""
        manifest = None if version is None else self._manifests.get(version)
        return next((line for line in manifest.updates if line.seq == record.seq), None) if manifest else None


def _version_row(record: Record, claim: ModelPublished, manifest: Manifest | None) -> TableRow:
    decisions = Counter(line.decision for line in manifest.updates) if manifest else None
    staleness = (
        [line.staleness or 0 for line in manifest.updates if line.decision is Decision.MERGED] if manifest else []
    )
    return {
        "version": claim.version,
        "seq": record.seq,
        "time_utc": time_text(record.time),
        "aggregator": record.actor,
        "merged": None if decisions is None else decisions[Decision.MERGED],
        "rejected": None if decisions is None else decisions.total() - decisions[Decision.MERGED],
        "mean_staleness": sum(staleness) / len(staleness) if staleness else None,
        "model": claim.model.cid,
    }
