"""The case: a federation's records and manifests, with the indices by which questions are answered."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from fedchain.audit.contents import Contents
from fedchain.core.errors import FormatError, Unavailable
from fedchain.core.ledger.records import Federation, Record, Seq
from fedchain.core.rules.history import History, Published
from fedchain.core.rules.manifest import Manifest, UpdateLine


class Case:
    """Records, and the manifests of their versions as far as they can be had."""

    def __init__(self, federation: Federation, records: Sequence[Record]) -> None:
        history = History(federation)
        for record in records:
            history.append(record)
        self.records = records
        self.manifests: dict[int, Manifest] = {}
        """Those that could be read, by version."""
        self.published: Sequence[Published] = history.published
        """The versions, by number; claims without effect are not among them."""
        self._consumed = [version.consumed for version in history.published[1:]]
        self._lines: dict[tuple[int, Seq], UpdateLine] = {}

    @classmethod
    async def read(cls, federation: Federation, records: Sequence[Record], contents: Contents) -> Case:
        """Read the manifests; one that no peer has, or whose bytes are not a manifest, is left out."""
        case = cls(federation, records)
        for number, version in enumerate(case.published):
            try:
                manifest = Manifest.parse(await contents.document(version.claim.manifest))
            except (Unavailable, FormatError):
                continue
            case.manifests[number] = manifest
            case._lines |= {(number, Seq(line.seq)): line for line in manifest.updates}
        return case

    def version_of(self, seq: Seq) -> int | None:
        """Return the version that consumed a record, which the records alone say; None while none has."""
        index = bisect_left(self._consumed, seq)
        return index + 1 if index < len(self._consumed) else None

    def line_of(self, seq: Seq) -> UpdateLine | None:
        """Return what the manifest of the version that consumed an update says of it."""
        version = self.version_of(seq)
        return None if version is None else self._lines.get((version, seq))
