"""Updates that their sites signed and somebody else brings: what counts as a signature, once and in time.

What a relay could not foresee costs an update only itself; what it could, the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from eth_account import Account

from fedchain.core.ledger.content import NOTHING, Content, Digest
from fedchain.core.ledger.records import (
    NOBODY,
    Federation,
    MemberSet,
    Record,
    Role,
    Seq,
    SignedUpdate,
    UpdateSubmitted,
    Version,
    address,
    next_head,
)
from fedchain.crypto.eip712 import is_signed, sign_update

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""The number of points of secp256k1: (r, s, v) and (r, ORDER - s, the other v) are signatures of one message."""

KEY, OTHER_KEY, STRANGER_KEY = (Account.from_key(bytes([number] * 32)) for number in (7, 8, 9))
SITE, OTHER, STRANGER = (address(key.address) for key in (KEY, OTHER_KEY, STRANGER_KEY))
UPDATE = UpdateSubmitted(Version(0), 569, Content(Digest(bytes(range(32))), 25_000_000))
FOREVER = 2**64 - 1


@pytest.fixture
def ledger(ledger: Any) -> Any:
    """Let the two sites train."""
    for site in (SITE, OTHER):
        ledger.append(MemberSet(site, Role.TRAINER), ledger.governor)
    return ledger


def signed_by(ledger: Any, key: Any = KEY, nonce: int = 0, update: UpdateSubmitted = UPDATE) -> SignedUpdate:
    return sign_update(ledger.federation, key, update, nonce, FOREVER)


def test_a_relayed_update_is_the_sites_own(ledger: Any) -> None:
    head = ledger.head()
    second = replace(UPDATE, samples=1)

    receipt = ledger.send(
        ledger.relay(signed_by(ledger), signed_by(ledger, OTHER_KEY), signed_by(ledger, KEY, 1, second)),
        ledger.stranger,
    )

    updates = [(SITE, UPDATE), (OTHER, UPDATE), (SITE, second)]
    assert ledger.events(receipt) == [("UpdateSubmitted", site, ledger.values(one)) for site, one in updates]
    for site, update in updates:
        head = next_head(head, Record(Seq(0), site, ledger.time(receipt), update))
    assert ledger.head() == head
    assert (ledger.member(SITE), ledger.member(OTHER)) == ((Role.TRAINER, 2), (Role.TRAINER, 1))


def test_a_direct_update_spends_no_nonce(ledger: Any) -> None:
    ledger.append(UPDATE, ledger.trainer)
    assert ledger.member(ledger.trainer) == (Role.TRAINER, 0)


def made(ledger: Any, *batch: SignedUpdate) -> list[SignedUpdate]:
    """Bring a batch and return those of its updates that are recorded."""
    receipt = ledger.send(ledger.relay(*batch), ledger.stranger)
    assert receipt["status"] == 1
    events = [(actor, values) for _, actor, values in ledger.events(receipt)]
    found = [one for one in batch if (one.site, ledger.values(one.update)) in events]
    assert len(found) == len(events)
    return found


def test_a_relayed_update_counts_once(ledger: Any) -> None:
    signed = signed_by(ledger)
    receipt = ledger.send(ledger.relay(signed, signed), ledger.stranger)
    assert (receipt["status"], len(receipt["logs"]), ledger.member(SITE)) == (1, 1, (Role.TRAINER, 1))
    assert ledger.refusal(ledger.relay(signed), ledger.stranger) == ("NoUpdates",)


def test_updates_come_in_the_order_of_their_nonces(ledger: Any) -> None:
    first, second = signed_by(ledger), signed_by(ledger, nonce=1, update=replace(UPDATE, samples=1))
    assert made(ledger, second, first) == [first]
    assert made(ledger, second) == [second]


