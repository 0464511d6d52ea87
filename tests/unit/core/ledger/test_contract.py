"""The contract's rules in Python; tests/contract/test_rules.py holds them against the contract on a chain."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedchain.core.ledger.content import NOTHING, Content, Digest
from fedchain.core.ledger.contract import MAX_BYTES, Refusal, State, foundation, needed_roles, refusal, relay
from fedchain.core.ledger.records import (
    ANY_ROLE,
    NOBODY,
    PAYLOADS,
    Address,
    BufferClosed,
    ContentErased,
    Head,
    MemberSet,
    ModelPublished,
    PolicySet,
    Role,
    Seq,
    SignedUpdate,
    UpdateSubmitted,
    Version,
    address,
)

GOVERNOR, SITE, OTHER = (address(f"{number:02x}" * 20) for number in (1, 2, 3))
BLOB = Content(Digest(bytes(32)), 1)
UPDATE = UpdateSubmitted(Version(0), 1, BLOB)


def claim(version: int) -> ModelPublished:
    return ModelPublished(Version(version), Seq(0), Head(bytes(32)), BLOB, BLOB)


@pytest.fixture
def state() -> State:
    return State({GOVERNOR: Role.GOVERNOR, SITE: Role.TRAINER, OTHER: Role.TRAINER}, {}, 1)


def test_the_first_governor_is_somebody() -> None:
    assert foundation(NOBODY) == Refusal("NoGovernor")
    assert foundation(SITE) == MemberSet(SITE, Role.GOVERNOR)


def test_a_refusal_reads_like_the_contracts_error() -> None:
    assert str(Refusal("UnknownBase", (7, 1))) == "UnknownBase(7, 1)"


def test_roles_are_those_of_the_kind_but_for_a_restart() -> None:
    assert needed_roles(BufferClosed()) == PAYLOADS[4].by == ANY_ROLE
    assert needed_roles(BufferClosed(Seq(1))) == Role.GOVERNOR


def test_roles_come_before_values(state: State) -> None:
    assert refusal(state, SITE, MemberSet(SITE, Role(16))) == Refusal("Unauthorized", (SITE, 1))
    assert refusal(state, GOVERNOR, MemberSet(SITE, Role(16))) == Refusal("UnknownRoles", (16,))
    assert refusal(state, GOVERNOR, PolicySet(bytes(MAX_BYTES + 1))) == Refusal(
        "PolicyTooLong", (MAX_BYTES + 1, MAX_BYTES)
    )


def test_the_last_governor_stays(state: State) -> None:
    assert refusal(state, GOVERNOR, MemberSet(GOVERNOR, Role.NONE)) == Refusal("LastGovernor", (GOVERNOR,))
    assert refusal(state, GOVERNOR, MemberSet(GOVERNOR, Role.GOVERNOR | Role.TRAINER)) is None
    state.apply(MemberSet(SITE, Role.GOVERNOR))
    assert refusal(state, GOVERNOR, MemberSet(GOVERNOR, Role.NONE)) is None


def test_numbers_are_given_by_claims_and_restarts(state: State) -> None:
    for payload, versions in (
        (claim(0), 1),
        (claim(1), 2),
        (claim(1), 2),
        (BufferClosed(), 2),
        (BufferClosed(Seq(1)), 3),
        (ContentErased(Seq(1), 0), 3),
    ):
        state.apply(payload)
        assert state.versions == versions


def signed(site: Address, nonce: int, **change: object) -> SignedUpdate:
    return replace(SignedUpdate(site, UPDATE, nonce, 100, b"good"), **change)  # type: ignore[arg-type]


def bring(state: State, *batch: SignedUpdate) -> list[SignedUpdate] | Refusal:
    return relay(state, batch, 100, lambda one: one.signature == b"good")


def test_a_relay_leaves_out_what_is_not_right_now(state: State) -> None:
    good = [signed(SITE, 0), signed(OTHER, 0), signed(SITE, 1)]
    left_out = [signed(GOVERNOR, 0), signed(SITE, 5), signed(OTHER, 0, deadline=99)]
    assert bring(state, *left_out, good[0], good[0], *good[1:]) == good
    assert state.nonces == {SITE: 2, OTHER: 1}
    assert bring(state, *good) == Refusal("NoUpdates")


@pytest.mark.parametrize(
    ("bad", "refused"),
    [
        (signed(SITE, 9, signature=b"bad"), Refusal("BadSignature", (SITE,))),
        (signed(SITE, 9, update=replace(UPDATE, base=Version(1))), Refusal("UnknownBase", (1, 1))),
        (signed(GOVERNOR, 0, update=replace(UPDATE, samples=0)), Refusal("NoSamples")),
        (signed(SITE, 0, deadline=9, update=replace(UPDATE, content=NOTHING)), Refusal("EmptyContent")),
    ],
)
def test_a_refused_relay_changes_nothing(state: State, bad: SignedUpdate, refused: Refusal) -> None:
    assert bring(state, signed(SITE, 0), bad) == refused
    assert state.nonces == {}
