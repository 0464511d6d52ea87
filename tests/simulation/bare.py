"""A federation without daemons: a ledger in memory, real contents, and an aggregator that may be told to lie."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedchain.core.formats.modelfile import layout_of, read_model, write_model
from fedchain.core.ledger.content import Content
from fedchain.core.ledger.records import (
    Address,
    MemberSet,
    ModelPublished,
    PolicySet,
    Role,
    Seq,
    UpdateSubmitted,
    Version,
)
from fedchain.core.rules.manifest import Discrepancy, Manifest, genesis_manifest
from fedchain.core.rules.plan import Plan
from fedchain.core.rules.policy import Policy
from fedchain.core.updates.encodings.q24 import Q24
from fedchain.core.updates.updatefile import write_update
from fedchain.ledger.memory import MemoryChain
from fedchain.replica.follower import Follower
from fedchain.replica.inspector import Inspector, decide
from fedchain.replica.recompute import Recomputed, recompute
from fedchain.replica.replay import replay
from fedchain.store.alone import LoneStore
from fedchain.store.hashing import HashingWriter
from fedchain.store.memory import MemoryBlobs

GOVERNOR, AGGREGATOR = Address("0x" + "aa" * 20), Address("0x" + "bb" * 20)
START = {"w": np.array([0, 1, 2], np.float32), "n": np.array(0)}


class BareFederation:
    """Sites that add to every parameter; who calls decides what is published."""

    def __init__(self, policy: Policy, sites: list[Address]) -> None:
        self.blobs = MemoryBlobs()
        self.sites = sites
        self.store = LoneStore(self.blobs)
        self.time = 1000
        self.chain = MemoryChain(GOVERNOR, lambda: self.time)
        self.layout = layout_of(START)
        self.chain.append(GOVERNOR, PolicySet(policy.canonical()))
        self.chain.append(GOVERNOR, MemberSet(AGGREGATOR, Role.AGGREGATOR))
        for site in sites:
            self.chain.append(GOVERNOR, MemberSet(site, Role.TRAINER))
        model = write_model(self.layout, START, self.blobs.create())
        self.publish(Seq(0), model, genesis_manifest(self.chain.federation, model))
        self.aggregator = self.follower()

    def put(self, data: bytes) -> Content:
        writer = self.blobs.create()
        writer.write(data)
        return writer.commit()

    def lose(self, content: Content) -> None:
        del self.blobs._held[content]

    def follower(self, *, doubting: bool = False) -> Follower:
        async def doubt(follower: Follower, version: Any, manifest: Manifest) -> list[Discrepancy]:
            layout = await follower.layout()
            return await replay(
                version, manifest, follower.history, layout=layout, store=self.store, scratch=HashingWriter
            )

        return Follower(self.chain.ledger(), self.store, doubt if doubting else None)

    def submit(self, site: int, add: float, base: int = 0) -> tuple[Seq, Content]:
        model = self.model(base)
        old = read_model(self.layout, self.blobs.open(model))
        new = {"w": old["w"] + np.float32(add), "n": old["n"] + 1}
        content = write_update(self.layout, self.sites[site - 1], model, new, old, Q24(), self.blobs.create())
        update = UpdateSubmitted(Version(base), 1, content)
        return self.chain.append(self.sites[site - 1], update).seq, content

    def submit_raw(self, site: int, content: Content) -> Seq:
        return self.chain.append(self.sites[site - 1], UpdateSubmitted(Version(0), 1, content)).seq

    def model(self, version: int) -> Content:
        claims = [record.payload for record in self.chain.records if isinstance(record.payload, ModelPublished)]
        return claims[version].model

    def inspector(self) -> Inspector:
        return Inspector(self.aggregator.history, self.layout, self.store)

    async def plan(self) -> Plan:
        await self.aggregator.advance()
        history = self.aggregator.history
        state = await decide(history.open_buffer(), self.inspector().inspect, {}, Seq(history.length))
        assert state.plan is not None
        return state.plan

    async def made(self, plan: Plan) -> Recomputed:
        return await recompute(plan, self.layout, self.store, self.blobs.create)

    async def make(self, plan: Plan) -> tuple[Content, Manifest]:
        made = await self.made(plan)
        return made.merged.model, made.manifest(self.chain.federation)

    def publish(self, through: Seq, model: Content, manifest: Manifest) -> None:
        versions = sum(isinstance(record.payload, ModelPublished) for record in self.chain.records)
        head = self.chain.heads[through + 1]
        claim = ModelPublished(Version(versions), through, head, model, self.put(manifest.canonical()))
        self.chain.append(AGGREGATOR, claim)

    async def publish_honestly(self) -> None:
        plan = await self.plan()
        self.publish(plan.through, *await self.make(plan))

    async def faults(self) -> list[tuple[str, str, str]]:
        """What a doubter finds who follows from the beginning."""
        follower = self.follower(doubting=True)
        await follower.advance()
        return [(one.where, one.stated, one.expected) for fault in follower.faults for one in fault.discrepancies]