def test_a_nonce_stays_spent_while_its_site_is_away(ledger: Any) -> None:
    signed = signed_by(ledger)
    assert made(ledger, signed) == [signed]
    ledger.append(MemberSet(SITE, Role.NONE), ledger.governor)
    assert ledger.refusal(ledger.relay(signed), ledger.stranger) == ("NoUpdates",)
    ledger.append(MemberSet(SITE, Role.TRAINER), ledger.governor)
    assert ledger.refusal(ledger.relay(signed), ledger.stranger) == ("NoUpdates",)


def test_an_update_is_taken_until_its_deadline_and_not_a_second_later(ledger: Any) -> None:
    now = ledger.chain.eth.get_block("latest")["timestamp"] + 1000
    late = sign_update(ledger.federation, KEY, UPDATE, 0, now - 1)
    in_time = sign_update(ledger.federation, KEY, UPDATE, 0, now + 1)

    ledger.next_block_at(now)
    assert ledger.refusal(ledger.relay(late), ledger.stranger) == ("NoUpdates",)
    ledger.next_block_at(now + 1)
    assert made(ledger, in_time) == [in_time]


def test_the_other_signature_of_the_same_message_is_refused(ledger: Any) -> None:
    signed = signed_by(ledger)
    r, s, v = signed.signature[:32], int.from_bytes(signed.signature[32:64], "big"), signed.signature[64]
    high = replace(signed, signature=r + (ORDER - s).to_bytes(32, "big") + bytes([55 - v]))
    assert ledger.refusal(ledger.relay(high), ledger.stranger) == ("BadSignature", SITE)
    assert not is_signed(ledger.federation, high)
    assert ledger.send(ledger.relay(signed), ledger.stranger)["status"] == 1


ALTERED: dict[str, Callable[[SignedUpdate], SignedUpdate]] = {
    "site": lambda one: replace(one, site=OTHER),
    "base": lambda one: replace(one, update=replace(one.update, base=Version(1))),
    "samples": lambda one: replace(one, update=replace(one.update, samples=570)),
    "digest": lambda one: replace(one, update=replace(one.update, content=Content(Digest(bytes(32)), 25_000_000))),
    "size": lambda one: replace(one, update=replace(one.update, content=replace(UPDATE.content, size=1))),
    "nonce": lambda one: replace(one, nonce=1),
    "deadline": lambda one: replace(one, deadline=FOREVER - 1),
    "one bit of r": lambda one: replace(one, signature=bytes([one.signature[0] ^ 1]) + one.signature[1:]),
    "the other v": lambda one: replace(one, signature=one.signature[:64] + bytes([55 - one.signature[64]])),
    "v from 0": lambda one: replace(one, signature=one.signature[:64] + bytes([one.signature[64] - 27])),
    "zeros": lambda one: replace(one, signature=bytes(65)),
    "nothing": lambda one: replace(one, signature=b""),
    "64 bytes": lambda one: replace(one, signature=one.signature[:64]),
    "66 bytes": lambda one: replace(one, signature=one.signature + b"\0"),
}


@pytest.mark.parametrize("what", ALTERED)
def test_whatever_is_altered_the_signature_is_not_the_sites(ledger: Any, what: str) -> None:
    signed = signed_by(ledger)
    altered = ALTERED[what](signed)
    assert ledger.refusal(ledger.relay(altered), ledger.stranger) == ("BadSignature", altered.site)
    assert not is_signed(ledger.federation, altered)
    assert is_signed(ledger.federation, signed)


def test_a_signature_is_for_one_contract_on_one_chain(ledger: Any, deploy: Any) -> None:
    here = ledger.federation
    for elsewhere in (deploy().federation, Federation(here.chain_id + 1, here.contract)):
        foreign = sign_update(elsewhere, KEY, UPDATE, 0, FOREVER)
        assert ledger.refusal(ledger.relay(foreign), ledger.stranger) == ("BadSignature", SITE)


def test_the_domain_is_published(ledger: Any) -> None:
    fields, name, version, chain_id, contract, salt, extensions = ledger.at.functions.eip712Domain().call()
    assert (fields, name, version, salt, extensions) == (b"\x0f", "fedchain", "2", bytes(32), [])
    assert (chain_id, address(contract)) == (ledger.federation.chain_id, ledger.federation.contract)


