"""Questions to a federation's records: which versions, which updates, what is this record?

Answers are what records and manifests say. Whether it is true, `verify` tells.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from fedchain.audit.case import Case
from fedchain.audit.formatting import place_fields, record_fields, time_text
from fedchain.core.errors import ConfigError
from fedchain.core.ledger.records import Record, UpdateSubmitted
from fedchain.core.rules.history import Published
from fedchain.core.rules.judged import Decision
from fedchain.core.rules.manifest import Manifest

TableRow = dict[str, Any]

WAITING = "waiting"
"""What is said of an update that no version has consumed yet."""

LINE: Final = (
    "seq", "site", "base", "samples", "decision", "staleness", "weights", "max_abs", "norm2", "cid", "size",
)  # fmt: skip
"""What a version's lines say, in the order of its columns."""


class Questions:
    """What may be asked of a case."""

    def __init__(self, case: Case) -> None:
        self._case = case

    def versions(self) -> list[TableRow]:
        """Describe every version in a row; what only a manifest says is None where there is none."""
        return [_version_row(version, self._case.manifests.get(version.version)) for version in self._case.published]

    def updates(
        self, *, site: str | None = None, version: int | None = None, decision: str | None = None
    ) -> list[TableRow]:
        """Describe every update in a row: those of sites whose address begins so, of a version, so decided.

        Raises ConfigError for a decision that there is none of.
        """
        known = [*Decision, WAITING]
        if decision is not None and decision not in known:
            raise ConfigError(f"unknown --decision {decision!r}; choose from {', '.join(known)}")
        rows = [row for record in self._case.records if (row := self._update_row(record)) is not None]
        return [
            row
            for row in rows
            if (site is None or row["site"].startswith(site.lower()))
            and (version is None or row["version"] == version)
            and (decision is None or row["decision"] == decision)
        ]

    def record(self, seq: int) -> TableRow:
        """Describe one record; raises ConfigError when there is none."""
        if not 0 <= seq < len(self._case.records):
            raise ConfigError(f"there is no record {seq}: the ledger has records 0 to {len(self._case.records) - 1}")
        record = self._case.records[seq]
        found: TableRow = {"seq": record.seq, "time_utc": time_text(record.time), **record_fields(record)}
        update = self._update_row(record)
        if update is not None:
            found |= {"decision": update["decision"], "in_version": update["version"], "weights": update["weights"]}
        return found | place_fields(record)

    def version(self, number: int) -> tuple[TableRow, list[TableRow]]:
        """Describe one version and each update that it consumed; raises ConfigError when there is none."""
        published = self._case.published
        if not 0 <= number < len(published):
            raise ConfigError(f"there is no version {number}: versions 0 to {len(published) - 1} are published")
        record, claim = published[number].record, published[number].claim
        manifest = self._case.manifests.get(number)
        row = _version_row(published[number], manifest) | {"manifest": claim.manifest.cid, "through": claim.through}
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

    def _update_row(self, record: Record) -> TableRow | None:
        update = record.payload
        if not isinstance(update, UpdateSubmitted):
            return None
        version, line = self._case.version_of(record.seq), self._case.line_of(record.seq)
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


def _version_row(version: Published, manifest: Manifest | None) -> TableRow:
    decisions = Counter(line.decision for line in manifest.updates) if manifest else None
    staleness = (
        [line.staleness or 0 for line in manifest.updates if line.decision is Decision.MERGED] if manifest else []
    )
    return {
        "version": version.version,
        "seq": version.record.seq,
        "time_utc": time_text(version.record.time),
        "aggregator": version.record.actor,
        "merged": None if decisions is None else decisions[Decision.MERGED],
        "rejected": None if decisions is None else decisions.total() - decisions[Decision.MERGED],
        "mean_staleness": sum(staleness) / len(staleness) if staleness else None,
        "model": version.claim.model.cid,
    }
