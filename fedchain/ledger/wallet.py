"""What one key signs for one contract, and what the chain says of it; keeps nothing (the outbox does)."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any, Final

from fedchain.core.errors import LedgerError, LedgerRefused
from fedchain.core.ledger.records import Address, address
from fedchain.core.ports import Signer
from fedchain.ledger.calls import decode_error
from fedchain.ledger.endpoint import Endpoint, RpcError
from fedchain.ledger.fees import Fees, usual_fees
from fedchain.ledger.outbox import Attempt, Intent

log = logging.getLogger(__name__)

_INDEXING: Final = "transaction indexing is in progress"
"""geth's error for receipts in its first second: as for a transaction that is not mined yet."""


class Wallet:
    """One key on one chain; `to` None deploys."""

    def __init__(self, endpoint: Endpoint, signer: Signer, chain_id: int, to: Address | None) -> None:
        self.address: Final = address(signer.address)
        self._endpoint = endpoint
        self._signer = signer
        self._chain_id = chain_id
        self._to = to

    async def gas(self, data: bytes) -> int:
        """Return a gas limit with a quarter to spare; raises LedgerRefused where the contract reverts."""
        try:
            return int(await self._endpoint.call("eth_estimateGas", self._call(data)), 16) * 5 // 4
        except RpcError as error:
            raise _contract_error(error) or error from error

    async def fees(self) -> Fees:
        """Return what transactions usually offer now."""
        return await usual_fees(self._endpoint)

    async def nonces(self, tag: str) -> int:
        """Return how many transactions of this key there are up to the block `latest`, or with those `pending`."""
        return int(await self._endpoint.call("eth_getTransactionCount", self.address, tag), 16)

    def sign(self, intent: Intent, nonce: int, fees: Fees) -> Attempt:
        """Sign an intent's transaction (EIP-1559)."""
        to = {"to": bytes.fromhex(self._to[2:])} if self._to else {}
        signed = self._signer.sign_transaction(
            {
                "type": 2,
                "chainId": self._chain_id,
                "nonce": nonce,
                "value": 0,
                "data": intent.data,
                "gas": intent.gas,
                "maxPriorityFeePerGas": fees.tip,
                "maxFeePerGas": fees.cap,
                **to,
            }
        )
        return Attempt("0x" + signed.hash.hex(), nonce, fees, bytes(signed.raw_transaction))

    async def broadcast(self, attempt: Attempt) -> None:
        """Send a transaction; raises RpcError, which tells nothing for certain, and LedgerUnreachable."""
        await self._endpoint.call("eth_sendRawTransaction", "0x" + attempt.raw.hex())

    async def rebroadcast(self, attempt: Attempt) -> None:
        """Send a transaction again; that the endpoint objects is usual."""
        try:
            await self.broadcast(attempt)
        except RpcError as error:
            log.debug("nonce %s of %s: %s", attempt.nonce, self.address, error)

    async def is_refused(self, attempt: Attempt) -> bool:
        """Tell whether the endpoint does not have a transaction, though nothing else is the next with this nonce."""
        try:
            known = await self._endpoint.call("eth_getTransactionByHash", attempt.hash)
            return known is None and await self.nonces("pending") == attempt.nonce
        except LedgerError:
            return False

    async def included(self, intent: Intent, attempts: Sequence[Attempt]) -> str | None:
        """Return the hash of an intent's transaction that is on the chain; raises LedgerRefused for a reverted one."""
        for attempt in attempts:
            receipt = await receipt_of(self._endpoint, attempt.hash)
            if receipt is None:
                continue
            with self._endpoint.parsing("receipt"):
                status, block = int(receipt["status"], 16), receipt["blockNumber"]
            if not status:
                raise await self._reason(intent, attempt, block)
            return attempt.hash
        return None

    async def _reason(self, intent: Intent, attempt: Attempt, block: str) -> LedgerRefused:
        """Find out why a transaction was reverted, by calling it again where it failed."""
        try:
            await self._endpoint.call("eth_call", self._call(intent.data) | {"gas": hex(intent.gas)}, block)
        except RpcError as error:
            return _contract_error(error) or LedgerRefused("Reverted", (attempt.hash,))
        return LedgerRefused("Reverted", (attempt.hash,))

    def _call(self, data: bytes) -> dict[str, Any]:
        to = {"to": self._to} if self._to else {}
        return {"from": self.address, "data": "0x" + data.hex(), **to}


async def receipt_of(endpoint: Endpoint, transaction: str) -> Any:
    """Return a transaction's receipt; None while it is not mined, or its block not indexed."""
    try:
        return await endpoint.call("eth_getTransactionReceipt", transaction)
    except RpcError as error:
        if _INDEXING in error.message:
            return None
        raise


def _contract_error(error: RpcError) -> LedgerRefused | None:
    """Read the contract's custom error from an endpoint's error; clients put the data in different places."""
    if data := re.search(r"0x([0-9a-fA-F]{8,})", str(error.data)):
        return decode_error(bytes.fromhex(data[1]))
    return LedgerRefused("Reverted", (error.message,)) if "revert" in error.message.lower() else None
