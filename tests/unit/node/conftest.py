from __future__ import annotations

from pathlib import Path

import pytest
from simulation.federation import Simulation
from unit.node.site import Site, roomy


@pytest.fixture
async def simulation() -> Simulation:
    made = Simulation(policy=roomy())
    await made.found()
    return made


@pytest.fixture
def site(tmp_path: Path, simulation: Simulation) -> Site:
    return Site(tmp_path, simulation)
