"""A ledger in memory, for tests and simulations: the contract's rules, an injected clock, no chain.

One `MemoryChain` is what all members share; `chain.ledger(address)` is the `Ledger` of one of them. Every
rule of contracts/FederationLedger.sol is kept, in the contract's order and with its errors.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from fedchain.core.errors import LedgerError, LedgerRefused, Reorganised
from fedchain.core.ledger.records import (
    NOBODY,
    Address,
    Attested,
    BufferClosed,
    ContentErased,
    EvaluationReported,
    Federation,
    Head,
    MemberSet,
    ModelPublished,
    Payload,
    PolicySet,
    Record,
    Role,
    Seq,
    SignedUpdate,
    UpdateSubmitted,
    Version,
    address,
    first_head,
    next_head,
)
from fedchain.ledger.calls import checked_words

Clock = Callable[[], int]
"""Gives the block time in whole seconds since 1970."""

Verify = Callable[[Federation, SignedUpdate], bool]
"""Tells whether the site signed these values for this federation (EIP-712, low s)."""

ANY_ROLE: Final = Role.GOVERNOR | Role.TRAINER | Role.AGGREGATOR | Role.AUDITOR

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
        if governor == NOBODY:
            raise LedgerRefused("NoGovernor")
        self.federation = federation
        self.records: list[Record] = []
        self.heads = [first_head(federation)]
        """The running hash after so many records."""
        self._clock = clock
        self._verify = verify
        self._roles: dict[Address, Role] = {}
        self._nonces: dict[Address, int] = {}
        self._versions = 0
        self._done: dict[tuple[Address, str], Record] = {}
        self._grown = asyncio.Event()
        self._extend(governor, MemberSet(governor, Role.GOVERNOR), clock())

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
        checked_words(payload)
        self._check(actor, payload)
        record = self._extend(actor, payload, self._time())
        if key is not None:
            self._done[actor, key] = record
        return record

    def relay(self, updates: Sequence[SignedUpdate]) -> list[Record]:
        """Append signed updates, all or none; raises LedgerRefused, FormatError."""
        if not updates:
            raise LedgerRefused("NoUpdates")
        now = self._time()
        nonces = dict(self._nonces)
        for signed in updates:
            checked_words(signed.update)
            if not self._verify(self.federation, signed):
                raise LedgerRefused("BadSignature", (signed.site,))
            self._need(signed.site, Role.TRAINER)
            expected = nonces.get(signed.site, 0)
            if signed.nonce != expected:
                raise LedgerRefused("WrongNonce", (signed.site, signed.nonce, expected))
            if now > signed.deadline:
                raise LedgerRefused("Expired", (signed.site, signed.deadline, now))
            self._check(signed.site, signed.update)
            nonces[signed.site] = expected + 1
        self._nonces = nonces
        return [self._extend(signed.site, signed.update, now) for signed in updates]

    def nonce(self, member: Address) -> int:
        """Return the nonce that the member's next relayed update must carry."""
        return self._nonces.get(member, 0)

    async def grown(self, start: Seq) -> None:
        """Return once a record with seq `start` exists."""
        while len(self.records) <= start:
            await self._grown.wait()

    def _time(self) -> int:
        """Return the block time, which never runs backwards."""
        return max(self._clock(), self.records[-1].time)

    def _need(self, actor: Address, roles: Role) -> None:
        if not self._roles.get(actor, Role.NONE) & roles:
            raise LedgerRefused("Unauthorized", (actor, int(roles)))

    def _need_version(self, version: Version) -> None:
        if version >= self._versions:
            raise LedgerRefused("UnknownVersion", (version, self._versions))

    def _check(self, actor: Address, payload: Payload) -> None:
        """Raise LedgerRefused where the contract's function for this payload reverts."""
        match payload:
            case PolicySet():
                self._need(actor, Role.GOVERNOR)
            case MemberSet(member, roles):
                self._need(actor, Role.GOVERNOR)
                if int(roles) & ~int(ANY_ROLE):
                    raise LedgerRefused("UnknownRoles", (int(roles),))
                governors = {one for one, held in self._roles.items() if held & Role.GOVERNOR}
                if governors == {member} and not roles & Role.GOVERNOR:
                    raise LedgerRefused("LastGovernor", (member,))
            case UpdateSubmitted(base, samples, content):
                self._need(actor, Role.TRAINER)
                if base >= self._versions:
                    raise LedgerRefused("UnknownBase", (base, self._versions))
                if not samples:
                    raise LedgerRefused("NoSamples")
                if not content.size:
                    raise LedgerRefused("EmptyContent")
            case BufferClosed() | ContentErased():
                self._need(actor, ANY_ROLE)
            case ModelPublished(version):
                self._need(actor, Role.AGGREGATOR)
                if version != self._versions:
                    raise LedgerRefused("WrongVersion", (version, self._versions))
            case EvaluationReported(version) | Attested(version):
                self._need(actor, Role.TRAINER | Role.AUDITOR)
                self._need_version(version)

    def _extend(self, actor: Address, payload: Payload, time: int) -> Record:
        if isinstance(payload, MemberSet):
            self._roles[payload.member] = payload.roles
        elif isinstance(payload, ModelPublished):
            self._versions += 1
        record = Record(Seq(len(self.records)), actor, time, payload)
        self.records.append(record)
        self.heads.append(next_head(self.heads[-1], record))
        self._grown.set()
        self._grown = asyncio.Event()
        return record


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
        """Append updates that other members signed, all or none; raises as `append`."""
        self._signer()
        return self._chain.relay(updates)

    async def nonce(self, member: Address) -> int:
        """Return the nonce that the member's next relayed update must carry."""
        return self._chain.nonce(member)

    def _signer(self) -> Address:
        if self._actor is None:
            raise LedgerError("the ledger was opened for reading only: open it with an address to append")
        return self._actor
