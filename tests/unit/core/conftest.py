from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from numpy.typing import NDArray

from fedchain.core.formats.layout import Layout, Rule
from fedchain.core.formats.modelfile import layout_of, write_model
from fedchain.core.ledger.content import Content, Digest
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
)
from fedchain.core.ports import BlobReader
from fedchain.core.rules.buffer import BufferState
from fedchain.core.rules.history import History
from fedchain.core.rules.judged import Decision, Inspection, JudgedUpdate
from fedchain.core.rules.manifest import Discrepancy, Manifest, genesis_manifest, manifest_of
from fedchain.core.rules.plan import Plan
from fedchain.core.rules.policy import AdmissionRules, BufferRules, Policy
from fedchain.core.strategies.mean import Mean
from fedchain.core.strategies.merge import Merge, Merged, MergeInputs
from fedchain.core.strategies.registry import STRATEGIES
from fedchain.core.strategies.strategy import Cohort, Weights
from fedchain.core.updates.encodings.q24 import Q24
from fedchain.core.updates.updatefile import UpdateFile, write_integers
from fedchain.replica.recompute import run_merge
from fedchain.store.memory import MemoryBlobs

# A busy machine is no failure: an example may take as long as it takes.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

FEDERATION = Federation(31337, Address("0x" + "fedc" * 10))
GOVERNOR = Address("0x" + "aa" * 20)
AGGREGATOR = Address("0x" + "bb" * 20)
SITES = [Address("0x" + f"{number:02x}" * 20) for number in range(1, 10)]
FINE = Inspection(None, max_abs=5, norm2=25)


def make_policy(**changes: Any) -> Policy:
    """FedBuff with two updates in a buffer; `size`, `timeout_s`, `per_site`, rules and policy keys by name."""
    buffer = {key: changes.pop(key, default) for key, default in [("size", 2), ("timeout_s", 60), ("per_site", 1)]}
    rules = {key: changes.pop(key) for key in AdmissionRules.model_fields if key in changes}
    keys = {key: changes.pop(key) for key in ("strategy", "encodings") if key in changes}
    return Policy(
        buffer=BufferRules(**buffer),
        admission=AdmissionRules(**{"max_staleness": 16} | rules),
        **{"strategy": Mean(**changes)} | keys,
    )


class Story:
    """A federation told record by record; contents are names only, and found fine unless `found` says otherwise."""

    def __init__(self, policy: Policy | None = None, sites: int = 3, first_policy: bytes | None = None) -> None:
        self.history = History(FEDERATION)
        self.records: list[Record] = []
        self.manifests: list[Manifest] = []
        self.found: dict[Seq, Inspection] = {}
        self.now = 1000
        self._names = itertools.count(1)
        self.add(MemberSet(GOVERNOR, Role.GOVERNOR))
        self.add(PolicySet((policy or make_policy()).canonical() if first_policy is None else first_policy))
        self.add(MemberSet(AGGREGATOR, Role.AGGREGATOR))
        for site in SITES[:sites]:
            self.set_roles(site, Role.TRAINER)
        model = self.content()
        self.claim(Seq(0), model, genesis_manifest(FEDERATION, model))
        assert self.apply() == []

    def content(self, size: int = 100) -> Content:
        return Content(Digest(next(self._names).to_bytes(32, "big")), size)

    def add(self, payload: Payload, actor: Address = GOVERNOR, at: int | None = None) -> Record:
        self.now = self.now + 1 if at is None else at
        record = Record(Seq(len(self.records)), actor, self.now, payload)
        self.records.append(record)
        self.history.append(record)
        return record

    def set_policy(self, policy: Policy | None) -> Seq:
        return self.add(PolicySet(b"not a policy" if policy is None else policy.canonical())).seq

    def set_roles(self, member: Address, roles: Role) -> Seq:
        return self.add(MemberSet(member, roles)).seq

    def update(
        self, site: int, base: int = 0, *, samples: int = 1, content: Content | None = None, at: int | None = None
    ) -> Seq:
        """Site number `site` submits an update."""
        payload = UpdateSubmitted(Version(base), samples, content or self.content())
        return self.add(payload, SITES[site - 1], at).seq

    def close(self, at: int | None = None) -> Seq:
        return self.add(BufferClosed(), SITES[0], at).seq

    def buffer_state(self) -> BufferState:
        """How the next version stands once every content has been inspected."""
        return self.history.open_buffer().judge({record.seq: FINE for record in self.records} | self.found)

    def plan(self) -> Plan:
        plan = self.buffer_state().plan
        assert plan is not None
        return plan

    def claim(self, through: Seq, model: Content, manifest: Manifest) -> None:
        """Publish whatever is given."""
        self.manifests.append(manifest)
        version = Version(len(self.history.published))
        self.add(ModelPublished(version, through, self.history.heads[through], model, self.content()), AGGREGATOR)

    def publish(self, **changes: object) -> list[Discrepancy]:
        """Publish and apply the next version, with changes to its honest manifest."""
        plan, model = self.plan(), self.content()
        self.claim(plan.through, model, manifest_of(FEDERATION, plan, Merged(model)).model_copy(update=changes))
        return self.apply()

    def apply(self) -> list[Discrepancy]:
        """Check and apply the next version."""
        manifest = self.manifests[self.history.applied]
        found = self.history.check(manifest)
        self.history.apply(manifest)
        return found


