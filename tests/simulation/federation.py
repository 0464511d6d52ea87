"""A small federation in one process, behind the real ports: ledger and blobs, sites and an aggregator, a clock.

Sites train by adding seeded noise; the aggregator follows core's rules. Both are honest: a test that wants a lie
gives the lying value to `publish` or `submit`, and everything else stays true.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
from eth_account import Account
from eth_account.signers.local import LocalAccount
from numpy.typing import NDArray

from fedchain.core.formats.layout import Layout, Rule
from fedchain.core.formats.modelfile import layout_of, read_model, write_model
from fedchain.core.ledger.content import Content
from fedchain.core.ledger.records import (
    Address,
    BufferClosed,
    Federation,
    MemberSet,
    ModelPublished,
    Payload,
    PolicySet,
    Record,
    Role,
    Seq,
    UpdateSubmitted,
    Version,
    address,
)
from fedchain.core.ports import Blobs
from fedchain.core.rules.history import History, Published
from fedchain.core.rules.judged import Inspection
from fedchain.core.rules.manifest import Manifest, genesis_manifest, manifest_of
from fedchain.core.rules.plan import Plan
from fedchain.core.rules.policy import Policy, fedbuff
from fedchain.core.strategies.merge import Merged
from fedchain.core.updates.encodings.q24 import Q24
from fedchain.core.updates.updatefile import write_update
from fedchain.ledger.memory import FEDERATION, MemoryChain
from fedchain.replica.follower import Follower
from fedchain.replica.inspector import Inspector, decide
from fedchain.replica.recompute import Recomputed, recompute
from fedchain.store.alone import LoneStore
from fedchain.store.memory import MemoryBlobs

Arrays = dict[str, NDArray[Any]]

START = 1_700_000_000
"""Block time of the first record."""


@cache
def key(number: int) -> LocalAccount:
    """Return the key of the n-th member, for a simulation that is played on a real chain."""
    account: LocalAccount = Account.from_key(number.to_bytes(32, "big"))
    return account


def member(number: int) -> Address:
    """Return the address of the n-th member; from 10 on they are sites."""
    return address(key(number).address)


GOVERNOR, AGGREGATOR, STANDBY, AUDITOR = map(member, range(1, 5))


@dataclass
class Simulation:
    """A federation: everybody's keys, one chain, one heap of blobs."""

    blobs: Blobs = field(default_factory=MemoryBlobs)
    sites: int = 3
    policy: Policy = field(default_factory=lambda: fedbuff(size=2, per_site=2, timeout_s=600))
    elements: int = 12
    """Elements of the model's largest tensor."""
    seed: int = 0
    now: int = START
    federation: Federation = FEDERATION
    contract: type[MemoryChain] = MemoryChain

    def __post_init__(self) -> None:
        self.chain = self.contract(GOVERNOR, lambda: self.now, federation=self.federation)
        self.store = LoneStore(self.blobs)
        self.ledger = self.chain.ledger(None)
        self.random = np.random.default_rng(self.seed)
        self.layout: Layout = layout_of(self.genesis(), {"mask": Rule.KEPT})
        self.follower = Follower(self.ledger, self.store)
        self._history = History(self.federation)

    def genesis(self) -> Arrays:
        """Make version 0: two merged tensors, a counter that the freshest update brings, a mask that stays."""
        return {
            "weight": np.linspace(-1, 1, self.elements, dtype=np.float32),
            "bias": np.zeros(3, np.float32),
            "steps": np.zeros((), np.int64),
            "mask": np.ones(5, np.uint8),
        }

    def site(self, number: int) -> Address:
        """Return the address of a site, from 0."""
        return member(10 + number)

    def act(self, actor: Address, payload: Payload) -> Record:
        """Append a record, one second after the one before."""
        self.now += 1
        return self.chain.append(actor, payload)

    def put(self, data: bytes) -> Content:
        """Store a blob."""
        writer = self.blobs.create()
        writer.write(data)
        return writer.commit()

    async def found(self) -> None:
        """Set members and policy and publish version 0."""
        self.admit_members()
        self.set_policy(self.policy)
        self.publish_genesis()

    def admit_members(self) -> None:
        """Give everybody a role; sites have a profile."""
        for one in (AGGREGATOR, STANDBY):
            self.act(GOVERNOR, MemberSet(one, Role.AGGREGATOR))
        self.act(GOVERNOR, MemberSet(AUDITOR, Role.AUDITOR))
        for number in range(self.sites):
            profile = self.put(f"hospital {number}".encode())
            self.act(GOVERNOR, MemberSet(self.site(number), Role.TRAINER, profile))

    def publish_genesis(self, *, model: Content | None = None, through: int = 0, **changes: object) -> Record:
        """Publish version 0; what is given stands in for the model, or for keys of its manifest."""
        model = model or write_model(self.layout, self.genesis(), self.blobs.create())
        manifest = genesis_manifest(self.chain.federation, model).model_copy(update=changes)
        return self.act(AGGREGATOR, self.claim(0, through, model, self.put(manifest.canonical())))

    def claim(self, version: int, through: int, model: Content, manifest: Content) -> ModelPublished:
        """Make the claim of a version: on the head after record `through`, or after the last one before it."""
        head = self.chain.heads[min(through + 1, len(self.chain.records))]
        return ModelPublished(Version(version), Seq(through), head, model, manifest)

    def set_policy(self, policy: Policy) -> Record:
        """Let the governor set a policy."""
        return self.act(GOVERNOR, PolicySet(policy.canonical()))

    def model(self, version: int) -> Content:
        """Name the model of a version."""
        return self.published[version].claim.model

    def train(self, number: int, base: int, scale: float = 0.1) -> Content:
        """Train a site's update to a base: noise of the given size; returns the stored update."""
        old = read_model(self.layout, self.blobs.open(self.model(base)))
        new = {
            name: array + self.random.normal(0, scale, array.shape).astype(np.float32)
            if array.dtype == np.float32
            else array
            for name, array in old.items()
        }
        new["steps"] = old["steps"] + 1
        return write_update(self.layout, self.site(number), self.model(base), new, old, Q24(), self.blobs.create())

    def submit(
        self,
        number: int,
        base: int | None = None,
        *,
        content: Content | None = None,
        samples: int | None = None,
        scale: float = 0.1,
    ) -> Record:
        """Let a site train on a base (the newest version where none is given) and submit its update."""
        base = self.versions - 1 if base is None else base
        content = content or self.train(number, base, scale)
        return self.act(self.site(number), UpdateSubmitted(Version(base), samples or 100 + number, content))

    def close(self, number: int = 0) -> Record:
        """Let a site say that the buffer's time is over, once it is."""
        self.now += self.policy.buffer.timeout_s
        return self.act(self.site(number), BufferClosed())

    @property
    def versions(self) -> int:
        """How many versions are published."""
        return len(self.published)

    @property
    def published(self) -> Sequence[Published]:
        """The claims that are versions."""
        for record in self.chain.records[self._history.length :]:
            self._history.append(record)
        return self._history.published

    async def plan(self, inspections: Mapping[Seq, Inspection] | None = None) -> Plan:
        """Judge the open buffer as the rules say, but for the inspections given; it must have closed."""
        await self.follower.advance()
        history = self.follower.history
        inspector = Inspector(history, self.layout, self.store)
        state = await decide(history.open_buffer(), inspector.inspect, dict(inspections or {}), Seq(history.length))
        assert state.plan is not None, f"{len(state.admitted)} of {state.size} updates are admitted"
        return state.plan

    async def merge(self, plan: Plan) -> Content:
        """Merge a plan into a stored model."""
        return (await self.made(plan)).merged.model

    async def made(self, plan: Plan) -> Recomputed:
        """Merge a plan into stored files."""
        return await recompute(plan, self.layout, self.store, self.blobs.create)

    async def manifest(self, plan: Plan, model: Content | None = None) -> Manifest:
        """Describe a plan and its result, or another model than its result."""
        if model and not plan.strategy.state and not plan.strategy.needs_gram:
            return manifest_of(self.chain.federation, plan, Merged(model))
        made = await self.made(plan)
        return manifest_of(
            self.chain.federation, plan, Merged(model or made.merged.model, made.merged.state), made.gram
        )

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
        model = model or await self.merge(plan)
        manifest = manifest or await self.manifest(plan, model)
        named = self.put(manifest if isinstance(manifest, bytes) else manifest.canonical())
        last = plan.through if through is None else Seq(through)
        return self.act(actor, self.claim(plan.version, last, model, named))

    async def round(self, *numbers: int) -> Record:
        """Let sites submit on the newest version, and publish what they make."""
        for number in numbers or range(2):
            self.submit(number)
        return await self.publish()


def with_line(manifest: Manifest, seq: int, **changes: object) -> Manifest:
    """Change keys of one update's line in a manifest."""
    lines = tuple(line.model_copy(update=changes) if line.seq == seq else line for line in manifest.updates)
    return manifest.model_copy(update={"updates": lines})


def without_line(manifest: Manifest, seq: int) -> Manifest:
    """Leave one update's line out of a manifest."""
    return manifest.model_copy(update={"updates": tuple(line for line in manifest.updates if line.seq != seq)})


def with_entry(plan: Plan, seq: int, **changes: Any) -> Plan:
    """Change one update's entry in a plan."""
    updates = tuple(replace(one, **changes) if one.seq == seq else one for one in plan.updates)
    return replace(plan, updates=updates)
