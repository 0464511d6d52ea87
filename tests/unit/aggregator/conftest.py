from __future__ import annotations

import pytest
from unit.aggregator.world import World

from fedchain.simulation.clock import VirtualLoop


@pytest.fixture
async def world() -> World:
    made = World()
    await made.deploy()
    return made


def pytest_asyncio_loop_factories(config: object, item: object) -> dict[str, type[VirtualLoop]]:
    """Run every test here in virtual time."""
    del config, item
    return {"virtual": VirtualLoop}
