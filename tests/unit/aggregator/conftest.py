from __future__ import annotations

import pytest
from unit.aggregator.world import World


@pytest.fixture
async def world() -> World:
    made = World()
    await made.simulation.deploy()
    return made
