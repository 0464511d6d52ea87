"""A federation whose sites add to every parameter; who calls decides what is published."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedchain.core.ledger.content import Content
from fedchain.core.ledger.records import Seq
from fedchain.core.rules.manifest import Discrepancy, Manifest
from fedchain.core.rules.plan import Plan
from fedchain.core.rules.policy import Policy
from fedchain.replica.follower import Follower
from fedchain.replica.inspector import Inspector
from fedchain.replica.replay import replay
from fedchain.simulation.federation import Simulation
from fedchain.simulation.world import AGGREGATOR
from fedchain.store.hashing import HashingWriter

START = {"w": np.array([0, 1, 2], np.float32), "n": np.array(0)}


class Adding(Simulation):
    """Three sites, numbered from 1."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy=policy, start=START)
        self.admit_members()
        self.set_policy(policy)
        self.publish_genesis()

    def new_follower(self, *, doubting: bool = False) -> Follower:
        async def doubt(follower: Follower, version: Any, manifest: Manifest) -> list[Discrepancy]:
            layout = await follower.layout()
            return await replay(
                version, manifest, follower.history, layout=layout, store=self.store, scratch=HashingWriter
            )

        return Follower(self.ledger, self.store, doubt if doubting else None)

    def add(self, site: int, add: float, base: int = 0) -> tuple[Seq, Content]:
        content = self.train(site - 1, base, 0.0, add)
        return self.submit(site - 1, base, content=content, samples=1).seq, content

    def submit_raw(self, site: int, content: Content) -> Seq:
        return self.submit(site - 1, 0, content=content, samples=1).seq

    def inspector(self) -> Inspector:
        return Inspector(self.follower.history, self.layout, self.store)

    async def make(self, plan: Plan) -> tuple[Content, Manifest]:
        made = await self.recompute(plan)
        return made.merged.model, made.manifest(self.chain.federation)

    def publish_as(self, through: Seq, model: Content, manifest: Manifest) -> None:
        self.act(AGGREGATOR, self.claim(self.versions, through, model, self.put(manifest.canonical())))

    async def faults(self) -> list[tuple[str, str, str]]:
        """What a doubter finds who follows from the beginning."""
        follower = self.new_follower(doubting=True)
        await follower.advance()
        return [(one.where, one.stated, one.expected) for fault in follower.faults for one in fault.discrepancies]
