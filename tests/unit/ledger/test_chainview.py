"""Blocks and heads from endpoints that know the newer questions, and from those that do not."""

from __future__ import annotations

import pytest

from fedchain.core.errors import LedgerUnreachable
from fedchain.ledger.reader import Reader

NO_HASHES = {"error": {"code": -32602, "message": "invalid argument 1: json: cannot unmarshal object"}}


async def only_numbers(params, forward):
    return NO_HASHES if isinstance(params[1], dict) else await forward()


async def test_an_endpoint_without_eip_1898_is_asked_by_number(chain, proxy):
    async with await chain.connect(url=proxy.url) as ledger:
        proxy.twists["eth_call"] = only_numbers
        await ledger.append(chain.update(1))
        await ledger.append(chain.update(2))
        assert await chain.samples(ledger) == [1, 2]
        calls = [params[1] for method, params in proxy.calls if method == "eth_call"]
        assert sum(isinstance(block, dict) for block in calls) == 1  # asked once, remembered
        async with await chain.connect() as other:
            assert await ledger.head() == await other.head()


async def test_a_block_that_changes_between_the_questions_is_asked_again(chain, proxy):
    async with await chain.connect(url=proxy.url) as ledger:
        await ledger.append(chain.update(1))

        async def reorganised(params, forward):
            if isinstance(params[1], dict):
                return NO_HASHES
            answer = await forward()
            await chain.rpc("anvil_reorg", 1, [])
            return answer

        proxy.twists["eth_call"] = reorganised
        with pytest.raises(LedgerUnreachable, match="changed while"):
            await ledger.head()
        proxy.twists["eth_call"] = only_numbers
        assert await chain.samples(ledger) == []


async def test_a_hash_that_is_gone_is_no_reason_to_name_blocks_by_number(chain, proxy):
    async def gone(_params, _forward):
        return {"error": {"code": -32000, "message": "header not found"}}

    async with await chain.connect(url=proxy.url) as ledger:
        await ledger.append(chain.update(1))
        reader: Reader = ledger._reader
        block = await reader._view.settled_block()
        proxy.twists["eth_call"] = gone
        await chain.rpc("anvil_reorg", 1, [])
        with pytest.raises(LedgerUnreachable, match="header not found"), reader._reading():
            await reader._view.head(block)
        proxy.calls.clear()
        proxy.twists.clear()
        await ledger.head()
        assert all(isinstance(params[1], dict) for method, params in proxy.calls if method == "eth_call")
