"""A small federation in one process: its members' keys, one chain, a network of blobs, a clock - and a script.

Every act is honest unless it is given a lie: what `submit`, `claim`, `publish` or `publish_genesis` are given stands in
for what an honest member would write, and everything else stays true. So a lying party stands behind the real ports.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Final

import numpy as np
from eth_account import Account
from eth_account.signers.local import LocalAccount

from fedchain.core.errors import LedgerUnreachable
from fedchain.core.formats.document import put
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
    address,
)
from fedchain.core.ports import Blobs
from fedchain.core.rules.history import History, Published
from fedchain.core.rules.judged import Inspection
from fedchain.core.rules.manifest import Manifest, genesis_manifest
from fedchain.core.rules.plan import Plan
from fedchain.core.rules.policy import Policy, fedbuff
from fedchain.core.strategies.merge import Merged
from fedchain.core.updates.updatefile import write_update
from fedchain.crypto.eip712 import is_signed
from fedchain.ledger.memory import FEDERATION, MemoryChain
from fedchain.replica.follower import Follower
from fedchain.replica.inspector import Inspector, decide
from fedchain.replica.recompute import Recomputed, recompute
from fedchain.simulation.clock import VirtualClock, inline, running_clock
from fedchain.simulation.ledger import MemberLedger
from fedchain.simulation.network import AllBlobs, Network
from fedchain.simulation.training import Arrays, trained
from fedchain.store.alone import LoneStore

FIRST_SITE: Final = 10
"""Members from this number on are sites."""


@cache
def key(number: int) -> LocalAccount:
    """Return the key of the n-th member, from 1: the same in every federation, so worth nothing outside of one."""
    account: LocalAccount = Account.from_key(number.to_bytes(32, "big"))
    return account


def member(number: int) -> Address:
    """Return the address of the n-th member."""
    return address(key(number).address)


GOVERNOR, AGGREGATOR, STANDBY, AUDITOR = map(member, range(1, 5))


class World:
    """What members of a federation stand on: chain, network, clock."""

    def __init__(
        self,
        *,
        clock: VirtualClock | None = None,
        blobs: Callable[[Address], Blobs] | None = None,
        federation: records.Federation = FEDERATION,
        contract: type[MemoryChain] = MemoryChain,
    ) -> None:
        """Make the ledger with its first record; `blobs` makes those of a member, or returns one heap for all."""
        self.clock = clock or running_clock()
        self.chain = contract(GOVERNOR, lambda: int(self.clock.now()), is_signed, federation)
        self.network = Network(self.clock) if blobs is None else Network(self.clock, blobs)
        self.blobs = AllBlobs(self.network, GOVERNOR)
        """Everybody's, as one."""
        self.store = LoneStore(self.blobs)
        self.ledger = self.chain.ledger(None)
        self.latency_s: dict[Address, float] = {}
        self._ledgers: dict[Address, MemberLedger] = {}
        self._history = History(federation)

    @property
    def published(self) -> Sequence[Published]:
        """The claims that are versions."""
        for record in self.chain.records[self._history.length :]:
            self._history.append(record)
        return self._history.published

    @property
    def versions(self) -> int:
        """How many versions are published, genesis included."""
        return len(self.published)

    def model(self, version: int) -> Content:
        """Name the model of a version."""
        return self.published[version].claim.model

    def manifest_of(self, version: int) -> Manifest:
        """Read the manifest of a version."""
        content = self.published[version].claim.manifest
        return Manifest.parse(self.blobs.open(content).read(0, content.size))

    def records_of(self, kind: type[Payload], actor: Address | None = None) -> list[Record]:
        """List the records of one kind, of one member or of all."""
        return [one for one in self.chain.records if isinstance(one.payload, kind) and actor in (None, one.actor)]

    def put(self, data: bytes, owner: Address = GOVERNOR) -> Content:
        """Store a blob at a member's."""
        return put(self.network.link(owner).blobs, data)

    def ledger_of(self, member: Address) -> MemberLedger:
        """Return a member's connection to the ledger; each connects once."""
        if member not in self._ledgers:
            latency_s = self.latency_s.get(member, 0.0)
            self._ledgers[member] = MemberLedger(self.chain, member, self.clock, latency_s)
        return self._ledgers[member]

    def slow(self, member: Address, latency_s: float) -> None:
        """Put a member far away from ledger and peers; before it connects."""
        assert member not in self._ledgers, f"{member} is connected already"
        self.latency_s[member] = self.network.link(member).latency_s = latency_s

    def cut(self, *members: Address) -> None:
        """Cut members off from ledger and peers."""
        for one in members:
            self.ledger_of(one).fail(LedgerUnreachable(f"{one} is cut off"))
        self.network.cut(*members)

    def heal(self, *members: Address) -> None:
        """Connect members again."""
        for one in members:
            self.ledger_of(one).mend()
        self.network.heal(*members)


