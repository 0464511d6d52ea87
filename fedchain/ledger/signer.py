"""The signer actor: everything that one key sends to one contract, numbered, durable, each intent with one effect.

An append goes estimate → sign with the next nonce → store in the outbox → send → look for the receipt. Whatever
fails after storing is decided by asking for the own hash, never by the error's words: "already known" and
"nonce too low" may both mean success. web3's own numbering loses 19 of 20 concurrent sends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from fedchain.core.errors import HeadMismatch, LedgerError, LedgerRefused, LedgerUnreachable
from fedchain.ledger.endpoint import RpcError
from fedchain.ledger.fees import Fees
from fedchain.ledger.outbox import Intent, Outbox
from fedchain.ledger.wallet import Wallet

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
    """Sends one key's transactions. Every method belongs on one event loop."""

    def __init__(self, wallet: Wallet, outbox: Outbox, retry_policy: RetryPolicy, find: Find) -> None:
        self._wallet = wallet
        self._outbox = outbox
        self._retry_policy = retry_policy
        self._find = find
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
        def delivered(task: asyncio.Task[str]) -> None:
            del self._deliveries[intent.key]
            if not task.cancelled() and (error := task.exception()):
                log.info("append %s: %s", intent.key, error)

        task = asyncio.create_task(self._deliver(intent, fees), name=f"append {intent.key}")
        self._deliveries[intent.key] = task
        task.add_done_callback(delivered)
        return task

    async def _deliver(self, intent: Intent, fees: Fees | None) -> str:
        """Send a call until it is on the chain; returns its transaction's hash."""
        clock = asyncio.get_running_loop().time
        sent = fees is not None and await self._post(intent, fees)
        rebroadcast_at = clock() + self._retry_policy.resend if sent else clock()
        replace_at = clock() + self._retry_policy.replace
        pause = _FIRST_LOOK_S
        while True:
            try:
                found = await self._wallet.included(intent, self._outbox.attempts(intent.key))
                if not found and clock() >= rebroadcast_at:
                    found = await self._rebroadcast(intent)
                    rebroadcast_at = clock() + self._retry_policy.resend
                if not found and clock() >= replace_at:
                    await self._replace(intent)
                    replace_at = clock() + self._retry_policy.replace
            except LedgerRefused:
                self._outbox.forget(intent.key)
                raise
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
                gas, fees, _ = await asyncio.gather(self._wallet.gas(data), self._wallet.fees(), self._count())
            except LedgerUnreachable as error:
                log.warning("an append waits: %s", error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, self._retry_policy.poll)
            else:
                return gas, fees

    async def _count(self) -> None:
        """Find the first free nonce, once: from then on the actor counts by itself."""
        if self._next is None:
            used = await self._wallet.nonces("pending")
            self._next = max(used, self._outbox.next_nonce())

    async def _post(self, intent: Intent, fees: Fees) -> bool:
        """Send a new call and tell whether the endpoint took it; raises LedgerError where it never will."""
        async with self._lock:
            assert self._next is not None
            attempt = self._wallet.sign(intent, self._next, fees)
            await asyncio.to_thread(self._outbox.store, intent, attempt)
            self._next = attempt.nonce + 1
            try:
                await self._wallet.broadcast(attempt)
            except LedgerUnreachable:
                return False
            except RpcError as error:
                if await self._wallet.is_refused(attempt):
                    self._outbox.forget(intent.key)
                    self._next = attempt.nonce
                    raise LedgerError(f"{self._wallet.address} cannot append: {error.message}") from error
                return False
            return True

    async def _rebroadcast(self, intent: Intent) -> str | None:
        """Help an intent that is not on the chain: send it again, or under another nonce when its own is used up."""
        attempts = self._outbox.attempts(intent.key)
        used = await self._wallet.nonces("latest")
        if used <= attempts[-1].nonce:
            for attempt in self._outbox.newest(used):
                if attempt.nonce <= attempts[-1].nonce:
                    await self._wallet.rebroadcast(attempt)
            return None
        if found := await self._wallet.included(intent, attempts):
            return found
        for attempt in attempts:
            if await self._find(attempt.hash):
                return attempt.hash
        # The checked records up to a block at which the nonce is used up show none of ours: somebody else used it.
        log.warning(
            "append %s: nonce %s of %s was used elsewhere", intent.key, attempts[-1].nonce, self._wallet.address
        )
        async with self._lock:
            self._next = max(self._next or 0, await self._wallet.nonces("pending"))
            attempt = self._wallet.sign(intent, self._next, await self._wallet.fees())
            await asyncio.to_thread(self._outbox.store, intent, attempt)
            self._next = attempt.nonce + 1
            await self._wallet.rebroadcast(attempt)
        return None

    async def _replace(self, intent: Intent) -> None:
        """Offer more for a transaction that waits too long."""
        last = self._outbox.attempts(intent.key)[-1]
        attempt = self._wallet.sign(intent, last.nonce, (await self._wallet.fees()).above(last.fees))
        await asyncio.to_thread(self._outbox.store, intent, attempt)
        await self._wallet.rebroadcast(attempt)
