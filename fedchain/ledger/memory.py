"""A ledger in memory, for tests and simulations: the contract's rules, an injected clock, no chain.

One `MemoryChain` is what all members share; `chain.ledger(address)` is the `Ledger` of one of them. The rules are
the contract's (core/ledger/contract.py), in its order and with its errors.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

from fedchain.core.errors import LedgerError, LedgerRefused, Reorganised
from fedchain.core.ledger import contract
from fedchain.core.ledger.contract import Refusal
from fedchain.core.ledger.records import (
    Address,
    Federation,
    Head,
    Payload,
    Record,
    Seq,
    SignedUpdate,
    address,
    first_head,
    next_head,
)

T = TypeVar("T")

Clock = Callable[[], int]
"""Gives the block time in whole seconds since 1970."""

Verify = Callable[[Federation, SignedUpdate], bool]
"""Tells whether the site signed these values for this federation (EIP-712, low s)."""

FEDERATION: Final = Federation(31337, address("fedc" * 10))
"""Chain id and contract of a ledger that has neither."""


def _nobody_signed(_federation: Federation, _signed: SignedUpdate) -> bool:
    return False


class MemoryChain:
    """The ledger that all members share; record 0 makes the governor one."""

    def __init__(
        self,
        governor: Address,
        clock: Clock,
        verify: Verify = _nobody_signed,
        federation: Federation = FEDERATION,
    ) -> None:
        self.federation = federation
        self.records: list[Record] = []
        self.heads = [first_head(federation)]
        """The running hash after so many records."""
        self._clock = clock
        self._verify = verify
        self._state = contract.State()
        self._done: dict[tuple[Address, str], Record] = {}
        self._grown = asyncio.Event()
        self._extend(governor, _taken(contract.foundation(governor)), clock())

    @property
    def head(self) -> Head:
        """The running hash over all records."""
        return self.heads[-1]

    def ledger(self, actor: Address | None = None) -> MemoryLedger:
        """Open the ledger as one address sees it; without an address it can only be read."""
        return MemoryLedger(self, actor)

    def append(self, actor: Address, payload: Payload, key: str | None = None) -> Record:
        """Append a record, once per actor and key; raises LedgerRefused, FormatError."""
        if key is not None and (actor, key) in self._done:
            return self._done[actor, key]
        payload.encoding.encode(payload)
        self._check(actor, payload)
        record = self._extend(actor, payload, self._time())
        if key is not None:
            self._done[actor, key] = record
        return record

    def relay(self, updates: Sequence[SignedUpdate]) -> list[Record]:
        """Append signed updates but those that are not right now; raises LedgerRefused, FormatError."""
        for signed in updates:
            signed.update.encoding.encode(signed.update)
        now = self._time()
        taken = _taken(contract.relay(self._state, updates, now, partial(self._verify, self.federation)))
        return [self._extend(signed.site, signed.update, now) for signed in taken]

    def nonce(self, member: Address) -> int:
        """Return the nonce that the member's next relayed update must carry."""
        return self._state.nonces.get(member, 0)

    async def grown(self, start: Seq) -> None:
        """Return once a record with seq `start` exists."""
        while len(self.records) <= start:
            await self._grown.wait()

    def _time(self) -> int:
        """Return the block time, which never runs backwards."""
        return max(self._clock(), self.records[-1].time)

    def _check(self, actor: Address, payload: Payload) -> None:
        """Raise LedgerRefused where the contract's function for this payload reverts."""
        _taken(contract.refusal(self._state, actor, payload))

    def _extend(self, actor: Address, payload: Payload, time: int) -> Record:
        self._state.apply(payload)
        record = Record(Seq(len(self.records)), actor, time, payload)
        self.records.append(record)
        self.heads.append(next_head(self.heads[-1], record))
        self._grown.set()
        self._grown = asyncio.Event()
        return record


def _taken(outcome: T | Refusal) -> T:
    """Return what the contract's rules give; raises LedgerRefused where they refuse."""
    if isinstance(outcome, Refusal):
        raise LedgerRefused(outcome.name, outcome.operands)
    return outcome


class MemoryLedger:
    """One address's view of a `MemoryChain`; a `Ledger` (core/ports.py)."""

    def __init__(self, chain: MemoryChain, actor: Address | None) -> None:
        self._chain = chain
        self._actor = actor

    @property
    def federation(self) -> Federation:
        """What head_0 binds."""
        return self._chain.federation

    async def records(self, start: Seq = Seq(0), after: Head | None = None) -> Sequence[Record]:
        """Return all records from seq `start` on; raises Reorganised when those before do not hash to `after`."""
        if after is not None and self._chain.heads[start : start + 1] != [after]:
            raise Reorganised(f"the records before record {start} do not hash to {after.hex()}")
        return self._chain.records[start:]

    async def head(self) -> Head:
        """Return the running hash over all records."""
        return self._chain.head

    async def wait(self, start: Seq, timeout: float) -> None:
        """Return once a record with seq `start` exists, or after `timeout` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._chain.grown(start)

    async def append(self, payload: Payload, key: str | None = None) -> Record:
        """Append a record, once per key; raises LedgerRefused, FormatError for a value that is too wide."""
        return self._chain.append(self._signer(), payload, key)

    async def relay(self, updates: Sequence[SignedUpdate]) -> Sequence[Record]:
        """Append updates that other members signed but those that are not right now; raises as `append`."""
        self._signer()
        return self._chain.relay(updates)

    async def nonce(self, member: Address) -> int:
        """Return the nonce that the member's next relayed update must carry."""
        return self._chain.nonce(member)

    def _signer(self) -> Address:
        if self._actor is None:
            raise LedgerError("the ledger was opened for reading only: open it with an address to append")
        return self._actor
