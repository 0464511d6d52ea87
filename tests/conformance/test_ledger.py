"""What every adapter of core/ports.py `Ledger` does alike: one suite, run on each."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount

from fedchain.core.content import NOTHING, Content, Digest
from fedchain.core.errors import FormatError, LedgerError, LedgerRefused
from fedchain.core.ports import Ledger
from fedchain.core.records import (
    Address,
    Attested,
    BufferClosed,
    ContentErased,
    EvaluationReported,
    Federation,
    Meaning,
    MemberSet,
    ModelPublished,
    PolicySet,
    Role,
    Seq,
    SignedUpdate,
    UpdateSubmitted,
    Version,
    address,
    first_head,
    next_head,
)
from fedchain.ledger.memory import MemoryChain

BLOB = Content(Digest(bytes(range(32))), 123)
FAR = 1 << 40
HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


def typed_data(
    federation: Federation, site: Address, update: UpdateSubmitted, nonce: int, deadline: int
) -> object:
    words = ["base", "samples", "size", "nonce", "deadline"]
    return encode_typed_data(
        domain_data={
            "name": "fedchain",
            "version": "1",
            "chainId": federation.chain_id,
            "verifyingContract": federation.contract,
        },
        message_types={
            "SignedUpdate": [
                {"name": "site", "type": "address"},
                {"name": "base", "type": "uint64"},
                {"name": "samples", "type": "uint64"},
                {"name": "digest", "type": "bytes32"},
                *({"name": word, "type": "uint64"} for word in words[2:]),
            ]
        },
        message_data={
            "site": site,
            "base": update.base,
            "samples": update.samples,
            "digest": update.content.digest,
            "size": update.content.size,
            "nonce": nonce,
            "deadline": deadline,
        },
    )


def sign(
    federation: Federation, key: LocalAccount, update: UpdateSubmitted, nonce: int, deadline: int = FAR
) -> SignedUpdate:
    site = address(key.address)
    message = typed_data(federation, site, update, nonce, deadline)
    return SignedUpdate(site, update, nonce, deadline, bytes(key.sign_message(message).signature))


def verify(federation: Federation, signed: SignedUpdate) -> bool:
    message = typed_data(federation, signed.site, signed.update, signed.nonce, signed.deadline)
    low = int.from_bytes(signed.signature[32:64], "big") <= HALF_ORDER
    return low and address(Account.recover_message(message, signature=signed.signature)) == signed.site


class MemoryWorld:
    """Four members' views of one ledger in memory."""

    def __init__(self) -> None:
        self.now = 1_700_000_000
        self.keys = {
            name: Account.create() for name in ("governor", "site", "aggregator", "auditor", "stranger")
        }
        self._chain = MemoryChain(self.address("governor"), lambda: self.now, verify)

    def address(self, name: str) -> Address:
        return address(self.keys[name].address)

    async def ledger(self, name: str | None) -> Ledger:
        return self._chain.ledger(self.address(name) if name else None)

    async def pass_time(self, seconds: int) -> None:
        self.now += seconds


@pytest.fixture(params=["memory"])
async def world() -> MemoryWorld:
    return MemoryWorld()


async def set_up(world: MemoryWorld) -> Ledger:
    """Give everybody but the stranger a role and publish genesis; returns the site's ledger."""
    governor = await world.ledger("governor")
    for name, role in (("site", Role.TRAINER), ("aggregator", Role.AGGREGATOR), ("auditor", Role.AUDITOR)):
        await governor.append(MemberSet(world.address(name), role))
    await (await world.ledger("aggregator")).append(ModelPublished(Version(0), Seq(0), BLOB, BLOB))
    return await world.ledger("site")


async def refusal(ledger: Ledger, payload: object) -> tuple[str, tuple[object, ...]]:
    with pytest.raises(LedgerRefused) as caught:
        await ledger.append(payload)
    return caught.value.name, caught.value.operands


async def test_a_new_ledger_holds_its_governor(world):
    ledger = await world.ledger(None)
    (record,) = await ledger.records()
    governor = world.address("governor")
    assert (record.seq, record.actor, record.payload) == (
        0,
        governor,
        MemberSet(governor, Role.GOVERNOR, NOTHING),
    )


async def test_all_kinds_come_back_as_written_and_hash_to_the_head(world):
    site = await set_up(world)
    governor, auditor = await world.ledger("governor"), await world.ledger("auditor")
    written = [
        await governor.append(PolicySet(BLOB)),
        await site.append(UpdateSubmitted(Version(0), 7, BLOB)),
        await site.append(BufferClosed()),
        await site.append(EvaluationReported(Version(0), BLOB)),
        await auditor.append(Attested(Version(0), Meaning.REJECTED, BLOB)),
        await site.append(ContentErased(Seq(6), 65_535)),
    ]
    records = await auditor.records()
    assert [record.seq for record in records] == list(range(len(records)))
    assert records[5:] == written
    assert {record.kind for record in records} == set(range(1, 9))
    head = first_head(site.federation)
    for record in records:
        head = next_head(head, record)
    assert head == await site.head()


