"""The learner: follows the ledger, fetches and evaluates the newest version, trains on it, stores the update."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge

from fedchain.core.errors import (
    ContentError,
    Corrupt,
    DatabaseError,
    FedchainError,
    FormatError,
    LedgerError,
    LedgerUnreachable,
    Reorganised,
)
from fedchain.core.formats.document import Document, put
from fedchain.core.formats.layout import Layout
from fedchain.core.formats.modelfile import read_model
from fedchain.core.ledger.content import Content
from fedchain.core.ledger.records import Address, EvaluationReported, Seq, Version
from fedchain.core.ports import Clock, Journal, Offload, Training
from fedchain.core.rules.history import Published
from fedchain.core.rules.policy import Policy
from fedchain.core.updates.updatefile import write_update
from fedchain.daemon.service import Activity, Pace
from fedchain.node.options import NodeOptions
from fedchain.node.submitter import Submitter
from fedchain.replica.follower import Follower

log = logging.getLogger(__name__)


class Report(Document):
    """How a version does on a site's own data."""

    format: str = "fedchain/report/1"
    version: int
    model: str
    metrics: dict[str, float]


class LearnerMetrics:
    """What a node counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.version = Gauge("fedchain_version", "Newest verified version", registry=registry)
        self.trainings = Counter("fedchain_trainings", "Trainings finished", registry=registry)
        self.seconds = Counter("fedchain_training_seconds", "Seconds spent training", registry=registry)


class Learner:
    """A site that learns."""

    def __init__(
        self,
        member: Address,
        follower: Follower,
        *,
        training: Training,
        journal: Journal,
        submitter: Submitter,
        clock: Clock,
        offload: Offload,
        options: NodeOptions,
        pace: Pace,
        activity: Activity,
        blocked: Callable[[], str | None],
        metrics: LearnerMetrics,
    ) -> None:
        """Prepare; `blocked` says what forbids training though everybody answers."""
        self.version: Version | None = None
        """The newest version that was fetched and checked."""
        self.evaluation: dict[str, float] = {}
        """How it does on the site's own data."""
        self._member = member
        self._follower = follower
        self._training = training
        self._journal = journal
        self._submitter = submitter
        self._clock = clock
        self._offload = offload
        self._options = options
        self._idle_s = pace.idle_s
        self._backoff = pace.backoff()
        self._activity = activity
        self._blocked = blocked
        self._metrics = metrics
        self._arrays: dict[str, Any] = {}

    async def run(self) -> None:
        """Learn until cancelled; what fails outside the task is tried again. Raises TaskError, FormatError."""
        while True:
            try:
                await self._step()
            except Reorganised as error:
                log.warning("%s", error)
                self.version = None
            except (LedgerError, ContentError, DatabaseError) as error:
                await self._failed(error)

    async def _step(self) -> None:
        """Catch up, then train where there is room for one more update; otherwise wait for news."""
        is_reachable = await self._keep_up()
        if trains := self.version is not None and self._blocked() is None and self._has_room():
            await self._train(self.version)
        if is_reachable:
            self._activity.last_error = None
            self._backoff.succeeded()
            if not trains:
                self._activity.doing = "waiting"
                await self._follower.ledger.wait(Seq(self._follower.history.length), self._idle_s)
        elif not trains:
            await self._clock.sleep(self._backoff.failed())

    async def _failed(self, error: FedchainError) -> None:
        self._activity.last_error = str(error)
        wait = self._backoff.failed()
        log.warning("%s; trying again in %.1f s", error, wait)
        await self._clock.sleep(wait)

    async def _keep_up(self) -> bool:
        """Follow the ledger and tell whether it answers; while it does not, training goes on with what is known."""
        try:
            await self._follower.advance()
            await self._take_newest()
        except LedgerUnreachable as error:
            self._activity.last_error = str(error)
            log.warning("%s; version %s is the newest that is known", error, self.version)
            return False
        return True

    async def _take_newest(self) -> None:
        """Fetch, check and evaluate the newest version."""
        latest = self._follower.history.latest
        if latest is None or latest.version == self.version or self._follower.faults:
            return
        self._activity.doing = f"fetching version {latest.version}"
        try:
            self._arrays = await self._fetch(latest)
        except FormatError as error:
            problem = f"version {latest.version} by {latest.record.actor} is not a model: {error}"
            raise Corrupt(problem, latest.claim.model) from error
        self.version = latest.version
        self._metrics.version.set(latest.version)
        if self._options.evaluate:
            self._activity.doing = f"evaluating version {latest.version}"
            self.evaluation = await self._training.evaluate(self._arrays)
            log.info("version %d: %s", latest.version, _plain(self.evaluation))
            if self._options.report:
                await self._report(latest)

    async def _fetch(self, version: Published) -> dict[str, Any]:
        """Fetch a version's arrays; raises FormatError where its bytes are not a model of the federation's layout."""
        claimed, genesis = version.claim.model.size, self._follower.history.published[0].claim.model.size
        if claimed != genesis:  # not a byte of it needs to be fetched
            raise FormatError(f"the record says {claimed} bytes, genesis has {genesis}")
        layout, model = await self._follower.layout(), await self._follower.store.fetch(version.claim.model)
        return await self._offload(read_model, layout, model)

    async def _report(self, version: Published) -> None:
        """Put an evaluation on the ledger."""
        report = Report(version=version.version, model=version.claim.model.cid, metrics=self.evaluation).canonical()
        content = await self._offload(put, self._follower.store.local, report)
        self._submitter.append(EvaluationReported(version.version, content), f"report:{version.version}")

    def _has_room(self) -> bool:
        """Tell whether one more update of this site fits the open buffer."""
        history = self._follower.history
        assert history.latest is not None
        entries = [*self._journal.waiting(), *self._journal.included_since(history.latest.consumed + 1)]
        return history.room(self._member, [(entry.base, entry.seq) for entry in entries]) > 0

    async def _train(self, version: Version) -> None:
        """Train on a version and store the update."""
        entry = self._journal.begin(version)
        base = self._follower.history.published[entry.base].claim.model
        self._activity.doing = f"training on version {entry.base}"
        started = self._clock.monotonic()
        seed = (self._options.seed << 32) + entry.number
        trained = await self._training.train(self._arrays, seed, self._options.steps)
        await self._clock.sleep(self._options.at_least_s - (self._clock.monotonic() - started))
        layout = await self._follower.layout()
        _, policy = self._follower.history.policy(Seq(self._follower.history.length))
        content = await self._offload(self._store_update, layout, base, policy, trained.arrays)
        self._journal.stored(entry, trained.samples, content)
        self._submitter.wake()
        self._metrics.trainings.inc()
        self._metrics.seconds.inc(trained.seconds)
        log.info("trained on version %d: %s, %s", entry.base, content.cid, _plain(trained.metrics))

    def _store_update(self, layout: Layout, base: Content, policy: Policy, trained: dict[str, Any]) -> Content:
        """Encode, seal (policy: none) and store what training changed."""
        out, encoding = self._follower.store.local.create(), policy.encodings[0]
        return write_update(layout, self._member, base, trained, self._arrays, encoding, out)


def _plain(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
