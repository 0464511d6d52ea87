"""What a transaction offers for its gas (EIP-1559)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from fedchain.ledger.endpoint import Endpoint, RpcError


@dataclass(frozen=True, slots=True)
class Fees:
    """Fees for one unit of gas, in wei."""

    tip: int
    """maxPriorityFeePerGas."""
    cap: int
    """maxFeePerGas."""

    def above(self, last: Fees) -> Fees:
        """Return fees that make nodes take a transaction in another one's place: at least an eighth more of both."""
        return Fees(max(self.tip, last.tip * 9 // 8 + 1), max(self.cap, last.cap * 9 // 8 + 1))


async def usual_fees(endpoint: Endpoint) -> Fees:
    """Return the usual tip, and a cap that outlives five full blocks: twice the base fee and the tip."""
    block, tip = await asyncio.gather(endpoint.call("eth_getBlockByNumber", "latest", False), _tip(endpoint))
    with endpoint.parsing("fee"):
        return Fees(int(tip, 16), 2 * int(block["baseFeePerGas"], 16) + int(tip, 16))


async def _tip(endpoint: Endpoint) -> str:
    """Return the endpoint's own proposal, or the median tip of its newest block where it makes none."""
    try:
        return str(await endpoint.call("eth_maxPriorityFeePerGas"))
    except RpcError:
        history = await endpoint.call("eth_feeHistory", "0x1", "latest", [50])
        with endpoint.parsing("fee history"):
            return str(history["reward"][0][0])
