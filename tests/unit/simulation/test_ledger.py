"""A connection to the chain that takes time, and fails when it is told to."""

from __future__ import annotations

import asyncio

import pytest

from fedchain.core.errors import LedgerError, LedgerUnreachable
from fedchain.core.ledger.records import MemberSet, Role, Seq
from fedchain.simulation.clock import START, running_clock
from fedchain.simulation.federation import Simulation
from fedchain.simulation.ledger import MemberLedger
from fedchain.simulation.world import AGGREGATOR, AUDITOR, GOVERNOR, STANDBY

DOWN = LedgerUnreachable("down")
ADMIT = MemberSet(AUDITOR, Role.AUDITOR)


@pytest.fixture
async def simulation() -> Simulation:
    made = Simulation()
    made.slow(GOVERNOR, 2.0)
    return made


@pytest.fixture
def ledger(simulation: Simulation) -> MemberLedger:
    return simulation.ledger_of(GOVERNOR)


async def test_a_record_is_on_the_chain_halfway(simulation: Simulation, ledger: MemberLedger) -> None:
    record = await ledger.append(ADMIT)
    assert record.time == START + 2
    assert running_clock().monotonic() == pytest.approx(4.0)
    assert simulation.ledger_of(GOVERNOR) is ledger


async def test_who_is_cut_off_in_between_does_not_learn_of_its_record(
    simulation: Simulation, ledger: MemberLedger
) -> None:
    appending = asyncio.create_task(ledger.append(ADMIT, "once"))
    await running_clock().sleep(3.0)
    simulation.cut(GOVERNOR)
    with pytest.raises(LedgerUnreachable):
        await appending
    simulation.heal(GOVERNOR)
    assert (await ledger.append(ADMIT, "once")).seq == 1
    assert len(simulation.chain.records) == 2


async def test_it_fails_as_it_is_told(ledger: MemberLedger) -> None:
    ledger.fail(DOWN)
    for ask in (ledger.records, lambda: ledger.wait(Seq(0), 1.0), lambda: ledger.append(ADMIT)):
        with pytest.raises(LedgerError, match="down"):
            await ask()
    ledger.mend()
    assert len(await ledger.records()) == 1
    await ledger.wait(Seq(0), 1.0)


async def test_it_is_cut_after_so_many_records(simulation: Simulation) -> None:
    ledger = MemberLedger(simulation.chain, GOVERNOR, simulation.clock)
    ledger.cut_after = (2, DOWN)
    for member in (AGGREGATOR, STANDBY):
        await ledger.append(MemberSet(member, Role.AGGREGATOR))
    with pytest.raises(LedgerUnreachable):
        await ledger.append(ADMIT)
    assert len(simulation.chain.records) == 3
