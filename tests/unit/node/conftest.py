from __future__ import annotations

from pathlib import Path

import pytest
from simulation.federation import Simulation
from unit.node.site import Site, roomy

from fedchain.node import node as node_module


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look around more often than a daemon that runs for years."""
    monkeypatch.setattr(node_module, "RETRY_S", 0.02)
    monkeypatch.setattr(node_module, "IDLE_S", 0.02)


@pytest.fixture
async def simulation() -> Simulation:
    made = Simulation(policy=roomy())
    await made.found()
    return made


@pytest.fixture
def site(tmp_path: Path, simulation: Simulation) -> Site:
    return Site(tmp_path, simulation)
