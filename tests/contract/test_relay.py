"""Updates that their sites signed and somebody else brings: what counts as a signature, once, in time, all or none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from eth_account import Account

from fedchain.core.ledger.content import NOTHING, Content, Digest
from fedchain.core.ledger.records import (
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

    made = [(SITE, UPDATE), (OTHER, UPDATE), (SITE, second)]
    assert ledger.events(receipt) == [("UpdateSubmitted", site, ledger.values(one)) for site, one in made]
    for site, update in made:
        head = next_head(head, Record(Seq(0), site, ledger.time(receipt), update))
    assert ledger.head() == head
    assert (ledger.member(SITE), ledger.member(OTHER)) == ((Role.TRAINER, 2), (Role.TRAINER, 1))


def test_a_direct_update_spends_no_nonce(ledger: Any) -> None:
    ledger.append(UPDATE, ledger.trainer)
    assert ledger.member(ledger.trainer) == (Role.TRAINER, 0)


def test_a_relayed_update_counts_once(ledger: Any) -> None:
    signed = signed_by(ledger)
    assert ledger.refusal(ledger.relay(signed, signed), ledger.stranger) == ("WrongNonce", SITE, 0, 1)
    assert ledger.send(ledger.relay(signed), ledger.stranger)["status"] == 1
    assert ledger.refusal(ledger.relay(signed), ledger.stranger) == ("WrongNonce", SITE, 0, 1)


def test_updates_come_in_the_order_of_their_nonces(ledger: Any) -> None:
    first, second = signed_by(ledger), signed_by(ledger, nonce=1)
    assert ledger.refusal(ledger.relay(second, first), ledger.stranger) == ("WrongNonce", SITE, 1, 0)


def test_a_nonce_stays_spent_while_its_site_is_away(ledger: Any) -> None:
    signed = signed_by(ledger)
    assert ledger.send(ledger.relay(signed), ledger.stranger)["status"] == 1
    ledger.append(MemberSet(SITE, Role.NONE), ledger.governor)
    assert ledger.refusal(ledger.relay(signed), ledger.stranger) == ("Unauthorized", SITE, 2)
    ledger.append(MemberSet(SITE, Role.TRAINER), ledger.governor)
    assert ledger.refusal(ledger.relay(signed), ledger.stranger) == ("WrongNonce", SITE, 0, 1)


def test_an_update_is_taken_until_its_deadline_and_not_a_second_later(ledger: Any) -> None:
    now = ledger.chain.eth.get_block("latest")["timestamp"] + 1000
    late = sign_update(ledger.federation, KEY, UPDATE, 0, now - 1)
    in_time = sign_update(ledger.federation, KEY, UPDATE, 0, now + 1)

    ledger.next_block_at(now)
    assert ledger.refusal(ledger.relay(late), ledger.stranger) == ("Expired", SITE, now - 1, now)
    ledger.next_block_at(now + 1)
    assert ledger.send(ledger.relay(in_time), ledger.stranger)["status"] == 1


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
    assert (fields, name, version, salt, extensions) == (b"\x0f", "fedchain", "1", bytes(32), [])
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


def test_only_trainers_updates_are_brought(ledger: Any) -> None:
    for roles in (Role.NONE, Role.GOVERNOR | Role.AGGREGATOR | Role.AUDITOR):
        ledger.append(MemberSet(STRANGER, roles), ledger.governor)
        refusal = ledger.refusal(ledger.relay(signed_by(ledger, STRANGER_KEY)), ledger.trainer)
        assert refusal == ("Unauthorized", STRANGER, 2)


def test_an_empty_batch_is_refused(ledger: Any) -> None:
    assert ledger.refusal(ledger.relay(), ledger.trainer) == ("NoUpdates",)


@pytest.mark.parametrize("bad_at", [0, 3, 5])
def test_one_bad_update_takes_its_batch_with_it(ledger: Any, bad_at: int) -> None:
    batch = [signed_by(ledger, key, nonce) for nonce in range(3) for key in (KEY, OTHER_KEY)]
    batch.insert(bad_at, signed_by(ledger, STRANGER_KEY))
    assert ledger.refusal(ledger.relay(*batch), ledger.trainer) == ("Unauthorized", STRANGER, 2)
    assert (ledger.member(SITE), ledger.member(OTHER)) == ((Role.TRAINER, 0), (Role.TRAINER, 0))

    del batch[bad_at]
    assert ledger.send(ledger.relay(*batch), ledger.trainer)["status"] == 1
    assert (ledger.member(SITE), ledger.member(OTHER)) == ((Role.TRAINER, 3), (Role.TRAINER, 3))