REFUSED: list[tuple[UpdateSubmitted, tuple[Any, ...]]] = [
    (replace(UPDATE, base=Version(1)), ("UnknownBase", 1, 1)),
    (replace(UPDATE, samples=0), ("NoSamples",)),
    (replace(UPDATE, content=NOTHING), ("EmptyContent",)),
]


@pytest.mark.parametrize(("update", "refusal"), REFUSED)
def test_a_signed_update_keeps_the_rules_of_a_direct_one(
    ledger: Any, update: UpdateSubmitted, refusal: tuple[Any, ...]
) -> None:
    signed = signed_by(ledger, update=update)
    assert ledger.refusal(ledger.relay(signed), ledger.stranger) == refusal


def test_the_address_that_no_signature_recovers_to_signs_nothing(ledger: Any) -> None:
    ledger.append(MemberSet(NOBODY, Role.TRAINER), ledger.governor)
    nobodys = replace(signed_by(ledger), site=NOBODY, signature=bytes(64) + b"\x1b")
    assert ledger.refusal(ledger.relay(nobodys), ledger.stranger) == ("BadSignature", NOBODY)
    assert not is_signed(ledger.federation, nobodys)


def test_only_trainers_updates_are_brought(ledger: Any) -> None:
    for roles in (Role.NONE, Role.GOVERNOR | Role.AGGREGATOR | Role.AUDITOR):
        ledger.append(MemberSet(STRANGER, roles), ledger.governor)
        assert ledger.refusal(ledger.relay(signed_by(ledger, STRANGER_KEY)), ledger.trainer) == ("NoUpdates",)


def test_an_empty_batch_is_refused(ledger: Any) -> None:
    assert ledger.refusal(ledger.relay(), ledger.trainer) == ("NoUpdates",)


def a_batch(ledger: Any) -> list[SignedUpdate]:
    numbered = [(key, nonce) for nonce in range(3) for key in (KEY, OTHER_KEY)]
    return [signed_by(ledger, key, nonce, replace(UPDATE, samples=n + 1)) for n, (key, nonce) in enumerate(numbered)]


@pytest.mark.parametrize("at", [0, 3, 6])
def test_an_update_that_is_not_right_now_costs_only_itself(ledger: Any, at: int) -> None:
    batch, expired = a_batch(ledger), sign_update(ledger.federation, KEY, UPDATE, min(at, 4) // 2 + at % 2, 1)
    late = [signed_by(ledger, STRANGER_KEY), signed_by(ledger, OTHER_KEY, 9), expired]
    assert made(ledger, *batch[:at], *late, *batch[at:]) == batch
    assert (ledger.member(SITE), ledger.member(OTHER)) == ((Role.TRAINER, 3), (Role.TRAINER, 3))


def test_a_site_that_spoils_its_nonce_costs_its_own_updates(ledger: Any) -> None:
    batch = a_batch(ledger)
    assert made(ledger, signed_by(ledger)) == [signed_by(ledger)]
    assert made(ledger, *batch) == [one for one in batch if one is not batch[0]]


@pytest.mark.parametrize("at", [0, 3, 6])
@pytest.mark.parametrize("what", ["signature", "value"])
def test_what_a_relay_can_see_beforehand_costs_the_batch(ledger: Any, at: int, what: str) -> None:
    batch = a_batch(ledger)
    if what == "signature":
        bad, refusal = replace(signed_by(ledger, nonce=9), signature=bytes(65)), ("BadSignature", SITE)
    else:
        bad, refusal = signed_by(ledger, nonce=9, update=replace(UPDATE, base=Version(7))), ("UnknownBase", 7, 1)
    assert ledger.refusal(ledger.relay(*batch[:at], bad, *batch[at:]), ledger.trainer) == refusal
    assert (ledger.member(SITE), ledger.member(OTHER)) == ((Role.TRAINER, 0), (Role.TRAINER, 0))
