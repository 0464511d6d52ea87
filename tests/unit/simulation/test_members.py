"""Services are started, stopped, killed and started again; time passes until something holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulation.audits import clean

from fedchain.core.errors import TaskError
from fedchain.core.ledger.records import UpdateSubmitted
from fedchain.core.rules.policy import fedbuff
from fedchain.simulation.clock import DAY
from fedchain.simulation.federation import Federation
from fedchain.simulation.members import Services
from fedchain.simulation.training import SimulatedTraining
from fedchain.simulation.world import AGGREGATOR


@pytest.fixture
async def federation() -> Federation:
    made = Federation(sites=2, policy=fedbuff(size=2, per_site=1))
    await made.deploy()
    return made


def start(services: Services) -> None:
    services.start_aggregator()
    for number in range(2):
        services.start_node(number)


async def test_who_is_stopped_does_and_serves_nothing_until_it_is_started_again(federation: Federation) -> None:
    site = federation.site(0)
    async with Services(federation) as services:
        start(services)
        await services.until(lambda: federation.versions == 3)
        await services.stop(site)
        before = len(federation.records_of(UpdateSubmitted, site))
        await federation.clock.sleep(DAY)
        assert len(federation.records_of(UpdateSubmitted, site)) == before
        assert not federation.network.link(site).is_up
        services.restart(site)
        before = federation.versions
        await services.until(lambda: federation.versions == before + 3)
        assert site in {line.site for line in federation.manifest_of(before + 2).updates}
    await clean(federation)


@pytest.mark.parametrize("journal", ["memory", "file"])
async def test_a_node_that_is_killed_at_any_time_submits_each_update_once(tmp_path: Path, journal: str) -> None:
    federation = Federation(sites=2, policy=fedbuff(size=2, per_site=1))
    site = federation.site(0)
    federation.slow(site, 5.0)
    await federation.deploy()
    async with Services(federation, folder=tmp_path if journal == "file" else None) as services:
        start(services)
        for seconds in (3.0, 31.0, 67.0, 72.0, 13.0, 66.0, 74.0, 61.0):
            await federation.clock.sleep(seconds)
            await services.kill(site)
            services.restart(site)
        await services.until(lambda: federation.versions == 6)
        await services.until(lambda: services.processes[site].service.activity.doing == "waiting")
    contents = [one.payload for one in federation.records_of(UpdateSubmitted, site)]
    assert len(set(contents)) == len(contents)
    assert (await clean(federation)).decisions == {"merged": 10}


async def test_what_ends_a_service_ends_the_wait(federation: Federation) -> None:
    class Broken(SimulatedTraining):
        async def train(self, arrays, seed, steps=None):
            raise TaskError("no such column")

    services = Services(federation)
    services.start_node(0, training=Broken(federation.clock))
    with pytest.raises(ExceptionGroup) as caught:
        await services.until(lambda: federation.versions == 2)
    assert caught.group_contains(TaskError, match="no such column")
    with pytest.raises(ExceptionGroup):
        await services.stop(federation.site(0))
    async with services:
        pass


async def test_what_does_not_come_to_pass_is_said_with_what_everybody_does(federation: Federation) -> None:
    async with Services(federation) as services:
        services.start_aggregator()
        begun = federation.clock.monotonic()
        with pytest.raises(TimeoutError, match=rf"not within 60.0 s: {AGGREGATOR} waiting \(ready\)"):
            await services.until(lambda: federation.versions == 2, 60.0)
        assert federation.clock.monotonic() == pytest.approx(begun + 60.0)


async def test_a_condition_that_holds_already_takes_no_time(federation: Federation) -> None:
    async with Services(federation) as services:
        begun = federation.clock.monotonic()
        await services.until(lambda: True)
        assert federation.clock.monotonic() == begun
