from __future__ import annotations

from fedchain.ledger.endpoint import Endpoint
from fedchain.ledger.fees import Fees, usual_fees

NOT_THERE = {"error": {"code": -32601, "message": "the method eth_maxPriorityFeePerGas does not exist"}}


async def test_an_endpoint_that_proposes_no_tip_gives_the_median_of_its_newest_block(chain, proxy):
    async def refused(_params, _forward):
        return NOT_THERE

    async def history(_params, _forward):
        return {"result": {"oldestBlock": "0x1", "reward": [["0x3b9aca00"]]}}

    async def block(_params, _forward):
        return {"result": {"baseFeePerGas": "0x7"}}

    proxy.twists = {
        "eth_maxPriorityFeePerGas": refused,
        "eth_feeHistory": history,
        "eth_getBlockByNumber": block,
    }
    endpoint = Endpoint(proxy.url)
    assert await usual_fees(endpoint) == Fees(10**9, 14 + 10**9)
    proxy.twists = {"eth_maxPriorityFeePerGas": refused}
    assert (await usual_fees(endpoint)).tip >= 0  # the real answer has the shape that is read
    await endpoint.close()


def test_a_replacement_offers_an_eighth_more_of_both():
    assert Fees(8, 80).above(Fees(16, 160)) == Fees(19, 181)
    assert Fees(100, 1000).above(Fees(16, 160)) == Fees(100, 1000)
