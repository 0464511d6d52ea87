"""An aggregator of a strategy with state: nothing of it is the aggregator's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from simulation import momentum
from simulation.services import running, until
from unit.aggregator.world import World

from fedchain.core.rules.policy import preset


@pytest.fixture(autouse=True)
def _momentum() -> Iterator[None]:
    with momentum.registered():
        yield


@pytest.mark.parametrize("is_model_lost", [False, True])
async def test_a_state_that_nobody_has_any_more_is_made_again(is_model_lost: bool) -> None:
    world = World(preset("momentum", size=2, per_site=2, timeout_s=600))
    await world.deploy()
    async with running(world.aggregator()) as work:
        for version in (1, 2):
            world.submit(0)
            world.submit(1)
            await until(work, lambda version=version: world.is_published(version))  # type: ignore[misc]
    lost = [blob.content for version in (1, 2) for blob in (world.manifest_of(version).state or {}).values()]
    assert len(lost) == 4
    if is_model_lost:
        lost += [world.model(1), world.model(2)]
    world.submit(0)
    world.submit(1)  # they know the model of version 2, which is then lost
    for content in lost:
        world.network.lose(content)
    async with running(world.aggregator()) as work:
        await until(work, lambda: world.is_published(3))
    for content in lost[:2] if is_model_lost else lost[2:4]:
        world.blobs.check(content)
    await world.follower.advance()
    assert world.follower.faults == []
