"""What `fedchain deploy` finds out about chains that others wrote, and that what it chooses lets records settle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from chains.programs import RUN, Chain
from eth_account import Account

from fedchain.cli.deploy import deploy_federation
from fedchain.cli.ledger import open_ledger
from fedchain.core.ledger.records import Seq

CHOSEN = {"anvil": 0, "hardhat": 0, "geth": 0, "clique": 12}


@pytest.fixture(params=["anvil", "hardhat", "geth", pytest.param("clique", marks=pytest.mark.long)])
def chain(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Chain, int]]:
    with RUN[request.param](tmp_path) as running:
        yield running, CHOSEN[request.param]


async def test_a_deployment_chooses_confirmations_that_come(chain: tuple[Chain, int]):
    running, confirmations = chain
    key = Account.create()
    await running.give(key.address)
    file = await deploy_federation(running.url, key)
    assert file.confirmations == confirmations
    assert (await deploy_federation(running.url, key, confirmations=3)).confirmations == 3
    async with await open_ledger(file) as ledger:
        await ledger.wait(Seq(0), timeout=60)
        (record,) = await ledger.records()
        assert record.place.block == file.block
