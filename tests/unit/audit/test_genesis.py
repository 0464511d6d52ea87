"""Version 0 is an input: its manifest names it and nothing else."""

from __future__ import annotations

import pytest
from simulation.audits import audit, sole

from fedchain.audit.findings import Rule
from fedchain.simulation.federation import Simulation


@pytest.fixture
def simulation() -> Simulation:
    """A federation with members and without genesis."""
    made = Simulation()
    made.admit_members()
    return made


async def test_an_honest_genesis(simulation: Simulation) -> None:
    simulation.publish_genesis()
    assert (await audit(simulation)).exit_code == 0


@pytest.mark.parametrize(("key", "value"), [("divisors", (2,)), ("first", 1), ("version", 1)])
async def test_a_key_changed(simulation: Simulation, key: str, value: object) -> None:
    simulation.publish_genesis(**{key: value})
    finding = sole(await audit(simulation))
    assert (finding.rule, finding.subject) == (Rule.MANIFEST_KEY, f"version 0, {key}")


async def test_a_genesis_that_consumes(simulation: Simulation) -> None:
    simulation.publish_genesis(through=3)
    finding = sole(await audit(simulation))
    assert (finding.rule, finding.subject) == (Rule.VERSION_BOUNDARY, "version 0, through")


async def test_a_genesis_that_is_no_model(simulation: Simulation) -> None:
    simulation.publish_genesis(model=simulation.put(b"no model at all"))
    finding = sole(await audit(simulation))
    assert (finding.rule, finding.subject) == (Rule.GENESIS, "model of version 0")


async def test_a_federation_without_genesis(simulation: Simulation) -> None:
    report = await audit(simulation)
    assert (report.exit_code, report.versions, report.records) == (0, 0, 7)
