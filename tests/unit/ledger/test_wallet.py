from __future__ import annotations

import logging


async def test_a_receipt_whose_block_is_not_indexed_yet_is_one_that_is_not_mined_yet(chain, proxy, caplog):
    asked = 0

    async def indexing(_params, forward):
        nonlocal asked
        asked += 1
        if asked < 4:
            return {"error": {"code": -32000, "message": "transaction indexing is in progress"}}
        return await forward()

    proxy.twists["eth_getTransactionReceipt"] = indexing
    async with await chain.connect(url=proxy.url) as ledger:
        with caplog.at_level(logging.WARNING):
            assert (await ledger.append(chain.update(1))).payload.samples == 1
    assert asked >= 4
    assert not caplog.records
