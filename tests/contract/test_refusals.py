"""What the contract refuses, with which error and values; a refused transaction leaves nothing behind."""

from __future__ import annotations

from typing import Any

import pytest
from web3.exceptions import ContractCustomError

from fedchain.core.ledger.content import NOTHING, Content, Digest
from fedchain.core.ledger.records import (
    NOBODY,
    Attested,
    BufferClosed,
    ContentErased,
    EvaluationReported,
    Head,
    MemberSet,
    ModelPublished,
    Payload,
    PolicySet,
    Role,
    Seq,
    ShareGiven,
    UpdateSubmitted,
    Verdict,
    Version,
    address,
)

A = Content(Digest(bytes(range(32))), 25_000_000)
SOMEBODY = address("0x" + "5e" * 20)
TRAINER_OR_AUDITOR, ANY = 10, 15

LIMIT = 32_768


def claim(version: int, certificate: bytes = b"") -> ModelPublished:
    return ModelPublished(Version(version), Seq(0), Head(bytes(32)), A, A, certificate)


UNAUTHORIZED: list[tuple[Payload, int, set[str]]] = [
    (PolicySet(b"{}"), 1, {"governor"}),
    (MemberSet(SOMEBODY, Role.TRAINER), 1, {"governor"}),
    (UpdateSubmitted(Version(0), 1, A), 2, {"trainer"}),
    (BufferClosed(), ANY, {"governor", "trainer", "aggregator", "auditor"}),
    (BufferClosed(Seq(4)), 1, {"governor"}),
    (claim(1), 4, {"aggregator"}),
    (EvaluationReported(Version(0), A), TRAINER_OR_AUDITOR, {"trainer", "auditor"}),
    (Attested(Seq(0), Verdict.APPROVED), ANY, {"governor", "trainer", "aggregator", "auditor"}),
    (ContentErased(Seq(0), 1), ANY, {"governor", "trainer", "aggregator", "auditor"}),
    (ShareGiven(Seq(0), A.digest, A), ANY, {"governor", "trainer", "aggregator", "auditor"}),
]


@pytest.mark.parametrize(("payload", "needed", "allowed"), UNAUTHORIZED)
def test_each_action_asks_for_its_role(ledger: Any, payload: Payload, needed: int, allowed: set[str]) -> None:
    for name in {"governor", "trainer", "aggregator", "auditor", "stranger"} - allowed:
        actor = getattr(ledger, name)
        assert ledger.refusal(ledger.call(payload), actor) == ("Unauthorized", actor, needed)


REFUSED: list[tuple[str, Payload, tuple[Any, ...]]] = [
    ("trainer", UpdateSubmitted(Version(1), 1, A), ("UnknownBase", 1, 1)),
    ("trainer", UpdateSubmitted(Version(2**64 - 1), 1, A), ("UnknownBase", 2**64 - 1, 1)),
    ("trainer", UpdateSubmitted(Version(0), 0, A), ("NoSamples",)),
    ("trainer", UpdateSubmitted(Version(0), 1, NOTHING), ("EmptyContent",)),
    ("trainer", UpdateSubmitted(Version(0), 1, Content(A.digest, 0)), ("EmptyContent",)),
    ("aggregator", claim(2), ("WrongVersion", 2, 1)),
    ("aggregator", claim(2**64 - 1), ("WrongVersion", 2**64 - 1, 1)),
    ("aggregator", claim(2, bytes(LIMIT + 1)), ("WrongVersion", 2, 1)),
    ("aggregator", claim(1, bytes(LIMIT + 1)), ("CertificateTooLong", LIMIT + 1, LIMIT)),
    ("trainer", BufferClosed(certificate=bytes(LIMIT + 1)), ("CertificateTooLong", LIMIT + 1, LIMIT)),
    ("governor", BufferClosed(Seq(4), bytes(LIMIT + 1)), ("CertificateTooLong", LIMIT + 1, LIMIT)),
    ("governor", PolicySet(bytes(LIMIT + 1)), ("PolicyTooLong", LIMIT + 1, LIMIT)),
    ("auditor", EvaluationReported(Version(1), A), ("UnknownVersion", 1, 1)),
    ("auditor", Attested(Seq(4), 0), ("NoMeaning",)),
    ("governor", MemberSet(SOMEBODY, Role(15) + 1), ("UnknownRoles", 16)),
    ("governor", MemberSet(SOMEBODY, 2**32 - 1), ("UnknownRoles", 2**32 - 1)),
]


@pytest.mark.parametrize(("sender", "payload", "refusal"), REFUSED)
def test_values_are_checked(ledger: Any, sender: str, payload: Payload, refusal: tuple[Any, ...]) -> None:
    assert ledger.refusal(ledger.call(payload), getattr(ledger, sender)) == refusal


def test_nothing_is_known_before_genesis(deploy: Any) -> None:
    ledger = deploy()
    ledger.append(MemberSet(ledger.trainer, Role(15)), ledger.governor)
    for payload, refusal in (
        (UpdateSubmitted(Version(0), 1, A), ("UnknownBase", 0, 0)),
        (EvaluationReported(Version(0), A), ("UnknownVersion", 0, 0)),
        (claim(1), ("WrongVersion", 1, 0)),
    ):
        assert ledger.refusal(ledger.call(payload), ledger.trainer) == refusal


@pytest.mark.parametrize(
    ("sender", "payload"),
    [
        ("aggregator", claim(1, bytes(LIMIT))),
        ("trainer", BufferClosed(certificate=bytes(LIMIT))),
        ("governor", PolicySet(bytes(LIMIT))),
    ],
)
def test_bytes_are_taken_up_to_their_limit(ledger: Any, sender: str, payload: Payload) -> None:
    ledger.append(payload, getattr(ledger, sender))


@pytest.mark.parametrize("roles", [Role.NONE, Role.TRAINER | Role.AGGREGATOR | Role.AUDITOR])
def test_the_last_governor_stays_one(ledger: Any, roles: Role) -> None:
    call = ledger.call(MemberSet(ledger.governor, roles))
    assert ledger.refusal(call, ledger.governor) == ("LastGovernor", ledger.governor)


def test_a_governor_named_twice_counts_once(ledger: Any) -> None:
    ledger.append(MemberSet(ledger.governor, Role.GOVERNOR | Role.TRAINER), ledger.governor)
    call = ledger.call(MemberSet(ledger.governor, Role.TRAINER))
    assert ledger.refusal(call, ledger.governor) == ("LastGovernor", ledger.governor)


def test_the_first_governor_is_somebody(deploy: Any, ledger: Any) -> None:
    with pytest.raises(ContractCustomError) as refused:
        deploy(governor=NOBODY)
    assert ledger.error(refused.value) == ("NoGovernor",)


def test_a_member_that_lost_its_roles_is_refused(ledger: Any) -> None:
    ledger.append(MemberSet(ledger.trainer, Role.NONE), ledger.governor)
    for payload, needed in ((UpdateSubmitted(Version(0), 1, A), 2), (BufferClosed(), ANY)):
        refusal = ledger.refusal(ledger.call(payload), ledger.trainer)
        assert refusal == ("Unauthorized", ledger.trainer, needed)
