"""The node's work: follow the ledger, verify the newest version, train, store, submit, repeat.

Two loops: one follows and trains, one submits what the journal says is stored. So training goes on while the
chain is down, and a slow chain delays nothing but its own records.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final

from prometheus_client import Counter, Gauge

from fedchain.core.errors import (
    ContentError,
    Corrupt,
    FormatError,
    LedgerError,
    LedgerRefused,
    LedgerUnreachable,
    Reorganised,
)
from fedchain.core.formats.document import Document, put
from fedchain.core.formats.layout import Layout
from fedchain.core.formats.modelfile import read_model, write_update
from fedchain.core.ledger.content import Content
from fedchain.core.ledger.records import (
    Address,
    Attested,
    EvaluationReported,
    Payload,
    Role,
    Seq,
    UpdateSubmitted,
    Verdict,
    Version,
)
from fedchain.core.ports import Ledger, Store
from fedchain.core.rules.history import Published
from fedchain.core.rules.manifest import Discrepancy, Manifest
from fedchain.core.updates.fixed_point import encode_update
from fedchain.daemon.service import Service
from fedchain.node.journal import Journal, JournalEntry
from fedchain.node.settings import NodeConfig
from fedchain.replica.follower import Follower
from fedchain.replica.replay import replay
from fedchain.store.hashing import HashingWriter
from fedchain.training.trainer import Trainer

log = logging.getLogger(__name__)

RETRY_S: Final = 2.0
"""Seconds to wait after the ledger or a peer failed, before it is asked again."""

IDLE_S: Final = 10.0
"""Seconds after which a node looks around even if the ledger tells nothing new."""


class Report(Document):
    """How a version does on a site's own data."""

    format: str = "fedchain/report/1"
    version: int
    model: str
    metrics: dict[str, float]


