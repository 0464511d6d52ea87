"""A simulated federation around one aggregator."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from simulation.services import Cut

from fedchain.aggregator.aggregator import Aggregator
from fedchain.core.ledger.content import Content
from fedchain.core.ledger.records import Payload, Record
from fedchain.core.ports import BlobReader, Clock
from fedchain.core.rules.manifest import Manifest
from fedchain.core.rules.policy import Policy, fedbuff
from fedchain.daemon.service import Pace
from fedchain.simulation.federation import Simulation
from fedchain.simulation.world import AGGREGATOR
from fedchain.store.alone import LoneStore
from fedchain.store.memory import MemoryBlobs
from fedchain.system.clock import SystemClock

EAGER: Final = Pace(retry_s=0.02, retry_cap_s=0.02, idle_s=0.05)
"""Look around more often than a daemon that runs for years."""


class Asked(LoneStore):
    """A store that remembers what was asked of it."""

    def __init__(self, blobs: MemoryBlobs) -> None:
        super().__init__(blobs)
        self.contents: list[Content] = []

    async def fetch(self, content: Content) -> BlobReader:
        self.contents.append(content)
        return await super().fetch(content)


class World:
    """A simulated federation of three sites whose blocks bear the time of day, and an aggregator."""

    def __init__(self, rules: Policy | None = None, **policy: int) -> None:
        self.blobs = MemoryBlobs()
<<<<<<< HEAD
        rules = fedbuff(**({"size": 2, "per_site": 2} | policy))
        self.simulation = Simulation(heap=self.blobs, policy=rules, now=int(time.time()) - 60)
=======
        rules = rules or fedbuff(**({"size": 2, "per_site": 2} | policy))
        self.simulation = Simulation(blobs=self.blobs, policy=rules, now=int(time.time()) - 60)
>>>>>>> main
        self.store = Asked(self.blobs)
        self.ledger = Cut(self.simulation.chain, AGGREGATOR)

    def aggregator(
        self,
        *,
        unavailable_after_s: float = 0.01,
        ledger: Cut | None = None,
        clock: Clock | None = None,
        pace: Pace = EAGER,
    ) -> Aggregator:
        return Aggregator(
            AGGREGATOR,
            ledger or self.ledger,
            self.store,
            clock=clock or SystemClock(),
            offload=asyncio.to_thread,
            threads=1,
            unavailable_after_s=unavailable_after_s,
            pace=pace,
        )

    def submit(self, number: int, content: Content | None = None) -> Record:
        """Let a site submit in a block of now."""
        self.simulation.now = int(time.time()) - 1
        return self.simulation.submit(number, content=content)

    def published(self, version: int) -> bool:
        return self.simulation.versions > version

    def manifest(self, version: int) -> Manifest:
        content = self.simulation.published[version].claim.manifest
        return Manifest.parse(self.blobs.open(content).read(0, content.size))

    def decisions(self, version: int) -> dict[int, str]:
        """Say what a manifest decides of each update, by seq."""
        return {line.seq: str(line.decision) for line in self.manifest(version).updates}

    def records(self, kind: type[Payload]) -> list[Record]:
        return [record for record in self.simulation.chain.records if isinstance(record.payload, kind)]
