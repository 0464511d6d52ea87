"""What a transaction offers for its gas (EIP-1559)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from fedchain.ledger.endpoint import Endpoint


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
    block, tip = await asyncio.gather(
        endpoint.call("eth_getBlockByNumber", "latest", False), endpoint.call("eth_maxPriorityFeePerGas")
    )
    with endpoint.parsing("fee"):
        return Fees(int(tip, 16), 2 * int(block["baseFeePerGas"], 16) + int(tip, 16))
