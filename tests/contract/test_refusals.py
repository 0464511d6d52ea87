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
    MemberSet,
    ModelPublished,
    Payload,
    PolicySet,
    Role,
    Seq,
    UpdateSubmitted,
    Verdict,
    Version,
    address,
)

A = Content(Digest(bytes(range(32))), 25_000_000)
SOMEBODY = address("0x" + "5e" * 20)
TRAINER_OR_AUDITOR, ANY = 10, 15

UNAUTHORIZED: list[tuple[Payload, int, set[str]]] = [
    (PolicySet(A), 1, {"governor"}),
    (MemberSet(SOMEBODY, Role.TRAINER), 1, {"governor"}),
    (UpdateSubmitted(Version(0), 1, A), 2, {"trainer"}),
    (BufferClosed(), ANY, {"governor", "trainer", "aggregator", "auditor"}),
    (ModelPublished(Version(1), Seq(0), A, A), 4, {"aggregator"}),
    (EvaluationReported(Version(0), A), TRAINER_OR_AUDITOR, {"trainer", "auditor"}),
    (Attested(Version(0), Verdict.APPROVED), TRAINER_OR_AUDITOR, {"trainer", "auditor"}),
    (ContentErased(Seq(0), 1), ANY, {"governor", "trainer", "aggregator", "auditor"}),
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
    ("aggregator", ModelPublished(Version(0), Seq(0), A, A), ("WrongVersion", 0, 1)),
    ("aggregator", ModelPublished(Version(2), Seq(0), A, A), ("WrongVersion", 2, 1)),
    ("auditor", EvaluationReported(Version(1), A), ("UnknownVersion", 1, 1)),
    ("auditor", Attested(Version(7), Verdict.REJECTED), ("UnknownVersion", 7, 1)),
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
        (Attested(Version(0), Verdict.APPROVED), ("UnknownVersion", 0, 0)),
        (ModelPublished(Version(1), Seq(0), A, A), ("WrongVersion", 1, 0)),
    ):
        assert ledger.refusal(ledger.call(payload), ledger.trainer) == refusal


def test_an_attestation_means_something(ledger: Any) -> None:
    call = ledger.at.functions.attest(0, 0, (A.digest, A.size))
    assert ledger.refusal(call, ledger.auditor) == ("NoMeaning",)


def test_there_is_no_fourth_meaning(ledger: Any) -> None:
    head = ledger.head()
    receipt = ledger.send(ledger.at.functions.attest(0, 4, (A.digest, A.size)), ledger.auditor)
    assert (receipt["status"], ledger.head()) == (0, head)


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
