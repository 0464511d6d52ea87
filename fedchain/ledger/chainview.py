"""What an endpoint says of a chain's blocks, and of one contract's head at each of them."""

from __future__ import annotations

import logging
from typing import Final

from fedchain.core.errors import LedgerError, LedgerUnreachable
from fedchain.core.ledger.records import Address, Head
from fedchain.ledger.calls import selector
from fedchain.ledger.endpoint import Endpoint, RpcError
from fedchain.ledger.finality import Confirmations, final_block
from fedchain.ledger.mirror import BlockRef

log = logging.getLogger(__name__)

_HEAD: Final = "0x" + selector("head()").hex()


class ChainView:
    """One contract's chain, behind `confirmations`."""

    def __init__(self, endpoint: Endpoint, contract: Address, confirmations: Confirmations) -> None:
        self.confirmations: Final = confirmations
        self._endpoint = endpoint
        self._contract = contract
        self._knows_hashes = True
        """Whether the endpoint takes a block's hash in eth_call (EIP-1898)."""

    async def settled_block(self) -> BlockRef:
        """Return the newest block whose records count; raises LedgerError where the chain finalises nothing."""
        if self.confirmations == "finalized":
            found = await final_block(self._endpoint)
            with self._endpoint.parsing("block"):
                return BlockRef(int(found["number"], 16), found["hash"])
        latest = await self.block("latest")
        if not self.confirmations:
            return latest
        return await self.block(hex(max(0, latest.number - self.confirmations)))

    async def block(self, which: str) -> BlockRef:
        """Return a block by number or tag; one that is not there has no hash."""
        found = await self._endpoint.call("eth_getBlockByNumber", which, False)
        if found is None and not which.startswith("0x"):
            raise LedgerError(f"{self._endpoint.name} knows no {which} block: name another endpoint")
        with self._endpoint.parsing("block"):
            return BlockRef(int(found["number"], 16), found["hash"]) if found else BlockRef(int(which, 16), "")

    async def head(self, at: BlockRef) -> Head | None:
        """Return the contract's head at a block; None where the contract is not there yet.

        The block is named by its hash. Where an endpoint refuses that, it is named by its number, and its hash
        compared before and after: a chain that changes meanwhile is LedgerUnreachable, to be asked again.
        """
        if self._knows_hashes:
            try:
                return await self._call_head({"blockHash": at.hash})
            except RpcError as error:
                if await self.block(hex(at.number)) != at:
                    raise
                found = await self._head_by_number(at)
                log.info("%s takes no block hash (%s): blocks are named by number", self._endpoint.name, error.message)
                self._knows_hashes = False
                return found
        return await self._head_by_number(at)

    async def _head_by_number(self, at: BlockRef) -> Head | None:
        """Return the head at a block that is on the chain before and after the call."""
        number = hex(at.number)
        before, found, after = await self.block(number), await self._call_head(number), await self.block(number)
        if before != at or after != at:
            raise LedgerUnreachable(f"block {at.number} changed while {self._endpoint.name} was asked: try again")
        return found

    async def _call_head(self, block: object) -> Head | None:
        found = await self._endpoint.call("eth_call", {"to": self._contract, "data": _HEAD}, block)
        with self._endpoint.parsing("head"):
            return Head(bytes.fromhex(found.removeprefix("0x"))) or None
