"""Lies that are told while the real services are at work: who notices, and what the audit says."""

from __future__ import annotations

from simulation.audits import audit, sole

from fedchain.audit.findings import Rule
from fedchain.core.ledger.records import UpdateSubmitted
from fedchain.core.rules.policy import fedbuff
from fedchain.node.options import NodeOptions
from fedchain.simulation.federation import Simulation
from fedchain.simulation.members import Services
from fedchain.simulation.world import STANDBY


async def test_a_wrong_result_stops_every_node_that_replays_and_is_found() -> None:
    simulation = Simulation(policy=fedbuff(size=2))
    await simulation.deploy()
    async with Services(simulation) as services:
        for number in range(3):
            services.start_node(number, options=NodeOptions(verify="replay"))
        await services.until(lambda: len(simulation.records_of(UpdateSubmitted)) >= 2)
        await simulation.publish(model=simulation.model(0), actor=STANDBY)
        nodes = [services.processes[site].service for site in simulation.sites]
        await services.until(lambda: all("does not follow" in str(node.not_ready()) for node in nodes))
        assert all(STANDBY in str(node.not_ready()) for node in nodes)
    finding = sole(await audit(simulation))
    assert (finding.rule, finding.subject) == (Rule.VERSION_RESULT, "version 1")


async def test_withheld_and_spoiled_contents_come_to_the_same_versions_for_all() -> None:
    simulation = Simulation(policy=fedbuff(size=2, timeout_s=600))
    await simulation.deploy()
    async with Services(simulation) as services:
        services.start_aggregator()
        for number in range(3):
            services.start_node(number)
        held = simulation.submit(0)
        spoiled = simulation.submit(1)
        assert isinstance(held.payload, UpdateSubmitted)
        assert isinstance(spoiled.payload, UpdateSubmitted)
        simulation.network.withhold(simulation.site(0), held.payload.content)
        simulation.network.falsify(simulation.site(1), spoiled.payload.content, b"other bytes")
        await services.until(lambda: simulation.versions > 3)
    lines = {line.seq: line.decision for line in simulation.manifest_of(1).updates}
    assert (lines[held.seq], lines[spoiled.seq]) == ("unavailable", "unavailable")
    assert (await audit(simulation)).exit_code == 0
