"""Node and aggregator at work on ports in memory: real rules, real training, no sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from oracle.compare import agree

from fedchain.aggregator.aggregator import Aggregator
from fedchain.core.formats.modelfile import layout_of, read_model, write_model
from fedchain.core.ledger.records import (
    Address,
    Attested,
    EvaluationReported,
    MemberSet,
    ModelPublished,
    PolicySet,
    Role,
    Seq,
    UpdateSubmitted,
    Version,
)
from fedchain.core.ports import Blobs
from fedchain.core.rules.manifest import genesis_manifest
from fedchain.core.rules.policy import Policy, fedasync, fedavg, fedbuff
from fedchain.ledger.memory import MemoryChain
from fedchain.node.journal import SqliteJournal
from fedchain.node.node import Node
from fedchain.node.options import NodeOptions
from fedchain.store.alone import LoneStore
from fedchain.store.memory import MemoryBlobs
from fedchain.system.clock import SystemClock
from fedchain.training.examples.addconstant import AddConstant
from fedchain.training.state import arrays_of
from fedchain.training.trainer import Options, Trainer

GOVERNOR, AGGREGATOR = Address("0x" + "aa" * 20), Address("0x" + "bb" * 20)
SITES = [Address("0x" + f"{i:02x}" * 20) for i in (1, 2, 3)]
PATIENCE_S = 30


class Tiny(AddConstant):
    """Ten thousand parameters."""

    megabytes: ClassVar[int] = 0

    def model(self):

        return torch.nn.ParameterList(torch.linspace(-1, 1, 100) for _ in range(3))


class Federation:
    """A founded federation in memory."""

    def __init__(self, folder: Path, policy: Policy) -> None:
        self.folder = folder
        self.chain = MemoryChain(GOVERNOR, lambda: int(time.time()))
        self.blobs = MemoryBlobs()
        self.ledger = self.chain.ledger(GOVERNOR)
        self.policy = policy

    async def found(self) -> None:
        await self.ledger.append(PolicySet(self.policy.canonical()))
        await self.ledger.append(MemberSet(AGGREGATOR, Role.AGGREGATOR))
        for site in SITES:
            await self.ledger.append(MemberSet(site, Role.TRAINER))
        arrays = arrays_of(Tiny().model())
        model = write_model(layout_of(arrays), arrays, self.blobs.create())
        manifest = put(self.blobs, genesis_manifest(self.chain.federation, model).canonical())
        claim = ModelPublished(Version(0), Seq(0), self.chain.heads[1], model, manifest)
        await self.chain.ledger(AGGREGATOR).append(claim)

    def aggregator(self) -> Aggregator:
        return Aggregator(
            AGGREGATOR,
            self.chain.ledger(AGGREGATOR),
            LoneStore(self.blobs),
            clock=SystemClock(),
            offload=asyncio.to_thread,
            threads=1,
            unavailable_after_s=1,
        )

    def node(self, site: Address, options: NodeOptions | None = None) -> Node:
        return Node(
            site,
            self.chain.ledger(site),
            LoneStore(self.blobs),
            training=Trainer(Tiny(), options=Options(device="cpu", threads=1)),
            journal=SqliteJournal(self.folder / f"{site}.sqlite"),
            clock=SystemClock(),
            offload=asyncio.to_thread,
            options=options or NodeOptions(),
        )

    async def until(self, done: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            seq = 0
            while not await done():
                seq = len(await self.ledger.records())
                await self.ledger.wait(Seq(seq), 1)

    async def versions(self) -> list[ModelPublished]:
        return [r.payload for r in await self.ledger.records() if isinstance(r.payload, ModelPublished)]

    async def agree(self) -> None:
        """Ask the oracle; a version that is published is there to stay."""
        versions = agree(self.chain.federation, self.chain.records, self.blobs)
        assert len(versions) == len({claim.version for claim in await self.versions()})

    async def count(self, kind: type) -> int:
        return sum(isinstance(record.payload, kind) for record in await self.ledger.records())


def put(blobs: Blobs, data: bytes):
    writer = blobs.create()
    writer.write(data)
    return writer.commit()


@asynccontextmanager
async def running(*services: Aggregator | Node) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(service.run()) for service in services]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException) and not isinstance(end, asyncio.CancelledError):
                raise end


@pytest.mark.parametrize(
    "policy", [fedavg(), fedbuff(size=2), fedasync(alpha=1.0)], ids=["fedavg", "fedbuff", "fedasync"]
)
async def test_versions_grow_by_what_sites_add(tmp_path: Path, policy: Policy) -> None:
    federation = Federation(tmp_path, policy)
    await federation.found()
    async with running(federation.aggregator(), *map(federation.node, SITES)):
        await federation.until(lambda: reached(federation, 4))
    await federation.agree()
    versions = await federation.versions()
    first, last = (model_of(federation, versions[i]) for i in (0, 3))
    steps = [last[name] - first[name] for name in first]
    # FedAvg's sites are never stale, so each of 3 versions adds exactly one step; the others add at most that.
    assert all(step.min() > 0 and step.max() < 0.0301 for step in steps)
    if policy == fedavg():
        assert all(np.allclose(step, 0.03, atol=1e-6) for step in steps)


async def test_a_node_that_replays_attests_each_version_once(tmp_path: Path) -> None:
    federation = Federation(tmp_path, fedbuff(size=2))
    await federation.found()
    async with running(
        federation.aggregator(),
        *map(federation.node, SITES[:2]),
        federation.node(SITES[2], NodeOptions(verify="replay", report=True)),
    ):
        await federation.until(lambda: attested(federation, 3))
    records = await federation.ledger.records()
    claims = {record.seq: record.payload.version for record in records if isinstance(record.payload, ModelPublished)}
    attestations = [claims[record.payload.seq] for record in records if isinstance(record.payload, Attested)]
    assert sorted(attestations)[:3] == [1, 2, 3]
    assert len(set(attestations)) == len(attestations)
    assert await federation.count(EvaluationReported) > 0


async def test_a_buffer_whose_time_is_over_is_closed(tmp_path: Path) -> None:
    federation = Federation(tmp_path, fedbuff(size=3, timeout_s=1))
    await federation.found()
    async with running(federation.aggregator(), federation.node(SITES[0])):
        await federation.until(lambda: reached(federation, 2))
    await federation.agree()
    assert await federation.count(UpdateSubmitted) >= 1


async def test_what_a_lost_aggregator_alone_had_is_made_again(tmp_path: Path) -> None:
    federation = Federation(tmp_path, fedbuff(size=2))
    await federation.found()
    async with running(federation.aggregator(), *map(federation.node, SITES)):
        await federation.until(lambda: reached(federation, 4))
    versions = await federation.versions()
    lost = [versions[-2].model, versions[-1].model, versions[-1].manifest]
    for content in lost:
        federation.blobs.forget(content)
    async with running(federation.aggregator(), *map(federation.node, SITES)):
        await federation.until(lambda: reached(federation, len(versions) + 2))
    for content in lost:
        federation.blobs.check(content)
    await federation.agree()


async def reached(federation: Federation, count: int) -> bool:
    return len(await federation.versions()) >= count


async def attested(federation: Federation, count: int) -> bool:
    return await federation.count(Attested) >= count


def model_of(federation: Federation, claim: ModelPublished) -> dict[str, np.ndarray]:
    layout = layout_of(arrays_of(Tiny().model()))
    return read_model(layout, federation.blobs.open(claim.model))
