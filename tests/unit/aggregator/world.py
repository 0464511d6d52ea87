"""An aggregator in a simulated federation."""

from __future__ import annotations

from typing import Final

from fedchain.aggregator.aggregator import Aggregator
from fedchain.core.ports import Clock, Ledger
from fedchain.core.rules.policy import Policy, fedbuff
from fedchain.daemon.service import Pace
from fedchain.simulation.clock import inline
from fedchain.simulation.federation import Simulation
from fedchain.simulation.world import AGGREGATOR

EAGER: Final = Pace(retry_s=0.02, retry_cap_s=0.02, idle_s=0.05)
"""Look around more often than a daemon that runs for years."""


class World(Simulation):
    """Three sites that a test scripts, and an aggregator at work."""

    def __init__(self, policy: Policy | None = None, **rules: int) -> None:
        super().__init__(policy=policy or fedbuff(**({"size": 2, "per_site": 2} | rules)))
        self.fetching = self.network.store(AGGREGATOR)
        """The aggregator's; it remembers what was asked of it."""

    def aggregator(
        self,
        *,
        unavailable_after_s: float = 0.01,
        ledger: Ledger | None = None,
        clock: Clock | None = None,
        pace: Pace = EAGER,
    ) -> Aggregator:
        return Aggregator(
            AGGREGATOR,
            ledger or self.ledger_of(AGGREGATOR),
            self.fetching,
            clock=clock or self.clock,
            offload=inline,
            threads=1,
            unavailable_after_s=unavailable_after_s,
            pace=pace,
        )

    def is_published(self, version: int) -> bool:
        return self.versions > version

    def decisions(self, version: int) -> dict[int, str]:
        """Say what a manifest decides of each update, by seq."""
        return {line.seq: str(line.decision) for line in self.manifest_of(version).updates}
