"""How far behind its newest block a chain is read."""

from __future__ import annotations

import pytest

from fedchain.core.errors import LedgerError, LedgerUnreachable
from fedchain.ledger.endpoint import Endpoint
from fedchain.ledger.finality import CHOSEN, choose_confirmations

NO_FINAL = {"error": {"code": -32000, "message": "finalized block not found"}}
REAL_CHAIN = 4242


def blocks(latest, final):
    async def answer(params, _forward):
        found = {"latest": latest, "finalized": final}[params[0]]
        return found if found is None or "error" in found else {"result": found}

    return answer


def block(number, time):
    return {"number": hex(number), "timestamp": hex(time), "hash": "0x" + "ab" * 32}


CHAINS = {
    "final within the hour": (block(1000, 10_000), block(930, 9_200), "finalized"),
    "no final block": (block(1000, 10_000), NO_FINAL, CHOSEN),
    "nothing for an answer": (block(1000, 10_000), {"result": None}, CHOSEN),
    "final is the genesis block": (block(1000, 10_000), block(0, 9_999), CHOSEN),
    "final is hours old": (block(1000, 10_000), block(930, 6_399), CHOSEN),
}


@pytest.mark.parametrize("case", CHAINS)
async def test_what_a_chain_offers(proxy, case):
    latest, final, expected = CHAINS[case]

    async def answer(params, _forward):
        found = {"latest": latest, "finalized": final}[params[0]]
        return found if {"result", "error"} & set(found) else {"result": found}

    proxy.twists["eth_getBlockByNumber"] = answer
    endpoint = Endpoint(proxy.url)
    assert await choose_confirmations(endpoint, REAL_CHAIN) == expected
    assert await choose_confirmations(endpoint, 1337) == await choose_confirmations(endpoint, 31337) == 0
    await endpoint.close()


async def test_a_deployment_says_what_its_chain_offers(chain):
    assert chain.deployment.confirmations == 0


async def no_final_block(params, forward):
    return NO_FINAL if params[0] == "finalized" else await forward()


async def test_waiting_for_a_final_block_that_never_comes_ends_with_what_to_do(chain, proxy):
    proxy.twists["eth_getBlockByNumber"] = no_final_block
    async with await chain.connect(url=proxy.url, confirmations="finalized") as ledger:
        for ask in (ledger.records, ledger.head, lambda: ledger.wait(99, 60), lambda: ledger.append(chain.update(1))):
            with pytest.raises(LedgerError, match=f"knows no finalized block: .* confirmations = {CHOSEN}") as caught:
                await ask()
            assert not isinstance(caught.value, LedgerUnreachable)


async def test_a_busy_endpoint_is_not_one_without_final_blocks(chain, proxy):
    async def busy(_params, _forward):
        return {"error": {"code": -32005, "message": "daily request count exceeded"}}

    async with await chain.connect(url=proxy.url, confirmations="finalized") as ledger:
        proxy.twists["eth_getBlockByNumber"] = busy
        with pytest.raises(LedgerUnreachable, match="daily request count"):
            await ledger.records()
