"""What every adapter of core/ports.py `Ledger` does alike: one suite, run on each.

Longer than 300 lines because it is the port's whole promise, and is read as one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Protocol, Self

import pytest
from chains.programs import RUN, Chain
from eth_account import Account
from eth_account.signers.local import LocalAccount

from fedchain.core.errors import FormatError, LedgerError, LedgerRefused, Reorganised
from fedchain.core.ledger.content import NOTHING, Content, Digest
from fedchain.core.ledger.records import (
    PAYLOADS,
    Address,
    Attested,
    BufferClosed,
    ContentErased,
    EvaluationReported,
    Head,
    MemberSet,
    ModelPublished,
    PolicySet,
    Role,
    Seq,
    ShareGiven,
    SignedUpdate,
    UpdateSubmitted,
    Verdict,
    Version,
    address,
    first_head,
    next_head,
)
from fedchain.core.ports import Ledger
from fedchain.crypto.eip712 import is_signed, sign_update
from fedchain.ledger.endpoint import Endpoint
from fedchain.ledger.ethereum import EthereumLedger, deploy
from fedchain.ledger.memory import MemoryChain
from fedchain.ledger.signer import RetryPolicy

BLOB = Content(Digest(bytes(range(32))), 123)
HEAD = Head(bytes(range(32, 64)))
FAR = 1 << 40
LIMIT = 32_768


class World(Protocol):
    """One new federation, and its ledger as each member sees it."""

    keys: dict[str, LocalAccount]

    async def ledger(self, name: str | None) -> Ledger: ...

    async def reopen(self, name: str) -> Ledger:
        """Open a member's ledger as its next process would."""

    async def pass_time(self, seconds: int) -> None: ...


def new_keys() -> dict[str, LocalAccount]:
    return {name: Account.create() for name in ("governor", "site", "aggregator", "auditor", "stranger")}


class MemoryWorld:
    def __init__(self) -> None:
        self.keys = new_keys()
        self._now = 1_700_000_000
        self._chain = MemoryChain(address(self.keys["governor"].address), lambda: self._now, is_signed)

    async def ledger(self, name: str | None) -> Ledger:
        return self._chain.ledger(address(self.keys[name].address) if name else None)

    reopen = ledger

    async def pass_time(self, seconds: int) -> None:
        self._now += seconds


class EthereumWorld:
    def __init__(self, chain: Chain, folder: Path) -> None:
        self.keys = new_keys()
        self._chain = chain
        self._url = chain.url
        self._folder = folder
        self._ledgers: dict[str | None, EthereumLedger] = {}

    async def __aenter__(self) -> Self:
        await self._chain.give(*(key.address for key in self.keys.values()))
        self._deployment = await deploy(self._url, self.keys["governor"], retry_policy=RetryPolicy(poll=0.02))
        return self

    async def __aexit__(self, *_: object) -> None:
        for ledger in self._ledgers.values():
            await ledger.close()

    async def ledger(self, name: str | None) -> Ledger:
        if name not in self._ledgers:
            self._ledgers[name] = await EthereumLedger.connect(
                self._url,
                self._deployment.federation.contract,
                self.keys[name] if name else None,
                folder=self._folder / (name or "reader"),
                confirmations=0,
                retry_policy=RetryPolicy(poll=0.02),
            )
        return self._ledgers[name]

    async def reopen(self, name: str) -> Ledger:
        await self._ledgers.pop(name).close()
        return await self.ledger(name)

    async def pass_time(self, seconds: int) -> None:
        """Let time pass, forwards: a chain's time knows nothing else."""
        if not self._chain.moves_time:
            pytest.skip("this chain's time cannot be moved")
        endpoint = Endpoint(self._url)
        if seconds > 0:
            await endpoint.call("evm_increaseTime", hex(seconds))
        await endpoint.close()


@pytest.fixture(scope="module")
def chains(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Chain]]:
    """Start each chain when its first test asks for it."""
    with ExitStack() as stack:
        yield cache(lambda name: stack.enter_context(RUN[name](tmp_path_factory.mktemp(name))))


@pytest.fixture(params=["memory", "anvil", "hardhat", "geth", pytest.param("clique", marks=pytest.mark.long)])
async def world(request: pytest.FixtureRequest, chains: Callable[[str], Chain], tmp_path: Path) -> AsyncIterator[World]:
    if request.param == "memory":
        yield MemoryWorld()
        return
    chain = await asyncio.to_thread(chains, request.param)
    async with EthereumWorld(chain, tmp_path) as ethereum:
        yield ethereum


