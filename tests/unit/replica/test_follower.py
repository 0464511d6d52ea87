"""The follower keeps up with its ledger, and starts again when the chain was reorganised."""

from __future__ import annotations

import pytest

from fedchain.core.errors import Reorganised
from fedchain.core.ledger.records import Address, MemberSet, Role, Seq
from fedchain.core.ports import Ledger
from fedchain.ledger.memory import MemoryChain
from fedchain.replica.follower import Follower
from fedchain.store.alone import LoneStore
from fedchain.store.memory import MemoryBlobs

GOVERNOR, SITE = Address("0x" + "aa" * 20), Address("0x" + "01" * 20)


class Switched:
    """A ledger whose chain can be exchanged for another branch."""

    def __init__(self, ledger: Ledger) -> None:
        self.branch = ledger

    def __getattr__(self, name: str) -> object:
        return getattr(self.branch, name)


async def branch(roles: Role, time: int) -> Ledger:
    ledger = MemoryChain(GOVERNOR, lambda: time).ledger(GOVERNOR)
    await ledger.append(MemberSet(SITE, roles))
    return ledger


async def test_records_that_are_gone_are_forgotten() -> None:
    switched = Switched(await branch(Role.TRAINER, 1_000))
    follower = Follower(switched, LoneStore(MemoryBlobs()))
    await follower.advance()
    assert Role.TRAINER in follower.history.members.roles(SITE, Seq(2))

    switched.branch = await branch(Role.AUDITOR, 1_000)
    with pytest.raises(Reorganised):
        await follower.advance()
    await follower.advance()
    assert follower.history.members.roles(SITE, Seq(2)) == Role.AUDITOR
    assert follower.history.head == await switched.branch.head()


async def test_the_same_records_at_another_time_are_another_branch() -> None:
    switched = Switched(await branch(Role.TRAINER, 1_000))
    follower = Follower(switched, LoneStore(MemoryBlobs()))
    await follower.advance()
    switched.branch = await branch(Role.TRAINER, 1_001)
    with pytest.raises(Reorganised):
        await follower.advance()
