from __future__ import annotations

from pathlib import Path

import pytest
from unit.node.site import Site, roomy

from fedchain.simulation.clock import VirtualLoop
from fedchain.simulation.federation import Simulation


def pytest_asyncio_loop_factories(config: object, item: object) -> dict[str, type[VirtualLoop]]:
    """Run every test here in virtual time."""
    del config, item
    return {"virtual": VirtualLoop}


@pytest.fixture
async def simulation() -> Simulation:
    made = Simulation(policy=roomy())
    await made.deploy()
    return made


@pytest.fixture
def site(tmp_path: Path, simulation: Simulation) -> Site:
    return Site(tmp_path, simulation)