def who(world: World, name: str) -> Address:
    return address(world.keys[name].address)


def sign(
    world: World, ledger: Ledger, name: str, update: UpdateSubmitted, nonce: int, until: int = FAR
) -> SignedUpdate:
    return sign_update(ledger.federation, world.keys[name], update, nonce, until)


async def set_up(world: World) -> Ledger:
    """Give everybody but the stranger a role and publish genesis; returns the site's ledger."""
    governor = await world.ledger("governor")
    for name, role in (("site", Role.TRAINER), ("aggregator", Role.AGGREGATOR), ("auditor", Role.AUDITOR)):
        await governor.append(MemberSet(who(world, name), role))
    await (await world.ledger("aggregator")).append(ModelPublished(Version(0), Seq(0), HEAD, BLOB, BLOB))
    return await world.ledger("site")


async def refusal(ledger: Ledger, payload: object) -> tuple[str, tuple[object, ...]]:
    with pytest.raises(LedgerRefused) as caught:
        await ledger.append(payload)
    return caught.value.name, caught.value.operands


async def test_a_new_ledger_holds_its_governor(world):
    ledger = await world.ledger(None)
    (record,) = await ledger.records()
    governor = who(world, "governor")
    assert (record.seq, record.actor, record.payload) == (
        0,
        governor,
        MemberSet(governor, Role.GOVERNOR, NOTHING),
    )


async def test_all_kinds_come_back_as_written_and_hash_to_the_head(world):
    site = await set_up(world)
    governor, auditor = await world.ledger("governor"), await world.ledger("auditor")
    aggregator = await world.ledger("aggregator")
    written = [
        await governor.append(PolicySet(b'{"format":"fedchain/policy/2"}')),
        await site.append(UpdateSubmitted(Version(0), 7, BLOB)),
        await site.append(BufferClosed()),
        await auditor.append(BufferClosed(certificate=bytes(range(121)) * 3)),
        await governor.append(BufferClosed(Seq(4), bytes(range(242)))),
        await aggregator.append(ModelPublished(Version(2), Seq(9), HEAD, BLOB, BLOB, bytes(LIMIT))),
        await site.append(EvaluationReported(Version(0), BLOB)),
        await auditor.append(Attested(Seq(6), Verdict.REFUSED, BLOB)),
        await governor.append(Attested(Seq(1 << 63), 65_535)),
        await site.append(ContentErased(Seq(6), 65_535)),
        await site.append(ShareGiven(Seq(7), Digest(bytes(HEAD)), BLOB)),
    ]
    records = await auditor.records()
    assert [record.seq for record in records] == list(range(len(records)))
    assert records[5:] == written
    assert {record.kind for record in records} == set(PAYLOADS)
    assert [type(record.payload.meaning) for record in records[12:14]] == [Verdict, int]
    head = first_head(site.federation)
    for record in records:
        head = next_head(head, record)
    assert head == await site.head()


async def test_records_start_where_asked(world):
    site = await set_up(world)
    everything = await site.records()
    assert [list(await site.records(Seq(n))) for n in range(7)] == [list(everything[n:]) for n in range(7)]


async def test_records_go_on_only_from_the_head_that_the_ledger_had(world):
    site = await set_up(world)
    everything = await site.records()
    head = first_head(site.federation)
    for n, record in enumerate(everything):
        assert list(await site.records(Seq(n), head)) == list(everything[n:])
        head = next_head(head, record)
    with pytest.raises(Reorganised):
        await site.records(Seq(1), head)
    with pytest.raises(Reorganised):
        await site.records(Seq(len(everything) + 1), head)


