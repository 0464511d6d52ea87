"""Reading from an endpoint that is not trusted: each lie is told by a proxy behind the real interface."""

from __future__ import annotations

import asyncio
import itertools
import re
import sqlite3
from contextlib import closing

import pytest
from aiohttp import web

from fedchain.core.errors import HeadMismatch, LedgerError, LedgerUnreachable, Reorganised
from fedchain.core.ledger.records import NOBODY, MemberSet, ModelPublished, Seq, address, first_head, next_head
from fedchain.ledger.calls import selector
from fedchain.ledger.ethereum import EthereumLedger
from fedchain.ledger.mirror import Mirror


async def grown(chain, count):
    """Append updates with samples 1 to `count`."""
    async with await chain.connect() as ledger:
        for n in range(1, count + 1):
            await ledger.append(chain.update(n))


def twisted(change):
    async def twist(_params, forward):
        answer = await forward()
        return answer | {"result": change(answer["result"])}

    return twist


def altered(entries):
    last = entries[-1]
    return [*entries[:-1], last | {"data": last["data"][:-1] + "7"}]


LIES = {
    "left out": lambda entries: [*entries[:3], *entries[4:]],
    "last left out": lambda entries: entries[:-1],
    "altered": altered,
    "another actor": lambda entries: [
        entries[0] | {"topics": [entries[0]["topics"][0], "0x" + "0" * 64]},
        *entries[1:],
    ],
    "another time": lambda entries: [*entries[:-1], entries[-1] | {"blockTimestamp": "0x1"}],
    "reordered": lambda entries: [*entries[:-2], entries[-1], entries[-2]],
    "repeated": lambda entries: [*entries, entries[-1]],
    "all left out": lambda entries: [],
    "another contract's": lambda entries: [*entries, entries[-1] | {"address": NOBODY}],
    "no record": lambda entries: [*entries, entries[-1] | {"topics": ["0x" + "ab" * 32, entries[-1]["topics"][1]]}],
}


@pytest.mark.parametrize("lie", LIES)
async def test_events_that_are_not_what_the_contract_wrote_do_not_get_in(chain, proxy, lie):
    await grown(chain, 3)
    async with await chain.connect(url=proxy.url) as ledger:
        proxy.twists["eth_getLogs"] = twisted(LIES[lie])
        with pytest.raises(HeadMismatch, match=re.escape(proxy.url)):
            await ledger.records()
        proxy.twists.clear()
        assert await chain.samples(ledger) == [1, 2, 3]


async def test_an_old_head_does_not_pass(chain, proxy):
    await grown(chain, 1)
    async with await chain.connect(url=proxy.url) as ledger:
        await ledger.records()
        old = "0x" + (await ledger.head()).hex()
        await grown(chain, 1)
        proxy.twists["eth_call"] = twisted(lambda _: old)
        with pytest.raises(HeadMismatch, match="5 records"):
            await ledger.records()


async def test_answers_without_sense_are_ledger_errors(chain, proxy):
    async with await chain.connect(url=proxy.url) as ledger:
        for method, result in {
            "eth_getLogs": [{"topics": []}],
            "eth_getBlockByNumber": {"number": "x"},
            "eth_call": 7,
        }.items():
            proxy.twists = {method: twisted(lambda _, result=result: result)}
            with pytest.raises(LedgerError):
                await ledger.records()


async def test_ranges_halve_until_the_endpoint_takes_them(chain, proxy):
    await grown(chain, 12)

    async def limited(params, forward):
        first, last = (int(params[0][name], 16) for name in ("fromBlock", "toBlock"))
        if last - first >= 3:
            return {"error": {"code": -32005, "message": "query exceeds max block range"}}
        return await forward()

    proxy.twists["eth_getLogs"] = limited
    async with await chain.connect(url=proxy.url) as ledger:
        assert await chain.samples(ledger) == list(range(1, 13))
    ranges = [(int(p[0]["fromBlock"], 16), int(p[0]["toBlock"], 16)) for m, p in proxy.calls if m == "eth_getLogs"]
    read = [(first, last) for first, last in ranges if last - first < 3]
    assert read[0][0] == chain.deployment.block
    assert all(after[0] == before[1] + 1 for before, after in itertools.pairwise(read))