async def test_records_start_where_asked(world):
    site = await set_up(world)
    everything = await site.records()
    assert [list(await site.records(Seq(n))) for n in range(7)] == [list(everything[n:]) for n in range(7)]


async def test_the_rules_refuse_with_name_and_operands(world):
    site = await set_up(world)
    governor, aggregator = await world.ledger("governor"), await world.ledger("aggregator")
    stranger = await world.ledger("stranger")
    who = world.address
    assert await refusal(site, PolicySet(BLOB)) == ("Unauthorized", (who("site"), 1))
    assert await refusal(site, MemberSet(who("site"), Role.GOVERNOR)) == ("Unauthorized", (who("site"), 1))
    assert await refusal(governor, MemberSet(who("site"), Role(16))) == ("UnknownRoles", (16,))
    assert await refusal(governor, MemberSet(who("governor"), Role.NONE)) == (
        "LastGovernor",
        (who("governor"),),
    )
    assert await refusal(aggregator, UpdateSubmitted(Version(0), 1, BLOB)) == (
        "Unauthorized",
        (who("aggregator"), 2),
    )
    assert await refusal(site, UpdateSubmitted(Version(1), 1, BLOB)) == ("UnknownBase", (1, 1))
    assert await refusal(site, UpdateSubmitted(Version(0), 0, BLOB)) == ("NoSamples", ())
    assert await refusal(site, UpdateSubmitted(Version(0), 1, NOTHING)) == ("EmptyContent", ())
    assert await refusal(stranger, BufferClosed()) == ("Unauthorized", (who("stranger"), 15))
    assert await refusal(stranger, ContentErased(Seq(0), 1)) == ("Unauthorized", (who("stranger"), 15))
    published = ModelPublished(Version(2), Seq(0), BLOB, BLOB)
    assert await refusal(site, published) == ("Unauthorized", (who("site"), 4))
    assert await refusal(aggregator, published) == ("WrongVersion", (2, 1))
    assert await refusal(aggregator, EvaluationReported(Version(0), BLOB)) == (
        "Unauthorized",
        (who("aggregator"), 10),
    )
    assert await refusal(site, EvaluationReported(Version(1), BLOB)) == ("UnknownVersion", (1, 1))
    assert await refusal(site, Attested(Version(4), Meaning.APPROVED)) == ("UnknownVersion", (4, 1))
    assert len(await site.records()) == 5


async def test_a_governor_may_go_once_there_is_another(world):
    governor = await world.ledger("governor")
    await governor.append(MemberSet(world.address("site"), Role.GOVERNOR | Role.TRAINER))
    await governor.append(MemberSet(world.address("governor"), Role.NONE))
    assert await refusal(governor, PolicySet(BLOB)) == ("Unauthorized", (world.address("governor"), 1))


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
    again = await (await world.ledger("site")).append(UpdateSubmitted(Version(0), 1, BLOB), key="update/0")
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
    records = await asyncio.gather(
        *(site.append(UpdateSubmitted(Version(0), n + 1, BLOB)) for n in range(20))
    )
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
    key = world.keys["site"]
    batch = [sign(stranger.federation, key, replace(update, samples=n + 1), n) for n in range(3)]
    records = await stranger.relay(batch)
    assert [(r.seq, r.actor, r.payload.samples) for r in records] == [
        (5 + n, batch[n].site, n + 1) for n in range(3)
    ]
    assert records == (await stranger.records())[5:]
    assert await stranger.nonce(batch[0].site) == 3


async def test_a_relay_is_all_or_nothing(world):
    await set_up(world)
    stranger = await world.ledger("stranger")
    federation, key = stranger.federation, world.keys["site"]
    update = UpdateSubmitted(Version(0), 7, BLOB)
    good = sign(federation, key, update, 0)
    head = await stranger.head()
    site, nobody = world.address("site"), world.address("stranger")
    last = (await stranger.records())[-1].time
    bad = {
        ("NoUpdates", ()): [],
        ("WrongNonce", (site, 0, 1)): [good, good],
        ("WrongNonce", (site, 5, 1)): [good, sign(federation, key, update, 5)],
        ("BadSignature", (site,)): [
            good,
            replace(sign(federation, key, update, 1), update=replace(update, samples=8)),
        ],
        ("Unauthorized", (nobody, 2)): [good, sign(federation, world.keys["stranger"], update, 0)],
        ("UnknownBase", (3, 1)): [good, sign(federation, key, replace(update, base=Version(3)), 1)],
        ("NoSamples", ()): [good, sign(federation, key, replace(update, samples=0), 1)],
        ("EmptyContent", ()): [good, sign(federation, key, replace(update, content=NOTHING), 1)],
    }
    for (name, operands), batch in bad.items():
        with pytest.raises(LedgerRefused) as caught:
            await stranger.relay(batch)
        assert (caught.value.name, caught.value.operands) == (name, operands)
    with pytest.raises(LedgerRefused) as caught:
        await stranger.relay([good, sign(federation, key, update, 1, deadline=last - 1)])
    assert caught.value.name == "Expired"
    assert caught.value.operands[:2] == (site, last - 1)
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