async def test_the_rules_refuse_with_name_and_operands(world):
    site = await set_up(world)
    governor, aggregator = await world.ledger("governor"), await world.ledger("aggregator")
    stranger = await world.ledger("stranger")
    assert await refusal(site, PolicySet(b"")) == ("Unauthorized", (who(world, "site"), 1))
    assert await refusal(site, MemberSet(who(world, "site"), Role.GOVERNOR)) == (
        "Unauthorized",
        (who(world, "site"), 1),
    )
    assert await refusal(governor, MemberSet(who(world, "site"), Role(16))) == ("UnknownRoles", (16,))
    assert await refusal(governor, MemberSet(who(world, "governor"), Role.NONE)) == (
        "LastGovernor",
        (who(world, "governor"),),
    )
    assert await refusal(aggregator, UpdateSubmitted(Version(0), 1, BLOB)) == (
        "Unauthorized",
        (who(world, "aggregator"), 2),
    )
    assert await refusal(site, UpdateSubmitted(Version(1), 1, BLOB)) == ("UnknownBase", (1, 1))
    assert await refusal(site, UpdateSubmitted(Version(0), 0, BLOB)) == ("NoSamples", ())
    assert await refusal(site, UpdateSubmitted(Version(0), 1, NOTHING)) == ("EmptyContent", ())
    assert await refusal(stranger, BufferClosed()) == ("Unauthorized", (who(world, "stranger"), 15))
    assert await refusal(stranger, ContentErased(Seq(0), 1)) == ("Unauthorized", (who(world, "stranger"), 15))
    assert await refusal(site, BufferClosed(Seq(4))) == ("Unauthorized", (who(world, "site"), 1))
    assert await refusal(stranger, ShareGiven(Seq(0), BLOB.digest, BLOB)) == (
        "Unauthorized",
        (who(world, "stranger"), 15),
    )
    published = ModelPublished(Version(2), Seq(0), HEAD, BLOB, BLOB)
    assert await refusal(site, published) == ("Unauthorized", (who(world, "site"), 4))
    assert await refusal(aggregator, published) == ("WrongVersion", (2, 1))
    assert await refusal(aggregator, EvaluationReported(Version(0), BLOB)) == (
        "Unauthorized",
        (who(world, "aggregator"), 10),
    )
    assert await refusal(site, EvaluationReported(Version(1), BLOB)) == ("UnknownVersion", (1, 1))
    assert await refusal(site, Attested(Seq(4), 0)) == ("NoMeaning", ())
    long = bytes(LIMIT + 1)
    assert await refusal(governor, PolicySet(long)) == ("PolicyTooLong", (LIMIT + 1, LIMIT))
    assert await refusal(site, BufferClosed(certificate=long)) == ("CertificateTooLong", (LIMIT + 1, LIMIT))
    assert await refusal(aggregator, replace(published, version=Version(1), certificate=long)) == (
        "CertificateTooLong",
        (LIMIT + 1, LIMIT),
    )
    assert len(await site.records()) == 5


async def test_a_governor_may_go_once_there_is_another(world):
    governor = await world.ledger("governor")
    await governor.append(MemberSet(who(world, "site"), Role.GOVERNOR | Role.TRAINER))
    await governor.append(MemberSet(who(world, "governor"), Role.NONE))
    assert await refusal(governor, PolicySet(b"")) == ("Unauthorized", (who(world, "governor"), 1))


async def test_a_version_number_may_be_claimed_again(world):
    site = await set_up(world)
    aggregator = await world.ledger("aggregator")
    first = await aggregator.append(ModelPublished(Version(1), Seq(4), HEAD, BLOB, BLOB))
    for number in (1, 0):
        again = await aggregator.append(ModelPublished(Version(number), Seq(4), HEAD, BLOB, BLOB))
        assert again.seq > first.seq
    assert await refusal(site, UpdateSubmitted(Version(2), 1, BLOB)) == ("UnknownBase", (2, 2))
    await (await world.ledger("governor")).append(BufferClosed(Seq(4)))
    assert await refusal(site, UpdateSubmitted(Version(3), 1, BLOB)) == ("UnknownBase", (3, 3))


async def test_values_too_wide_for_the_contract_are_format_errors(world):
    site = await set_up(world)
    for update in (
        UpdateSubmitted(Version(0), 1 << 64, BLOB),
        UpdateSubmitted(Version(-1), 1, BLOB),
        UpdateSubmitted(Version(0), 1, replace(BLOB, size=1 << 64)),
    ):
        with pytest.raises(FormatError, match="UpdateSubmitted"):
            await site.append(update)


async def test_one_key_has_one_effect(world):
    site = await set_up(world)
    first = await site.append(UpdateSubmitted(Version(0), 1, BLOB), key="update/0")
    site = await world.reopen("site")
    again = await site.append(UpdateSubmitted(Version(0), 1, BLOB), key="update/0")
    other = await site.append(UpdateSubmitted(Version(0), 1, BLOB), key="update/1")
    assert first == again != other
    assert len(await site.records()) == 7


