"""The aggregator's work: follow the ledger, admit, fetch ahead, merge, publish.

It keeps no state of its own: everything follows from ledger and content, so another one may take over at any
time, or run beside it. Of two equal claims the first counts, and the other has no effect.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter as Tally
from typing import Any, Final

from prometheus_client import Counter, Gauge, Histogram

from fedchain.aggregator.fetch_ahead import FetchAhead
from fedchain.core.errors import FedchainError, Reorganised, Unavailable
from fedchain.core.formats.document import put
from fedchain.core.ledger.records import Address, BufferClosed, ModelPublished, Role, Seq, UpdateSubmitted
from fedchain.core.ports import Clock, Ledger, Offload, Store
from fedchain.core.rules.buffer import BufferState
from fedchain.core.rules.manifest import Discrepancy, Manifest
from fedchain.core.rules.plan import Plan
from fedchain.daemon.service import Pace, Service
from fedchain.replica.follower import Fault, Follower
from fedchain.replica.recompute import plan_again, recompute

log = logging.getLogger(__name__)

PACE: Final = Pace()


class Aggregator(Service):
    """One aggregator at work."""

    def __init__(
        self,
        member: Address,
        ledger: Ledger,
        store: Store,
        *,
        clock: Clock,
        offload: Offload,
        threads: int,
        unavailable_after_s: float,
        pace: Pace = PACE,
    ) -> None:
        """Begin with nothing; `threads` merge, and what no peer has is unavailable so many seconds after its record."""
        super().__init__(member, Follower(ledger, store))
        self._ledger = ledger
        self._store = store
        self._clock = clock
        self._offload = offload
        self._threads = threads
        self._pace = pace
        self._backoff = pace.backoff()
        self._fetched = FetchAhead(
            self.follower, store, clock=clock, pace=pace, unavailable_after_s=unavailable_after_s
        )
        self._closed_at = 0.0
        self._made: Manifest | None = None
        self._claimed: Seq | None = None
        """The record in which this aggregator claimed the version that it made last."""
        self._version = Gauge("fedchain_version", "Newest published version", registry=self.registry)
        self._published = Counter("fedchain_published", "Claims recorded by this daemon", registry=self.registry)
        self._merging = Histogram("fedchain_merge_seconds", "Seconds to merge a version", registry=self.registry)

    async def run(self) -> None:
        """Work until cancelled; there is nothing to save."""
        try:
            while True:
                await self._step()
        finally:
            self._fetched.clear()

    def status(self) -> dict[str, Any]:
        """Describe the aggregator as JSON."""
        history = self.follower.history
        lines = [line for manifest in self.follower.manifests.values() for line in manifest.updates]
        merged = [line.staleness or 0 for line in lines if line.decision == "merged"]
        return {
            **super().status(),
            "version": history.applied - 1,
            "updates": dict(Tally(str(line.decision) for line in lines)),
            "mean_staleness": sum(merged) / len(merged) if merged else None,
            "waiting": sum(isinstance(record.payload, UpdateSubmitted) for record in history.tail),
        }

    def blocked(self) -> str | None:
        """Say what keeps the aggregator from publishing though everybody answers."""
        if common := super().blocked():
            return common
        history = self.follower.history
        if Role.AGGREGATOR not in history.members.roles(self._member, Seq(history.length)):
            return f"{self._member} is not an aggregator: the governor makes it one with `fedchain member set`"
        return None

    async def _step(self) -> None:
        """Publish the next version if it can be made; otherwise wait for what is missing."""
        self._fetched.news.clear()
        try:
            idle = await self._work()
            self.activity.last_error = None
            self._backoff.succeeded()
            if idle:
                self.activity.doing = "waiting"
                await self._wait(idle)
        except Reorganised as error:
            log.warning("%s", error)
            self._fetched.clear()
            self._made = None
        except FedchainError as error:
            self.activity.last_error = str(error)
            wait = self._backoff.failed()
            log.warning("%s; trying again in %.1f s", error, wait)
            await self._clock.sleep(wait)

    async def _work(self) -> float:
        """Do what can be done now; returns the seconds after which to look again, 0 for at once."""
        await self._follow()
        self._version.set(self.follower.history.applied - 1)
        if self.blocked() is not None:
            return self._pace.idle_s
        buffer = self.follower.history.buffer()
        state = await self._offload(buffer.judge, dict(self._fetched.inspections))
        self._fetched.start(state)
        if state.plan is not None:
            await self._publish(state.plan)
            return 0.0
        await self._close_if_due(state)
        left = self._pace.idle_s if state.timeout_at is None else state.timeout_at - self._clock.now()
        return min(max(left, self._pace.retry_s), self._pace.idle_s)

    async def _follow(self) -> None:
        """Catch up with the ledger, and hold the model that the next version changes.

        What nobody has any more - a predecessor published it and lost its disk - is made again: a version is a
        function of ledger and updates.
        """
        history = self.follower.history
        try:
            await self.follower.advance()
        except Unavailable as error:
            if not 0 < history.applied < len(history.published):
                raise
            log.warning("version %d is published, but %s: making it again", history.applied, error)
        self._compare()
        if history.applied and not self.follower.faults:
            await self._hold(history.applied - 1)

    def _compare(self) -> None:
        """Compare the version that this aggregator made with the one that is published: the same updates, one result.

        Two honest aggregators may differ in what was available to them, and then publish different versions.
        """
        made = self._made
        theirs = made and self.follower.manifests.get(made.version)
        if made is None or theirs is None:
            return
        self._made = None
        published = self.follower.history.published[made.version]
        if published.record.seq == self._claimed:
            self._published.inc()
        if theirs.updates == made.updates and published.claim.model != made.result.content:
            found = Discrepancy("published model", str(published.claim.model), str(made.result.content))
            self.follower.faults.append(Fault(published, (found,)))

    async def _hold(self, version: int) -> None:
        """Have what the next version changes here, model and state; merge it once more where no peer has it."""
        manifest = self.follower.manifests.get(version)
        state = manifest.state.values() if manifest and manifest.state else ()
        try:
            for content in (self.follower.history.published[version].claim.model, *(blob.content for blob in state)):
                await self._store.fetch(content)
        except Unavailable as error:
            if version == 0 or manifest is None:
                raise
            log.warning("version %d: %s; merging it again", version, error)
            await self._hold(version - 1)
            plan = plan_again(manifest, self.follower.manifests.get(version - 1), self.follower.history)
            layout, create = await self.follower.layout(), self._store.local.create
            await recompute(plan, layout, self._store, create, threads=self._threads)

    async def _publish(self, plan: Plan) -> None:
        """Merge and publish, or make again what is published and lost.

        Another aggregator may have been faster, which changes nothing.
        """
        history = self.follower.history
        self.activity.doing = f"merging version {plan.version}"
        started = self._clock.monotonic()
        layout = await self.follower.layout()
        made = await recompute(plan, layout, self._store, self._store.local.create, threads=self._threads)
        self._merging.observe(self._clock.monotonic() - started)
        self._made, model = made.manifest(history.federation), made.merged.model
        manifest = await self._offload(put, self._store.local, self._made.canonical())
        claim = ModelPublished(plan.version, plan.through, history.heads[plan.through], model, manifest)
        if plan.version < len(history.published):
            theirs = history.published[plan.version].claim
            if (claim.through, model, manifest) != (theirs.through, theirs.model, theirs.manifest):
                raise Unavailable(f"version {plan.version} is published as other bytes, which no peer has: {theirs}")
            return
        await self.follower.advance()  # of two equal claims the later one is gas spent for nothing
        if plan.version < len(history.published):
            log.info("version %d is published already", plan.version)
            return
        record = await self._ledger.append(claim, key=f"publish:{plan.version}")
        self._claimed = record.seq
        log.info(
            "version %d is claimed in record %d: %d merged, %s", plan.version, record.seq, len(plan.merged), model.cid
        )

    async def _close_if_due(self, state: BufferState) -> None:
        """Close a buffer whose time is over; the block's time decides whether it was."""
        now = self._clock.now()
        if state.timeout_at is None or state.to_inspect:
            return
        if now < max(state.timeout_at, self._closed_at + self._pace.retry_s):
            return
        self._closed_at = now
        log.info("the buffer of version %d is over its time with %d updates", state.version, len(state.admitted))
        await self._ledger.append(BufferClosed())

    async def _wait(self, idle: float) -> None:
        """Wait for a record, an inspection, or the time to look around."""
        events = [
            asyncio.create_task(self._ledger.wait(Seq(self.follower.history.length), idle)),
            asyncio.create_task(self._fetched.news.wait()),
        ]
        try:
            done, _ = await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for event in events:
                event.cancel()
        for event in done:
            event.result()
