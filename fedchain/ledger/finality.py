"""How many blocks must stand on a record's block before the record counts."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final, Literal

from fedchain.core.errors import LedgerError
from fedchain.ledger.endpoint import Endpoint, RpcError

Confirmations = int | Literal["finalized"]
"""How many blocks must stand on a record's block before it counts; or what the chain itself calls final."""

DEVNET_CHAIN_IDS: Final = frozenset({1337, 31337})
"""Chain ids of `geth --dev`, and of anvil and hardhat: they make blocks when there are transactions."""

CHOSEN: Final = 12
"""Where a chain finalises nothing. A clique network of n signers goes back by n/2 blocks at most while it is whole."""

_FRESH_S: Final = 3600
"""How old the finalised block may be for a chain that finalises: Ethereum's is 13 to 20 minutes old."""

_NO_SUCH_BLOCK: Final = re.compile("not found|unknown|invalid|not supported|unsupported", re.IGNORECASE)


async def choose_confirmations(endpoint: Endpoint, chain_id: int) -> Confirmations:
    """Find out what a chain offers: 0 on a devnet, "finalized" where blocks become final within the hour, else 12.

    Raises LedgerUnreachable, RpcError.
    """
    if chain_id in DEVNET_CHAIN_IDS:
        return 0
    latest, final = await asyncio.gather(endpoint.call("eth_getBlockByNumber", "latest", False), _final(endpoint))
    with endpoint.parsing("block"):
        if final and int(final["number"], 16):
            age_s = int(latest["timestamp"], 16) - int(final["timestamp"], 16)
            return "finalized" if age_s <= _FRESH_S else CHOSEN
    return CHOSEN


async def final_block(endpoint: Endpoint) -> Any:
    """Return the newest final block; raises LedgerError where the chain has none: it may never come."""
    if found := await _final(endpoint):
        return found
    raise LedgerError(
        f"{endpoint.name} knows no finalized block: set confirmations to a number, as in confirmations = {CHOSEN}"
    )


async def _final(endpoint: Endpoint) -> Any:
    """Return the newest final block; None where the endpoint says that there is none."""
    try:
        return await endpoint.call("eth_getBlockByNumber", "finalized", False)
    except RpcError as error:
        if _NO_SUCH_BLOCK.search(error.message):
            return None
        raise
