"""A small federation in one process, behind the real ports: real contents and rules, and a script of who does what.

Every act is honest unless it is given a lie: what `submit`, `claim`, `publish` or `publish_genesis` are given stands in
for what an honest member would write, and everything else stays true. So a lying party stands behind the real ports.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fedchain.core.formats.layout import Layout, Rule
from fedchain.core.formats.modelfile import layout_of, read_model, write_model
from fedchain.core.ledger import records
from fedchain.core.ledger.content import Content
from fedchain.core.ledger.records import (
    Address,
    Attested,
    BufferClosed,
    ContentErased,
    MemberSet,
    ModelPublished,
    Payload,
    PolicySet,
    Record,
    Role,
    Seq,
    UpdateSubmitted,
    Verdict,
    Version,
)
from fedchain.core.ports import Blobs
from fedchain.core.rules.judged import Inspection
from fedchain.core.rules.manifest import Manifest, genesis_manifest, manifest_of
from fedchain.core.rules.plan import Plan
from fedchain.core.rules.policy import Policy, fedbuff
from fedchain.core.strategies.merge import Merged
from fedchain.core.updates.updatefile import write_update
from fedchain.ledger.memory import FEDERATION, MemoryChain
from fedchain.replica.follower import Follower
from fedchain.replica.inspector import Inspector, decide
from fedchain.replica.recompute import Recomputed, recompute
from fedchain.simulation.clock import VirtualClock, inline
from fedchain.simulation.training import Arrays, trained
from fedchain.simulation.world import AGGREGATOR, AUDITOR, FIRST_SITE, GOVERNOR, STANDBY, World, member


def model_of(elements: int) -> Arrays:
    """Make a model: two merged tensors, a counter that the freshest update brings, a mask that stays."""
    return {
        "weight": np.linspace(-1, 1, elements, dtype=np.float32),
        "bias": np.zeros(3, np.float32),
        "steps": np.zeros((), np.int64),
        "mask": np.ones(5, np.uint8),
    }


class Simulation(World):
    """A federation with a script. More than 12 methods because each is one act of one member."""

    def __init__(
        self,
        *,
        sites: int = 3,
        policy: Policy | None = None,
        elements: int = 12,
        seed: int = 0,
        clock: VirtualClock | None = None,
        heap: Blobs | None = None,
        start: Arrays | None = None,
        federation: records.Federation = FEDERATION,
        contract: type[MemoryChain] = MemoryChain,
    ) -> None:
        """Begin with nothing but the ledger; version 0 is `start`, or made of so many `elements`."""
        super().__init__(clock=clock, heap=heap, federation=federation, contract=contract)
        self.sites = [self.site(number) for number in range(sites)]
        self.policy = policy or fedbuff(size=2, per_site=2, timeout_s=600)
        self.seed = seed
        self.start = start or model_of(elements)
        self.layout: Layout = layout_of(self.start, {"mask": Rule.KEPT} if "mask" in self.start else {})
        self.follower = Follower(self.ledger, self.store, offload=inline)
        self._trainings = 0

    @staticmethod
    def site(number: int) -> Address:
        """Return the address of a site, from 0."""
        return member(FIRST_SITE + number)

    def act(self, actor: Address, payload: Payload, after_s: float = 1.0) -> Record:
        """Append a record, a second later than now."""
        self.clock.advance(after_s)
        return self.chain.append(actor, payload)

    async def deploy(self) -> None:
        """Set members and policy and publish version 0."""
        self.admit_members()
        self.set_policy(self.policy)
        self.publish_genesis()

    # the governor

    def admit_members(self) -> None:
        """Give everybody a role; sites have a profile."""
        for one in (AGGREGATOR, STANDBY):
            self.act(GOVERNOR, MemberSet(one, Role.AGGREGATOR))
        self.act(GOVERNOR, MemberSet(AUDITOR, Role.AUDITOR))
        for number, site in enumerate(self.sites):
            self.act(GOVERNOR, MemberSet(site, Role.TRAINER, self.put(f"hospital {number}".encode(), site)))

    def set_policy(self, policy: Policy) -> Record:
        """Set a policy."""
        return self.act(GOVERNOR, PolicySet(policy.canonical()))

    # sites

    def train(self, number: int, base: int, scale: float = 0.1, shift: float = 0.0) -> Content:
        """Train a site's update to a base: noise of the given size, and a shift; returns the stored update."""
        self._trainings += 1
        old = read_model(self.layout, self.blobs.open(self.model(base)))
        new = trained(old, (self.seed << 32) + self._trainings, scale, shift)
        out = self.network.link(self.site(number)).blobs.create()
        return write_update(self.layout, self.site(number), self.model(base), new, old, self.policy.encodings[0], out)

    def submit(
        self,
        number: int,
        base: int | None = None,
        *,
        content: Content | None = None,
        samples: int | None = None,
        scale: float = 0.1,
    ) -> Record:
        """Train on a base (the newest version where none is given) and submit the update, or any content."""
        base = self.versions - 1 if base is None else base
        content = content or self.train(number, base, scale)
        return self.act(self.site(number), UpdateSubmitted(Version(base), samples or 100 + number, content))

    def close(self, number: int = 0) -> Record:
        """Say that the buffer's time is over, once it is."""
        return self.act(self.site(number), BufferClosed(), self.policy.buffer.timeout_s)

    def attest(self, actor: Address, seq: int, meaning: int = Verdict.RECOMPUTED) -> Record:
        """Say something of a claim or an update."""
        return self.act(actor, Attested(Seq(seq), meaning))

    def erase(self, record: Record, reason: int = 1, actor: Address | None = None) -> Record:
        """Say that an update's content is erased, and drop it everywhere."""
        assert isinstance(record.payload, UpdateSubmitted)
        self.network.lose(record.payload.content)
        return self.act(actor or record.actor, ContentErased(record.seq, reason))

    # aggregators

    async def plan(self, inspections: Mapping[Seq, Inspection] | None = None) -> Plan:
        """Judge the open buffer as the rules say, but for the inspections given; it must have closed."""
        await self.follower.advance()
        history = self.follower.history
        inspector = Inspector(history, self.layout, self.store, inline)
        found, last = dict(inspections or {}), Seq(history.length)
        state = await decide(history.open_buffer(), inspector.inspect, found, last, inline)
        assert state.plan is not None, f"the buffer of version {state.version} is open"
        return state.plan

    async def recompute(self, plan: Plan, actor: Address = AGGREGATOR) -> Recomputed:
        """Merge a plan into stored files."""
        create = self.network.link(actor).blobs.create
        return await recompute(plan, self.layout, self.store, create, offload=inline)

    async def merge(self, plan: Plan) -> Content:
        """Merge a plan into a stored model."""
        return (await self.recompute(plan)).merged.model

    async def manifest(self, plan: Plan, model: Content | None = None) -> Manifest:
        """Describe a plan and its result, or a model in its stead."""
        if model and not plan.strategy.state and not plan.strategy.needs_gram:
            return manifest_of(self.chain.federation, plan, Merged(model))  # which need not be one that can be merged
        made = await self.recompute(plan)
        merged = Merged(model or made.merged.model, made.merged.state)
        return manifest_of(self.chain.federation, plan, merged, made.gram)

    async def publish(
        self,
        plan: Plan | None = None,
        *,
        model: Content | None = None,
        manifest: Manifest | bytes | None = None,
        through: int | None = None,
        actor: Address = AGGREGATOR,
    ) -> Record:
        """Publish the next version; whatever is given stands in for what an honest aggregator would publish."""
        plan = plan or await self.plan()
        manifest = manifest or await self.manifest(plan, model)
        model = model or (await self.recompute(plan, actor)).merged.model
        named = self.put(manifest if isinstance(manifest, bytes) else manifest.canonical(), actor)
        last = plan.through if through is None else through
        return self.act(actor, self.claim(plan.version, last, model, named))

    def publish_genesis(self, *, model: Content | None = None, through: int = 0, **changes: object) -> Record:
        """Publish version 0; what is given stands in for the model, or for keys of its manifest."""
        out = self.network.link(AGGREGATOR).blobs.create()
        model = model or write_model(self.layout, self.start, out)
        manifest = genesis_manifest(self.chain.federation, model).model_copy(update=changes)
        return self.act(AGGREGATOR, self.claim(0, through, model, self.put(manifest.canonical(), AGGREGATOR)))

    def claim(self, version: int, through: int, model: Content, manifest: Content) -> ModelPublished:
        """Make the claim of a version: on the head after record `through`, or after the last one before it."""
        head = self.chain.heads[min(through + 1, len(self.chain.records))]
        return ModelPublished(Version(version), Seq(through), head, model, manifest)

    async def round(self, *numbers: int) -> Record:
        """Let sites submit on the newest version, and publish what they make."""
        for number in numbers or range(2):
            self.submit(number)
        return await self.publish()
