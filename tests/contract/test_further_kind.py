"""A further kind of record is one class and its event: nothing else of the package knows it."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from eth_account import Account
from web3 import Web3

from fedchain.audit.mirror import read_mirror
from fedchain.core.errors import FormatError, LedgerRefused
from fedchain.core.ledger.content import NOTHING, Content, Digest
from fedchain.core.ledger.records import (
    PAYLOADS,
    BufferClosed,
    MemberSet,
    Payload,
    Role,
    Seq,
    address,
    first_head,
    next_head,
    recorded,
)
from fedchain.core.ports import Ledger
from fedchain.devnet.anvil import fund
from fedchain.ledger.ethereum import EthereumLedger
from fedchain.ledger.memory import MemoryChain
from fedchain.ledger.signer import RetryPolicy

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Noted(Payload):
    """A trainer or auditor writes something down (NotedLedger.sol)."""

    seq: Seq
    text: bytes
    about: Content
    more: bytes = b""


NOTES = [
    Noted(Seq(0), b"", NOTHING),
    Noted(Seq(7), b"a text that is longer than one word", Content(Digest(bytes(range(32))), 9), bytes(64)),
    Noted(Seq(2**64 - 1), bytes(33), NOTHING, b"more"),
]


@pytest.fixture(autouse=True)
def further_kind() -> Iterator[None]:
    recorded(10, "note", by=Role.TRAINER | Role.AUDITOR)(Noted)
    yield
    del PAYLOADS[10]


@pytest.fixture(scope="module")
def compiled() -> dict[str, Any]:
    found = importlib.util.spec_from_file_location("compile_contracts", ROOT / "scripts" / "compile_contracts.py")
    assert found is not None
    assert found.loader is not None
    script: ModuleType = importlib.util.module_from_spec(found)
    found.loader.exec_module(script)
    made: dict[str, Any] = script.compile_contract("NotedLedger", Path(__file__).parent / "NotedLedger.sol")
    return made


class World:
    """A governor, a site and a reader, each with a ledger of its own."""

    def __init__(self, governor: Ledger, site: Ledger, reader: Ledger, member: str) -> None:
        self.governor, self.site, self.reader, self.member = governor, site, reader, address(member)


@pytest.fixture(params=["memory", "ethereum"])
async def world(
    request: pytest.FixtureRequest, chain: Web3, compiled: dict[str, Any], tmp_path: Path
) -> AsyncIterator[World]:
    governor, site = Account.create(), Account.create()
    if request.param == "memory":
        memory = MemoryChain(address(governor.address), lambda: 1_700_000_000)
        names = [address(governor.address), address(site.address), None]
        yield World(*map(memory.ledger, names), site.address)  # type: ignore[arg-type]
        return
    url = chain.provider.endpoint_uri  # type: ignore[attr-defined]
    await fund(url, governor.address, site.address)
    factory = chain.eth.contract(abi=compiled["abi"], bytecode=compiled["bytecode"])
    sent = factory.constructor(governor.address).transact({"from": chain.eth.accounts[0]})
    receipt = await asyncio.to_thread(chain.eth.wait_for_transaction_receipt, sent, poll_latency=0.002)
    at = address(str(receipt["contractAddress"]))
    ledgers = [
        await EthereumLedger.connect(url, at, key, folder=tmp_path / str(number), retry_policy=RetryPolicy(poll=0.02))
        for number, key in enumerate((governor, site, None))
    ]
    yield World(*ledgers, site.address)
    for ledger in ledgers:
        await ledger.close()


async def test_it_is_appended_read_back_and_in_the_head(world: World) -> None:
    await world.governor.append(MemberSet(world.member, Role.TRAINER))
    written = [await world.site.append(payload) for payload in (NOTES[0], BufferClosed(), *NOTES[1:])]
    records = await world.reader.records()
    assert list(records[2:]) == written
    assert [record.payload for record in written if isinstance(record.payload, Noted)] == NOTES
    head = first_head(world.reader.federation)
    for record in records:
        head = next_head(head, record)
    assert head == await world.reader.head()


async def test_it_is_refused_by_role_and_value(world: World) -> None:
    with pytest.raises(LedgerRefused) as caught:
        await world.site.append(NOTES[0])
    assert (caught.value.name, caught.value.operands) == ("Unauthorized", (world.member, 10))
    await world.governor.append(MemberSet(world.member, Role.AUDITOR))
    with pytest.raises(FormatError, match="Noted"):
        await world.site.append(Noted(Seq(2**64), b"", NOTHING))


@pytest.mark.parametrize("world", ["ethereum"], indirect=True)
async def test_it_is_in_the_mirror(world: World, tmp_path: Path) -> None:
    await world.governor.append(MemberSet(world.member, Role.TRAINER))
    records = [await world.site.append(payload) for payload in NOTES]
    _, copy = read_mirror(tmp_path / "1" / "ledger.sqlite")
    assert [row.record for row in copy.rows][-3:] == records
