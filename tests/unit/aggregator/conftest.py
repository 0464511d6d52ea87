from __future__ import annotations

import pytest
from unit.aggregator.world import World

from fedchain.aggregator import aggregator as module


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look around more often than a daemon that runs for years."""
    monkeypatch.setattr(module, "RETRY_S", 0.02)
    monkeypatch.setattr(module, "IDLE_S", 0.05)


@pytest.fixture
async def world() -> World:
    made = World()
    await made.simulation.found()
    return made
