"""The follower: feeds a history from a ledger and a store, for whoever needs it - node, aggregator, audit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from fedchain.core.errors import FormatError, Reorganised, Unavailable
from fedchain.core.formats.layout import Layout, read_layout
from fedchain.core.ledger.content import Content
from fedchain.core.ledger.records import Seq
from fedchain.core.ports import BlobReader, Ledger, Offload, Store
from fedchain.core.rules.history import History, Published
from fedchain.core.rules.manifest import Discrepancy, Manifest

MAX_DOCUMENT = 64 << 20
"""Bytes of a manifest that are read into memory."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A published version that does not follow from the ledger."""

    version: Published
    discrepancies: tuple[Discrepancy, ...]

    def __str__(self) -> str:
        return f"version {self.version.version} by {self.version.record.actor}: " + "; ".join(
            map(str, self.discrepancies)
        )


VersionCheck = Callable[["Follower", Published, Manifest], Awaitable[list[Discrepancy]]]
"""A check of a version before it is applied; what it finds joins what the records alone show."""


class Follower:
    """A history that keeps up with its ledger."""

    def __init__(
        self,
        ledger: Ledger,
        store: Store,
        check_version: VersionCheck | None = None,
        offload: Offload = asyncio.to_thread,
    ) -> None:
        self._check_version = check_version
        self._offload = offload
        self.ledger = ledger
        self.store = store
        self._start()

    def _start(self) -> None:
        self.history = History(self.ledger.federation)
        self.manifests: dict[int, Manifest] = {}
        self.faults: list[Fault] = []
        self._layout: Layout | None = None

    async def advance(self) -> None:
        """Take in every new record and manifest.

        Raises LedgerError, and ContentError when a manifest cannot be had: call again later, nothing
        is taken in twice. Raises Reorganised when records are gone: the next call starts from the first one.
        """
        history = self.history
        try:
            records = await self.ledger.records(Seq(history.length), history.head)
        except Reorganised:
            self._start()
            raise
        for record in records:
            history.append(record)
        while history.applied < len(history.published):
            version = history.published[history.applied]
            manifest = await self._manifest(version)
            doubts = await self._check_version(self, version, manifest) if self._check_version and manifest else []
            discrepancies = dict.fromkeys([*await self._offload(history.check, manifest), *doubts])
            history.apply(manifest)
            if manifest:
                self.manifests[version.version] = manifest
            if discrepancies:
                self.faults.append(Fault(version, tuple(discrepancies)))

    async def layout(self) -> Layout:
        """Return the model's layout, which stands in every version's file; raises Unavailable when all are gone."""
        if self._layout is None:
            self._layout = read_layout(await self._any_model())
        return self._layout

    async def _any_model(self) -> BlobReader:
        """Fetch the newest applied model that somebody still has."""
        for version in reversed(self.history.published[1 : self.history.applied]):
            with suppress(Unavailable):
                return await self.store.fetch(version.claim.model)
        return await self.store.fetch(self.history.published[0].claim.model)

    async def document(self, content: Content) -> bytes:
        """Fetch a document; raises FormatError when it is too large to be one."""
        if content.size > MAX_DOCUMENT:
            raise FormatError(f"{content} is too large for a document: at most {MAX_DOCUMENT} bytes")
        buffer: BlobReader = await self.store.fetch(content)
        return await self._offload(buffer.read, 0, content.size)

    async def _manifest(self, version: Published) -> Manifest | None:
        try:
            return Manifest.parse(await self.document(version.claim.manifest))
        except FormatError:
            return None
