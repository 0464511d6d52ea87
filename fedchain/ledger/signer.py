"""The signer actor: everything that one key sends to one contract, numbered, durable, each intent with one effect.

An append goes estimate → sign with the next nonce → store in the outbox → send → look for the receipt. Whatever
fails after storing is settled by asking for the own hash, never by the error's words: "already known" and
"nonce too low" may both mean success. web3's own numbering loses 19 of 20 concurrent sends.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from fedchain.core.errors import HeadMismatch, LedgerError, LedgerRefused, LedgerUnreachable
from fedchain.core.ledger.records import Address, address
from fedchain.core.ports import Signer
from fedchain.ledger.calls import decode_error
from fedchain.ledger.endpoint import Endpoint, RpcError
from fedchain.ledger.fees import Fees, usual_fees
from fedchain.ledger.outbox import Attempt, Intent, Outbox

log = logging.getLogger(__name__)

Find = Callable[[str], Awaitable[object]]
"""Tells by the ledger's own, checked records whether a transaction (by its hash) is on the chain."""

_FIRST_LOOK_S: Final = 0.002


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long the actor waits before it does something about a transaction."""

    poll: float = 1.0
    """Seconds between two looks for a receipt, at most; the first looks come sooner."""
    resend: float = 15.0
    """Seconds until it is sent again: nodes drop transactions."""
    replace: float = 60.0
    """Seconds until it is sent with a higher fee."""


class SignerActor:
    """Sends one key's transactions; `to` None deploys. Every method belongs on one event loop."""

    def __init__(
        self,
        endpoint: Endpoint,
        signer: Signer,
        *,
        chain_id: int,
        to: Address | None,
        outbox: Outbox,
        retry_policy: RetryPolicy,
        find: Find,
    ) -> None:
        self._endpoint = endpoint
        self._signer = signer
        self._chain_id = chain_id
        self._to = to
        self._outbox = outbox
        self._retry_policy = retry_policy
        self._find = find
        self._from = address(signer.address)
        self._next: int | None = None
        self._lock = asyncio.Lock()
        self._deliveries: dict[str, asyncio.Task[str]] = {}

    def resume(self) -> None:
        """Go on with what an earlier process stored and did not see through."""
        for intent in self._outbox.unfinished():
            self._start_delivery(intent, None)

    async def close(self) -> None:
        """Stop; what is unfinished stays in the outbox."""
        for task in self._deliveries.values():
            task.cancel()
        await asyncio.gather(*self._deliveries.values(), return_exceptions=True)
        self._outbox.close()

    async def send(self, data: bytes, key: str) -> str:
        """Send a call, once per key, and return the hash of the transaction that is on the chain with it.

        Waits while the endpoint is down; cancelling that leaves nothing behind. Once the call is stored it goes on
        in the background. Raises LedgerRefused where the contract reverts, LedgerError where the endpoint refuses.
        """
        task = self._deliveries.get(key) or self._resume(key)
        if task is None:
            gas, fees = await self._prepare(data)
            task = self._deliveries.get(key) or self._resume(key) or self._start_delivery(Intent(key, data, gas), fees)
        return await asyncio.shield(task)

    def _resume(self, key: str) -> asyncio.Task[str] | None:
        """Go on with an intent that was stored before."""
        intent = self._outbox.intent(key)
        return self._start_delivery(intent, None) if intent else None

    def _start_delivery(self, intent: Intent, fees: Fees | None) -> asyncio.Task[str]:
        task = asyncio.create_task(self._deliver(intent, fees), name=f"append {intent.key}")
        self._deliveries[intent.key] = task
        task.add_done_callback(partial(self._delivered, intent.key))
        return task

    def _delivered(self, key: str, task: asyncio.Task[str]) -> None:
        del self._deliveries[key]
        if not task.cancelled() and (error := task.exception()):
            log.info("append %s: %s", key, error)

    async def _deliver(self, intent: Intent, fees: Fees | None) -> str:
        """Send a call until it is on the chain; returns its transaction's hash."""
        clock = asyncio.get_running_loop().time
        sent = fees is not None and await self._post(intent, fees)
        rebroadcast_at = clock() + self._retry_policy.resend if sent else clock()
        replace_at = clock() + self._retry_policy.replace
        pause = _FIRST_LOOK_S
        while True:
            try:
                found = await self._included(intent)
                if not found and clock() >= rebroadcast_at:
                    found = await self._rebroadcast(intent)
                    rebroadcast_at = clock() + self._retry_policy.resend
                if not found and clock() >= replace_at:
                    await self._replace(intent)
                    replace_at = clock() + self._retry_policy.replace
            except (LedgerUnreachable, RpcError, HeadMismatch) as error:
                log.warning("append %s waits: %s", intent.key, error)
                found = None
            if found:
                self._outbox.finish(intent.key)
                return found
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._retry_policy.poll)

    async def _prepare(self, data: bytes) -> tuple[int, Fees]:
        """Ask what a call needs, however long the endpoint is away; raises LedgerRefused where it reverts."""
        pause = _FIRST_LOOK_S
        while True:
            try:
                gas, fees, _ = await asyncio.gather(self._gas(data), usual_fees(self._endpoint), self._count())
            except LedgerUnreachable as error:
                log.warning("an append waits: %s", error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, self._retry_policy.poll)
            else:
                return gas, fees

    async def _gas(self, data: bytes) -> int:
        """Return a gas limit with a quarter to spare."""
        try:
            return int(await self._endpoint.call("eth_estimateGas", self._call(data)), 16) * 5 // 4
        except RpcError as error:
            raise _contract_error(error) or error from error

    async def _count(self) -> None:
        """Find the first free nonce, once: from then on the actor counts by itself."""
        if self._next is None:
            used = await self._nonces("pending")
            self._next = max(used, self._outbox.next_nonce())

    async def _nonces(self, tag: str) -> int:
        return int(await self._endpoint.call("eth_getTransactionCount", self._from, tag), 16)

    async def _post(self, intent: Intent, fees: Fees) -> bool:
        """Send a new call and tell whether the endpoint took it; raises LedgerError where it never will."""
        async with self._lock:
            assert self._next is not None
            attempt = self._sign(intent, self._next, fees)
            await asyncio.to_thread(self._outbox.store, intent, attempt)
            self._next = attempt.nonce + 1
            try:
                await self._broadcast(attempt)
            except LedgerUnreachable:
                return False
            except RpcError as error:
                if await self._is_refused(attempt):
                    self._outbox.forget(intent.key)
                    self._next = attempt.nonce
                    raise LedgerError(f"{self._from} cannot append: {error.message}") from error
                return False
            return True

    async def _is_refused(self, attempt: Attempt) -> bool:
        """Tell whether the endpoint does not have a transaction, though nothing else is the next with this nonce."""
        try:
            known = await self._endpoint.call("eth_getTransactionByHash", attempt.hash)
            return known is None and await self._nonces("pending") == attempt.nonce
        except LedgerError:
            return False

    async def _included(self, intent: Intent) -> str | None:
        """Return the hash of an intent's transaction that is on the chain; raises LedgerRefused for a reverted one."""
        for attempt in self._outbox.attempts(intent.key):
            receipt = await self._endpoint.call("eth_getTransactionReceipt", attempt.hash)
            if receipt is None:
                continue
            with self._endpoint.parsing("receipt"):
                status, block = int(receipt["status"], 16), receipt["blockNumber"]
            if not status:
                reason = await self._reason(intent, attempt, block)
                self._outbox.forget(intent.key)
                raise reason
            return attempt.hash
        return None

    async def _reason(self, intent: Intent, attempt: Attempt, block: str) -> LedgerRefused:
        """Find out why a transaction was reverted, by calling it again where it failed."""
        try:
            await self._endpoint.call("eth_call", self._call(intent.data) | {"gas": hex(intent.gas)}, block)
        except RpcError as error:
            return _contract_error(error) or LedgerRefused("Reverted", (attempt.hash,))
        return LedgerRefused("Reverted", (attempt.hash,))

    async def _rebroadcast(self, intent: Intent) -> str | None:
        """Help an intent that is not on the chain: send it again, or under another nonce when its own is used up."""
        attempts = self._outbox.attempts(intent.key)
        used = await self._nonces("latest")
        if used <= attempts[-1].nonce:
            for attempt in self._outbox.newest(used):
                if attempt.nonce <= attempts[-1].nonce:
                    await self._broadcast_again(attempt)
            return None
        if found := await self._included(intent):
            return found
        for attempt in attempts:
            if await self._find(attempt.hash):
                return attempt.hash
        # The checked records up to a block at which the nonce is used up show none of ours: somebody else used it.
        log.warning("append %s: nonce %s of %s was used elsewhere", intent.key, attempts[-1].nonce, self._from)
        async with self._lock:
            self._next = max(self._next or 0, await self._nonces("pending"))
            attempt = self._sign(intent, self._next, await usual_fees(self._endpoint))
            await asyncio.to_thread(self._outbox.store, intent, attempt)
            self._next = attempt.nonce + 1
            await self._broadcast_again(attempt)
        return None

    async def _replace(self, intent: Intent) -> None:
        """Offer more for a transaction that waits too long."""
        last = self._outbox.attempts(intent.key)[-1]
        attempt = self._sign(intent, last.nonce, (await usual_fees(self._endpoint)).above(last.fees))
        await asyncio.to_thread(self._outbox.store, intent, attempt)
        await self._broadcast_again(attempt)

    async def _broadcast_again(self, attempt: Attempt) -> None:
        try:
            await self._broadcast(attempt)
        except RpcError as error:
            log.debug("nonce %s of %s: %s", attempt.nonce, self._from, error)

    async def _broadcast(self, attempt: Attempt) -> None:
        await self._endpoint.call("eth_sendRawTransaction", "0x" + attempt.raw.hex())

    def _call(self, data: bytes) -> dict[str, Any]:
        to = {"to": self._to} if self._to else {}
        return {"from": self._from, "data": "0x" + data.hex(), **to}

    def _sign(self, intent: Intent, nonce: int, fees: Fees) -> Attempt:
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


def _contract_error(error: RpcError) -> LedgerRefused | None:
    """Read the contract's custom error from an endpoint's error; clients put the data in different places."""
    if data := re.search(r"0x([0-9a-fA-F]{8,})", str(error.data)):
        return decode_error(bytes.fromhex(data[1]))
    return LedgerRefused("Reverted", (error.message,)) if "revert" in error.message.lower() else None