@pytest.mark.parametrize(
    "failure",
    [web.Response(status=413), web.Response(status=503), web.Response(text="<html>"), web.Response(status=400)],
)
async def test_an_endpoint_that_reads_nothing_is_unreachable(chain, proxy, failure):
    async def fail(_params, _forward):
        return web.Response(status=failure.status, body=failure.body)

    async with await chain.connect(url=proxy.url) as ledger:
        proxy.twists["eth_getLogs"] = fail
        with pytest.raises(LedgerUnreachable, match=re.escape(proxy.url)):
            await ledger.records()


async def test_an_endpoint_that_is_down_is_unreachable_and_comes_back(chain, proxy):
    async with await chain.connect(url=proxy.url) as ledger:
        await ledger.records()
        await proxy.stop()
        for ask in (ledger.records, ledger.head, lambda: ledger.nonce(NOBODY)):
            with pytest.raises(LedgerUnreachable, match="start it"):
                await ask()
        waiting = asyncio.create_task(ledger.wait(Seq(3), timeout=10))
        await grown(chain, 1)
        await proxy.start()
        await asyncio.wait_for(waiting, 5)
        assert await chain.samples(ledger) == [1]


async def test_messages_keep_access_keys_to_themselves(chain):
    with pytest.raises(LedgerUnreachable) as caught:
        await chain.connect(url="http://user:password@127.0.0.1:9/v3/secretkey")
    assert not re.search("password|secretkey", str(caught.value))


async def test_blocks_are_asked_for_times_that_events_lack(chain, proxy):
    await grown(chain, 2)
    without = twisted(lambda found: [{k: v for k, v in one.items() if k != "blockTimestamp"} for one in found])
    async with await chain.connect() as truth, await chain.connect(url=proxy.url) as ledger:
        proxy.twists["eth_getLogs"] = without
        assert await ledger.records() == await truth.records()


async def test_only_new_blocks_are_read_and_nothing_when_there_are_none(chain, proxy, tmp_path):
    await grown(chain, 2)
    async with await chain.connect(tmp_path, proxy.url) as ledger:
        await ledger.records()
    await grown(chain, 1)
    proxy.calls.clear()
    async with await chain.connect(tmp_path, proxy.url) as ledger:
        assert await chain.samples(ledger) == [1, 2, 1]
        (read,) = [params for method, params in proxy.calls if method == "eth_getLogs"]
        assert int(read[0]["fromBlock"], 16) == chain.deployment.block + 5
        proxy.calls.clear()
        await ledger.records()
        assert proxy.counts == {"eth_getBlockByNumber": 1}


async def test_a_reorganisation_rolls_the_mirror_back(chain, tmp_path):
    async with await chain.connect(tmp_path) as ledger:
        await ledger.append(chain.update(1))
        snapshot = await chain.rpc("evm_snapshot")
        for n in (2, 3):
            await ledger.append(chain.update(n))
        assert await chain.samples(ledger) == [1, 2, 3]
        known = await ledger.head()
        await chain.rpc("evm_revert", snapshot)
        with pytest.raises(Reorganised, match="before record 6"):
            await ledger.records(Seq(6), known)
        assert await chain.samples(ledger) == [1]
        await chain.rpc("evm_increaseTime", "0x64")
        async with await chain.connect() as other:
            await other.append(chain.update(4))
        assert await chain.samples(ledger) == [1, 4]
        head = first_head(ledger.federation)
        for record in await ledger.records():
            head = next_head(head, record)
        assert head == await ledger.head()


async def test_another_block_at_the_same_height_is_noticed(chain):
    async with await chain.connect() as ledger:
        for n in (1, 2):
            await ledger.append(chain.update(n))
        before = (await ledger.records())[-1].place
        await chain.rpc("anvil_reorg", 1, [])
        assert await chain.samples(ledger) == [1]
        assert int(await chain.rpc("eth_blockNumber"), 16) == before.block