class Node(Service):
    """One site at work."""

    def __init__(
        self, member: Address, ledger: Ledger, store: Store, *, trainer: Trainer, journal: Journal, config: NodeConfig
    ) -> None:
        super().__init__(member, Follower(ledger, store, self._replay if config.verify == "replay" else None))
        self._ledger = ledger
        self._store = store
        self._trainer = trainer
        self._journal = journal
        self._config = config
        self._verified: Version | None = None
        self._arrays: dict[str, Any] = {}
        self._metrics: dict[str, float] = {}
        self._submit_error: str | None = None
        self._stored = asyncio.Event()
        self._background: set[asyncio.Task[None]] = set()
        self._version_gauge = Gauge("fedchain_version", "Newest verified version", registry=self.registry)
        self._trainings = Counter("fedchain_trainings", "Trainings finished", registry=self.registry)
        self._seconds = Counter("fedchain_training_seconds", "Seconds spent training", registry=self.registry)

    async def run(self) -> None:
        """Work until cancelled; the journal then holds all that a restart needs."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._train_forever())
                tasks.create_task(self._submit_forever())
        finally:
            for task in self._background:
                task.cancel()
            self._trainer.close()
            self._journal.close()

    def status(self) -> dict[str, Any]:
        """Describe the node as JSON."""
        return {
            **super().status(),
            "version": self._verified,
            "updates": self._journal.counts(),
            "metrics": self._metrics,
            "device": str(self._trainer.device),
        }

    def not_ready(self) -> str | None:
        """Say why the node cannot train, or not submit, just now."""
        return super().not_ready() or self._submit_error

    def blocked(self) -> str | None:
        """Say what keeps the node from training though everybody answers."""
        if common := super().blocked():
            return common
        history = self.follower.history
        if Role.TRAINER not in history.members.roles(self._member, Seq(history.length)):
            return f"{self._member} is not a trainer: the governor makes it one with `fedchain member set`"
        return None

    async def _train_forever(self) -> None:
        while True:
            try:
                await self._keep_up()
                if self._verified is not None and self.blocked() is None and self._has_room():
                    await self._train()
                elif self._last_error:
                    await asyncio.sleep(RETRY_S)
                else:
                    self._doing = "waiting"
                    await self._ledger.wait(Seq(self.follower.history.length), IDLE_S)
            except Reorganised as error:
                log.warning("%s", error)
                self._verified = None
            except (LedgerError, ContentError) as error:
                self._last_error = str(error)
                log.warning("%s; trying again in %g s", error, RETRY_S)
                await asyncio.sleep(RETRY_S)

    async def _keep_up(self) -> None:
        """Follow the ledger; while it does not answer, training goes on with what is known."""
        try:
            await self._follow()
            self._last_error = None
        except LedgerUnreachable as error:
            self._last_error = str(error)
            log.warning("%s; version %s is the newest that is known", error, self._verified)

    async def _follow(self) -> None:
        """Catch up with the ledger; fetch, check and evaluate the newest version."""
        await self.follower.advance()
        latest = self.follower.history.latest
        if latest is None or latest.version == self._verified or self.follower.faults:
            return
        self._doing = f"fetching version {latest.version}"
        claimed, genesis = latest.claim.model.size, self.follower.history.published[0].claim.model.size
        try:
            if claimed != genesis:  # not a byte of it needs to be fetched
                raise FormatError(f"the record says {claimed} bytes, genesis has {genesis}")
            layout, model = await self.follower.layout(), await self._store.fetch(latest.claim.model)
            self._arrays = await asyncio.to_thread(read_model, layout, model)
        except FormatError as error:
            raise Corrupt(f"version {latest.version} by {latest.record.actor} is not a model: {error}") from error
        self._verified = latest.version
        self._version_gauge.set(latest.version)
        if self._config.evaluate:
            self._doing = f"evaluating version {latest.version}"
            self._metrics = await self._trainer.evaluate(self._arrays)
            log.info("version %d: %s", latest.version, _plain(self._metrics))
            if self._config.report:
                self._spawn(self._report(latest))

    def _has_room(self) -> bool:
        """Tell whether one more update of this site fits the open buffer; one that is too stale takes no room.

        Counted are the journal's updates: two equal ones are one record. The ledger's are added where a journal was
        lost.
        """
        history = self.follower.history
        latest = history.latest
        assert latest is not None
        _, _, policy = history.policy(latest.consumed)
        entries = [*self._journal.waiting(), *self._journal.included_since(latest.consumed + 1)]
        journalled = {entry.seq for entry in entries}
        bases = [entry.base for entry in entries] + [
            record.payload.base
            for record in history.tail
            if isinstance(record.payload, UpdateSubmitted)
            and record.actor == self._member
            and record.seq not in journalled
        ]
        oldest = latest.version - policy.admission.max_staleness
        return sum(base >= oldest for base in bases) < policy.buffer.per_site

    async def _train(self) -> None:
        """Train on the newest version and store the update."""
        assert self._verified is not None
        entry = self._journal.begin(self._verified)
        base = self.follower.history.published[entry.base].claim.model
        self._doing = f"training on version {entry.base}"
        started = time.monotonic()
        seed = (self._config.training.seed << 32) + entry.number
        trained = await self._trainer.train(self._arrays, seed, self._config.training.steps)
        await asyncio.sleep(max(0.0, (self._config.training.at_least_s or 0.0) - (time.monotonic() - started)))
        layout = await self.follower.layout()
        content = await asyncio.to_thread(self._store_update, layout, base, trained.arrays)
        self._journal.stored(entry, trained.fit.samples, content)
        self._stored.set()
        self._trainings.inc()
        self._seconds.inc(trained.seconds)
        log.info("trained on version %d: %s, %s", entry.base, content.cid, _plain(dict(trained.fit.metrics)))

    def _store_update(self, layout: Layout, base: Content, trained: dict[str, Any]) -> Content:
        """Encode, seal (policy: none) and store what training changed."""
        arrays = encode_update(layout, trained, self._arrays)
        return write_update(layout.update_header(self._member, base), arrays, self._store.local.create())

    async def _submit_forever(self) -> None:
        """Bring every stored update to the ledger, oldest first."""
        while True:
            self._stored.clear()
            try:
                for entry in self._journal.waiting():
                    await self._submit(entry)
                self._submit_error = None
                await self._stored.wait()
            except LedgerError as error:
                self._submit_error = f"an update is not on the ledger yet: {error}"
                log.warning("%s; trying again in %g s", self._submit_error, RETRY_S)
                await asyncio.sleep(RETRY_S)

    async def _submit(self, entry: JournalEntry) -> None:
        try:
            record = await self._ledger.append(entry.update, key=f"update:{entry.content.cid}")
        except LedgerRefused as error:
            log.error("update %d is refused: %s", entry.number, error)
            self._journal.refused(entry, str(error))
        else:
            self._journal.included(entry, record.seq)
            log.info("update to version %d is record %d", entry.base, record.seq)

    async def _report(self, version: Published) -> None:
        """Put an evaluation on the ledger."""
        report = Report(version=version.version, model=version.claim.model.cid, metrics=self._metrics).canonical()
        content = await asyncio.to_thread(put, self._store.local, report)
        await self._append(EvaluationReported(version.version, content), f"report:{version.version}")

    async def _replay(self, follower: Follower, version: Published, manifest: Manifest) -> list[Discrepancy]:
        """Recompute a version before it counts, and say on the ledger that it holds."""
        self._doing = f"recomputing version {version.version}"
        found = await replay(
            version,
            manifest,
            follower.history,
            layout=await follower.layout(),
            store=self._store,
            scratch=HashingWriter,
        )
        if not found and version.version:
            claim = version.record.seq
            self._spawn(self._append(Attested(claim, Verdict.RECOMPUTED), f"attest:{version.version}"))
        return found

    def _spawn(self, what: Any) -> None:
        """Append a record that nothing waits for."""
        task = asyncio.create_task(what)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _append(self, payload: Payload, key: str) -> None:
        try:
            await self._ledger.append(payload, key)
        except LedgerError as error:
            log.warning("%s is not on the ledger: %s", key, error)


def _plain(metrics: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