async def test_a_refused_append_leaves_its_key_free(world):
    site = await set_up(world)
    with pytest.raises(LedgerRefused, match=r"UnknownBase\(1, 1\)"):
        await site.append(UpdateSubmitted(Version(1), 1, BLOB), key="k")
    assert (await site.append(UpdateSubmitted(Version(0), 1, BLOB), key="k")).seq == 5


async def test_many_appends_at_once_all_count(world):
    site = await set_up(world)
    records = await asyncio.gather(*(site.append(UpdateSubmitted(Version(0), n + 1, BLOB)) for n in range(20)))
    assert sorted(record.seq for record in records) == list(range(5, 25))
    assert {record.payload.samples for record in await site.records(Seq(5))} == set(range(1, 21))


async def test_without_a_key_the_ledger_is_for_reading(world):
    ledger = await world.ledger(None)
    with pytest.raises(LedgerError, match="reading only"):
        await ledger.append(BufferClosed())


async def test_wait_ends_with_the_record_or_the_time(world):
    site = await set_up(world)
    await site.wait(Seq(4), timeout=10)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await site.wait(Seq(5), timeout=0.1)
    assert 0.1 <= loop.time() - began < 2
    waiting = asyncio.create_task((await world.ledger(None)).wait(Seq(5), timeout=10))
    await site.append(BufferClosed())
    await asyncio.wait_for(waiting, timeout=2)


async def test_relayed_updates_are_their_sites_own(world):
    await set_up(world)
    stranger = await world.ledger("stranger")
    update = UpdateSubmitted(Version(0), 7, BLOB)
    batch = [sign(world, stranger, "site", replace(update, samples=n + 1), n) for n in range(3)]
    records = await stranger.relay(batch)
    assert [(r.seq, r.actor, r.payload.samples) for r in records] == [(5 + n, batch[n].site, n + 1) for n in range(3)]
    assert records == (await stranger.records())[5:]
    assert await stranger.nonce(batch[0].site) == 3


async def test_a_relay_leaves_out_what_is_not_right_now(world):
    await set_up(world)
    stranger = await world.ledger("stranger")
    update = UpdateSubmitted(Version(0), 7, BLOB)
    last = (await stranger.records())[-1].time
    good = [sign(world, stranger, "site", replace(update, samples=n + 1), n) for n in range(2)]
    records = await stranger.relay(
        [
            sign(world, stranger, "stranger", update, 0),
            good[0],
            good[0],
            sign(world, stranger, "site", update, 1, until=last - 1),
            sign(world, stranger, "site", update, 5),
            good[1],
        ]
    )
    assert [record.payload for record in records] == [one.update for one in good]
    assert records == (await stranger.records())[5:]
    assert await stranger.nonce(who(world, "site")) == 2
    with pytest.raises(LedgerRefused, match="NoUpdates"):
        await stranger.relay(good)


async def test_a_relay_is_refused_for_what_can_never_be_taken(world):
    await set_up(world)
    stranger = await world.ledger("stranger")
    update = UpdateSubmitted(Version(0), 7, BLOB)
    good = sign(world, stranger, "site", update, 0)
    head = await stranger.head()
    site = who(world, "site")
    bad = {
        ("NoUpdates", ()): [],
        ("BadSignature", (site,)): [
            good,
            replace(sign(world, stranger, "site", update, 1), update=replace(update, samples=8)),
        ],
        ("UnknownBase", (3, 1)): [good, sign(world, stranger, "site", replace(update, base=Version(3)), 1)],
        ("NoSamples", ()): [good, sign(world, stranger, "site", replace(update, samples=0), 9)],
        ("EmptyContent", ()): [good, sign(world, stranger, "stranger", replace(update, content=NOTHING), 1)],
    }
    for (name, operands), batch in bad.items():
        with pytest.raises(LedgerRefused) as caught:
            await stranger.relay(batch)
        assert (caught.value.name, caught.value.operands) == (name, operands)
    assert await stranger.head() == head
    assert await stranger.nonce(site) == 0


async def test_block_time_never_runs_backwards(world):
    site = await set_up(world)
    first = await site.append(BufferClosed())
    await world.pass_time(60)
    assert (await site.append(BufferClosed())).time >= first.time + 60
    await world.pass_time(-30)
    await site.append(BufferClosed())
    times = [record.time for record in await site.records()]
    assert times == sorted(times)
