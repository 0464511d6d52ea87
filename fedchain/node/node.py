"""The node's work: follow the ledger, verify the newest version, train, store, submit, repeat.

Two loops: the learner follows and trains, the submitter brings to the ledger what the journal says is stored. So
training goes on while the chain is down, and a slow chain delays nothing but its own records.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from fedchain.core.errors import DatabaseError
from fedchain.core.ledger.records import Address, Attested, Role, Seq, Verdict
from fedchain.core.ports import Clock, Journal, Ledger, Offload, Store, Training
from fedchain.core.rules.history import Published
from fedchain.core.rules.manifest import Discrepancy, Manifest
from fedchain.daemon.service import Pace, Service
from fedchain.node.learner import Learner, LearnerMetrics
from fedchain.node.options import NodeOptions
from fedchain.node.submitter import Submitter
from fedchain.replica.follower import Follower
from fedchain.replica.replay import replay
from fedchain.store.hashing import HashingWriter

OPTIONS: Final = NodeOptions()
PACE: Final = Pace()


class Node(Service):
    """One site at work; it closes its training and its journal at the end."""

    def __init__(
        self,
        member: Address,
        ledger: Ledger,
        store: Store,
        *,
        training: Training,
        journal: Journal,
        clock: Clock,
        offload: Offload,
        options: NodeOptions = OPTIONS,
        pace: Pace = PACE,
    ) -> None:
        super().__init__(member, Follower(ledger, store, self._replay if options.verify == "replay" else None))
        self._training = training
        self._journal = journal
        self._submitter = Submitter(ledger, journal, clock, pace.backoff())
        self._learner = Learner(
            member,
            self.follower,
            training=training,
            journal=journal,
            submitter=self._submitter,
            clock=clock,
            offload=offload,
            options=options,
            pace=pace,
            activity=self.activity,
            blocked=self.blocked,
            metrics=LearnerMetrics(self.registry),
        )

    async def run(self) -> None:
        """Work until cancelled; the journal then holds all that a restart needs."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._learner.run())
                tasks.create_task(self._submitter.run())
        finally:
            self._training.close()
            self._journal.close()

    def status(self) -> dict[str, Any]:
        """Describe the node as JSON."""
        try:
            updates = self._journal.counts()
        except DatabaseError:  # what is wrong stands in not_ready
            updates = {}
        return {
            **super().status(),
            "version": self._learner.version,
            "updates": updates,
            "metrics": self._learner.evaluation,
            "device": self._training.device,
        }

    def not_ready(self) -> str | None:
        """Say why the node cannot train, or not submit, just now."""
        return super().not_ready() or self._submitter.last_error

    def blocked(self) -> str | None:
        """Say what keeps the node from training though everybody answers."""
        if common := super().blocked():
            return common
        history = self.follower.history
        if Role.TRAINER not in history.members.roles(self._member, Seq(history.length)):
            return f"{self._member} is not a trainer: the governor makes it one with `fedchain member set`"
        return None

    async def _replay(self, follower: Follower, version: Published, manifest: Manifest) -> list[Discrepancy]:
        """Recompute a version before it counts, and say on the ledger that it holds."""
        self.activity.doing = f"recomputing version {version.version}"
        found = await replay(
            version,
            manifest,
            follower.history,
            layout=await follower.layout(),
            store=follower.store,
            scratch=HashingWriter,
        )
        if not found and version.version:
            self._submitter.append(Attested(version.record.seq, Verdict.RECOMPUTED), f"attest:{version.version}")
        return found