async def test_confirmations_hold_records_back(chain):
    async with await chain.connect(confirmations=2) as ledger:
        settled = len(await ledger.records())
        record = await ledger.append(chain.update(1))
        assert (record.seq, record.payload) == (3, chain.update(1))
        assert len(await ledger.records()) == settled + 1 == 2
        for _ in range(2):
            await chain.rpc("evm_mine")
        assert (await ledger.records())[-1] == record


async def test_nothing_is_final_on_a_young_chain(chain):
    async with await chain.connect(confirmations="finalized") as ledger:
        record = await ledger.append(chain.update(1))
        final = int((await chain.rpc("eth_getBlockByNumber", "finalized", False))["number"], 16)
        records = await ledger.records()
        assert all(one.place.block <= final for one in records)
        assert record.seq == 3 >= len(records)
        assert await ledger.head() == (first_head(ledger.federation) if not records else await ledger.head())


HARM = {
    "row left out": "DELETE FROM records WHERE seq = 2",
    "last rows left out": "DELETE FROM records WHERE seq >= 4",
    "all rows left out": "DELETE FROM records",
    "actor changed": "UPDATE records SET actor = '0x1111111111111111111111111111111111111111' WHERE seq = 4",
    "time changed": "UPDATE records SET time = time + 1 WHERE seq = 3",
    "payload changed": "UPDATE records SET payload = zeroblob(128) WHERE seq = 4",
    "head changed": "UPDATE records SET head = zeroblob(32) WHERE seq = 5",
    "head of another type": "UPDATE records SET head = 'x' WHERE seq = 5",
    "seq changed": "UPDATE records SET seq = 9 WHERE seq = 5",
    "kind changed": "UPDATE records SET kind = 'x' WHERE seq = 0",
}


@pytest.mark.parametrize("harm", HARM)
async def test_a_mirror_that_was_tampered_with_is_read_anew(chain, tmp_path, harm):
    await grown(chain, 3)
    async with await chain.connect(tmp_path) as ledger:
        truth = await ledger.records()
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as database:
        database.execute(HARM[harm])
        database.commit()
    async with await chain.connect(tmp_path) as ledger:
        assert await ledger.records() == truth
    mirror = Mirror.open(tmp_path / "ledger.sqlite")
    assert [row.record() for row in mirror.rows()] == truth
    mirror.close()


async def test_the_birth_of_a_contract_is_found(chain, proxy):
    await grown(chain, 3)
    async with await chain.connect(url=proxy.url, deployment_block=None) as ledger:
        assert await chain.samples(ledger) == [1, 2, 3]
    (read,) = [params for method, params in proxy.calls if method == "eth_getLogs"]
    assert int(read[0]["fromBlock"], 16) == chain.deployment.block
    assert proxy.counts["eth_getCode"] < 15


async def test_an_endpoint_without_old_states_is_read_from_the_start(chain, proxy):
    async def pruned(_params, _forward):
        return {"error": {"code": -32000, "message": "missing trie node"}}

    proxy.twists["eth_getCode"] = pruned
    async with await chain.connect(url=proxy.url, deployment_block=None) as ledger:
        assert {type(record.payload) for record in await ledger.records()} == {MemberSet, ModelPublished}


async def test_a_wrong_birth_heals(chain):
    await grown(chain, 3)
    async with await chain.connect(deployment_block=chain.deployment.block + 4) as ledger:
        assert await chain.samples(ledger) == [1, 2, 3]


async def test_an_address_without_the_contract_is_named(chain, devnet_url):
    nowhere = address("12" * 20)
    with pytest.raises(LedgerError, match=f"no FederationLedger at {nowhere} on chain 31337"):
        await EthereumLedger.connect(devnet_url, nowhere)
    identity = address("4".rjust(40, "0"))  # a precompiled contract that answers with what it is given
    with pytest.raises(LedgerError, match="FederationLedger"):
        await EthereumLedger.connect(devnet_url, identity)


async def test_the_heads_selector_is_the_one_that_the_contract_has(chain):
    data = "0x" + selector("head()").hex()
    async with await chain.connect() as ledger:
        found = await chain.rpc("eth_call", {"to": ledger.federation.contract, "data": data}, "latest")
        assert bytes.fromhex(found[2:]) == await ledger.head()
