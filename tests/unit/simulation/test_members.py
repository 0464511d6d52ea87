"""Services are started, stopped, killed and started again; time passes until something holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulation.audits import clean

from fedchain.core.errors import TaskError
from fedchain.core.ledger.records import UpdateSubmitted
from fedchain.core.rules.policy import fedbuff
from fedchain.simulation.clock import DAY
from fedchain.simulation.federation import Simulation
from fedchain.simulation.members import Services
from fedchain.simulation.training import SimulatedTraining
from fedchain.simulation.world import AGGREGATOR


@pytest.fixture
async def simulation() -> Simulation:
    made = Simulation(sites=2, policy=fedbuff(size=2, per_site=1))
    await made.deploy()
    return made


def start(services: Services) -> None:
    services.start_aggregator()
    for number in range(2):
        services.start_node(number)


async def test_who_is_stopped_does_and_serves_nothing_until_it_is_started_again(simulation: Simulation) -> None:
    site = simulation.site(0)
    async with Services(simulation) as services:
        start(services)
        await services.until(lambda: simulation.versions == 3)
        await services.stop(site)
        before = len(simulation.records_of(UpdateSubmitted, site))
        await simulation.clock.sleep(DAY)
        assert len(simulation.records_of(UpdateSubmitted, site)) == before
        assert not simulation.network.link(site).is_up
        services.restart(site)
        before = simulation.versions
        await services.until(lambda: simulation.versions == before + 3)
        assert site in {line.site for line in simulation.manifest_of(before + 2).updates}
    await clean(simulation)


@pytest.mark.parametrize("journal", ["memory", "file"])
async def test_a_node_that_is_killed_at_any_time_submits_each_update_once(tmp_path: Path, journal: str) -> None:
    simulation = Simulation(sites=2, policy=fedbuff(size=2, per_site=1))
    site = simulation.site(0)
    simulation.slow(site, 5.0)
    await simulation.deploy()
    async with Services(simulation, folder=tmp_path if journal == "file" else None) as services:
        start(services)
        for seconds in (3.0, 31.0, 67.0, 72.0, 13.0, 66.0, 74.0, 61.0):
            await simulation.clock.sleep(seconds)
            await services.kill(site)
            services.restart(site)
        await services.until(lambda: simulation.versions == 6)
        await services.until(lambda: services.processes[site].service.activity.doing == "waiting")
    contents = [one.payload for one in simulation.records_of(UpdateSubmitted, site)]
    assert len(set(contents)) == len(contents)
    assert (await clean(simulation)).decisions == {"merged": 10}


async def test_what_ends_a_service_ends_the_wait(simulation: Simulation) -> None:
    class Broken(SimulatedTraining):
        async def train(self, arrays, seed, steps=None):
            raise TaskError("no such column")

    services = Services(simulation)
    services.start_node(0, training=Broken(simulation.clock))
    with pytest.raises(ExceptionGroup) as caught:
        await services.until(lambda: simulation.versions == 2)
    assert caught.group_contains(TaskError, match="no such column")
    with pytest.raises(ExceptionGroup):
        await services.stop(simulation.site(0))
    async with services:
        pass


async def test_what_does_not_come_to_pass_is_said_with_what_everybody_does(simulation: Simulation) -> None:
    async with Services(simulation) as services:
        services.start_aggregator()
        begun = simulation.clock.monotonic()
        with pytest.raises(TimeoutError, match=rf"within 60.0 s: {AGGREGATOR} waiting \(ready\)"):
            await services.until(lambda: simulation.versions == 2, 60.0)
        assert simulation.clock.monotonic() == pytest.approx(begun + 60.0)


async def test_a_condition_that_holds_already_takes_no_time(simulation: Simulation) -> None:
    async with Services(simulation) as services:
        begun = simulation.clock.monotonic()
        await services.until(lambda: True)
        assert simulation.clock.monotonic() == begun
