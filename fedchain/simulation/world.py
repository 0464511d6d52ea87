"""What members of a simulated federation stand on: their keys, one chain, a network of blobs, a clock."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final

from eth_account import Account
from eth_account.signers.local import LocalAccount

from fedchain.core.errors import LedgerUnreachable
from fedchain.core.formats.document import put
from fedchain.core.ledger import records
from fedchain.core.ledger.content import Content
from fedchain.core.ledger.records import Address, Payload, Record, address
from fedchain.core.ports import Blobs
from fedchain.core.rules.history import History, Published
from fedchain.core.rules.manifest import Manifest
from fedchain.crypto.eip712 import is_signed
from fedchain.ledger.memory import FEDERATION, MemoryChain
from fedchain.simulation.clock import VirtualClock, running_clock
from fedchain.simulation.ledger import MemberLedger
from fedchain.simulation.network import AllBlobs, Network
from fedchain.store.alone import LoneStore

FIRST_SITE: Final = 10
"""Members from this number on are sites."""


@cache
def key(number: int) -> LocalAccount:
    """Return the key of the n-th member, from 1: the same in every federation, so worth nothing outside of one."""
    account: LocalAccount = Account.from_key(number.to_bytes(32, "big"))
    return account


def member(number: int) -> Address:
    """Return the address of the n-th member."""
    return address(key(number).address)


GOVERNOR, AGGREGATOR, STANDBY, AUDITOR = map(member, range(1, 5))


class World:
    """What members of a federation stand on: chain, network, clock."""

    def __init__(
        self,
        *,
        clock: VirtualClock | None = None,
        heap: Blobs | None = None,
        federation: records.Federation = FEDERATION,
        contract: type[MemoryChain] = MemoryChain,
    ) -> None:
        """Make the ledger with its first record; members have blobs of their own, or share one heap."""
        self.clock = clock or running_clock()
        self.lag_s = 0.0
        """How far block times are behind the clock."""
        self.chain = contract(GOVERNOR, lambda: int(self.clock.now() - self.lag_s), is_signed, federation)
        self.network = Network(self.clock, heap)
        self.blobs = AllBlobs(self.network, GOVERNOR)
        """Everybody's, as one."""
        self.store = LoneStore(self.blobs)
        self.ledger = self.chain.ledger(None)
        self.latency_s: dict[Address, float] = {}
        self._ledgers: dict[Address, MemberLedger] = {}
        self._history = History(federation)

    @property
    def published(self) -> Sequence[Published]:
        """The claims that are versions."""
        for record in self.chain.records[self._history.length :]:
            self._history.append(record)
        return self._history.published

    @property
    def versions(self) -> int:
        """How many versions are published, genesis included."""
        return len(self.published)

    def model(self, version: int) -> Content:
        """Name the model of a version."""
        return self.published[version].claim.model

    def manifest_of(self, version: int) -> Manifest:
        """Read the manifest of a version."""
        content = self.published[version].claim.manifest
        return Manifest.parse(self.blobs.open(content).read(0, content.size))

    def records_of(self, kind: type[Payload], actor: Address | None = None) -> list[Record]:
        """List the records of one kind, of one member or of all."""
        return [one for one in self.chain.records if isinstance(one.payload, kind) and actor in (None, one.actor)]

    def put(self, data: bytes, owner: Address = GOVERNOR) -> Content:
        """Store a blob at a member's."""
        return put(self.network.link(owner).blobs, data)

    def ledger_of(self, member: Address) -> MemberLedger:
        """Return a member's connection to the ledger; each connects once."""
        if member not in self._ledgers:
            latency_s = self.latency_s.get(member, 0.0)
            self._ledgers[member] = MemberLedger(self.chain, member, self.clock, latency_s)
        return self._ledgers[member]

    def slow(self, member: Address, latency_s: float) -> None:
        """Put a member far away from ledger and peers; before it connects."""
        assert member not in self._ledgers, f"{member} is connected already"
        self.latency_s[member] = self.network.link(member).latency_s = latency_s

    def cut(self, *members: Address) -> None:
        """Cut members off from ledger and peers."""
        for one in members:
            self.ledger_of(one).fail(LedgerUnreachable(f"{one} is cut off"))
        self.network.cut(*members)

    def heal(self, *members: Address) -> None:
        """Connect members again."""
        for one in members:
            self.ledger_of(one).mend()
        self.network.heal(*members)