class Federation(World):
    """A federation with a script. More than 12 methods because each is one act of one member."""

    def __init__(
        self,
        *,
        sites: int = 3,
        policy: Policy | None = None,
        elements: int = 12,
        seed: int = 0,
        clock: VirtualClock | None = None,
        blobs: Callable[[Address], Blobs] | None = None,
        federation: records.Federation = FEDERATION,
        contract: type[MemoryChain] = MemoryChain,
    ) -> None:
        """Begin with nothing but the ledger; `elements` are those of the model's largest tensor."""
        super().__init__(clock=clock, blobs=blobs, federation=federation, contract=contract)
        self.sites = [self.site(number) for number in range(sites)]
        self.policy = policy or fedbuff(size=2, per_site=2, timeout_s=600)
        self.elements = elements
        self.seed = seed
        self.layout: Layout = layout_of(self.genesis(), {"mask": Rule.KEPT})
        self.follower = Follower(self.ledger, self.store, offload=inline)
        self._trainings = 0

    def genesis(self) -> Arrays:
        """Make version 0: two merged tensors, a counter that the freshest update brings, a mask that stays."""
        return {
            "weight": np.linspace(-1, 1, self.elements, dtype=np.float32),
            "bias": np.zeros(3, np.float32),
            "steps": np.zeros((), np.int64),
            "mask": np.ones(5, np.uint8),
        }

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

    def train(self, number: int, base: int, scale: float = 0.1) -> Content:
        """Train a site's update to a base: noise of the given size; returns the stored update."""
        self._trainings += 1
        old = read_model(self.layout, self.blobs.open(self.model(base)))
        new = trained(old, (self.seed << 32) + self._trainings, scale)
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
        state = await decide(history.open_buffer(), inspector.inspect, dict(inspections or {}), Seq(history.length))
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
        made = Recomputed(plan, Merged(model), None) if model else await self.recompute(plan)
        return made.manifest(self.chain.federation)

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
        made = Recomputed(plan, Merged(model), None) if model else await self.recompute(plan, actor)
        manifest = manifest or made.manifest(self.chain.federation)
        named = self.put(manifest if isinstance(manifest, bytes) else manifest.canonical(), actor)
        return self.claim(actor, plan.version, plan.through if through is None else through, made.merged.model, named)

    def publish_genesis(self, *, model: Content | None = None, through: int = 0, **changes: object) -> Record:
        """Publish version 0; what is given stands in for the model, or for keys of its manifest."""
        out = self.network.link(AGGREGATOR).blobs.create()
        model = model or write_model(self.layout, self.genesis(), out)
        manifest = genesis_manifest(self.chain.federation, model).model_copy(update=changes)
        return self.claim(AGGREGATOR, 0, through, model, self.put(manifest.canonical(), AGGREGATOR))

    def claim(self, actor: Address, version: int, through: int, model: Content, manifest: Content) -> Record:
        """Claim a version on the head after record `through`."""
        head = self.chain.heads[through + 1]
        return self.act(actor, ModelPublished(Version(version), Seq(through), head, model, manifest))

    async def round(self, *numbers: int) -> Record:
        """Let sites submit on the newest version, and publish what they make."""
        for number in numbers or range(2):
            self.submit(number)
        return await self.publish()