@dataclass
class Bench:
    """Model and update files in memory, and merges of them."""

    layout: Layout
    blobs: MemoryBlobs = field(default_factory=MemoryBlobs)

    def model(self, arrays: Mapping[str, NDArray[Any]]) -> BlobReader:
        return self.blobs.open(write_model(self.layout, arrays, self.blobs.create()))

    def update(self, arrays: list[NDArray[Any]], site: int = 1) -> UpdateFile:
        """Write an update from its arrays in layout order, and open it."""
        base = Content(Digest(bytes(32)), 1)
        content = self.put(arrays, site, base)
        return UpdateFile.open(self.blobs.open(content), self.layout, SITES[site - 1], base, [Q24()])

    def put(self, arrays: list[NDArray[Any]], site: int, base: Content) -> Content:
        """Write a site's update to a base."""
        names = [slot.tensor.name for slot in self.layout.slots if slot.rule is not Rule.KEPT]
        named = dict(zip(names, arrays, strict=True))
        return write_integers(self.layout, SITES[site - 1], base, named, Q24(), self.blobs.create())

    def merge(
        self, strategy: str, weights: Weights, rate: float, inputs: MergeInputs, *, threads: int = 1, **how: int
    ) -> bytes:
        parameters = STRATEGIES[strategy].parameters(rate=rate)
        merge = Merge(self.layout, STRATEGIES[strategy], parameters, weights, inputs)
        if threads > 1:
            content = run_merge(merge, self.blobs.create, threads, **how).model
        else:
            content = merge.run(self.blobs.create, **how).model
        return self.blobs.open(content).read(0, content.size)


def weigh_up(policy: Policy, pairs: Sequence[tuple[int, int]]) -> Weights:
    """Weigh updates of which only staleness and samples are known."""
    updates = tuple(
        JudgedUpdate(
            seq=Seq(10 + number),
            site=SITES[0],
            content=Content(Digest(number.to_bytes(32, "big")), 9),
            base=Version(0),
            samples=samples,
            decision=Decision.MERGED,
            staleness=staleness,
            inspection=None,
        )
        for number, (staleness, samples) in enumerate(pairs)
    )
    return STRATEGIES[policy.strategy.name].weigh(Cohort(updates), policy.strategy)


@pytest.fixture(scope="session")
def weigh() -> Callable[..., Weights]:
    return weigh_up


@pytest.fixture(scope="session")
def policy() -> Callable[..., Policy]:
    return make_policy


@pytest.fixture(scope="session")
def begin() -> Callable[..., Story]:
    return Story


@pytest.fixture(scope="session")
def bench() -> Callable[..., Bench]:
    def of(arrays: Mapping[str, NDArray[Any]], rules: Mapping[str, int | Rule] | None = None) -> Bench:
        return Bench(layout_of(arrays, rules))

    return of


@pytest.fixture(scope="session")
def sites() -> list[Address]:
    return SITES


@pytest.fixture(scope="session")
def federation() -> Federation:
    return FEDERATION
