"""Each kind of record: its event, its head, and what it leaves in the contract's state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st

from fedchain.core.ledger.content import NOTHING, Content, Digest
from fedchain.core.ledger.records import (
    NOBODY,
    PAYLOADS,
    Attested,
    BufferClosed,
    ContentErased,
    EvaluationReported,
    Head,
    MemberSet,
    ModelPublished,
    Payload,
    PolicySet,
    Record,
    Role,
    Seq,
    ShareGiven,
    UpdateSubmitted,
    Verdict,
    Version,
    address,
    first_head,
    next_head,
)
from fedchain.crypto.eip712 import sign_update

A = Content(Digest(bytes(range(32))), 25_000_000)
B = Content(Digest(bytes(range(32, 64))), 2**64 - 1)
HEAD = Head(bytes(range(64, 96)))
SOMEBODY = address("0x" + "5e" * 20)
ALL = Role(15)

EACH_KIND: list[tuple[str, Payload]] = [
    ("governor", PolicySet(b'{"format":"fedchain/policy/2"}')),
    ("governor", PolicySet(b"")),
    ("governor", MemberSet(SOMEBODY, Role.TRAINER | Role.AUDITOR, B)),
    ("trainer", UpdateSubmitted(Version(0), 2**64 - 1, A)),
    ("auditor", BufferClosed()),
    ("auditor", BufferClosed(certificate=bytes(range(121)) * 2)),
    ("governor", BufferClosed(Seq(2**64 - 1), b"\0")),
    ("aggregator", ModelPublished(Version(1), Seq(2**64 - 1), HEAD, A, B)),
    ("aggregator", ModelPublished(Version(0), Seq(0), HEAD, A, B, bytes(range(256)) * 100)),
    ("trainer", EvaluationReported(Version(0), B)),
    ("auditor", EvaluationReported(Version(0), NOTHING)),
    ("trainer", Attested(Seq(2**64 - 1), Verdict.RECOMPUTED, A)),
    ("governor", Attested(Seq(0), 2**16 - 1)),
    ("aggregator", ContentErased(Seq(2**64 - 1), 2**16 - 1)),
    ("trainer", ShareGiven(Seq(2**64 - 1), A.digest, B)),
]


def test_every_kind_is_tried() -> None:
    assert {payload.kind for _, payload in EACH_KIND} == set(PAYLOADS)


@pytest.mark.parametrize(("sender", "payload"), EACH_KIND)
def test_a_record_is_one_event_and_extends_the_head(ledger: Any, sender: str, payload: Payload) -> None:
    actor = getattr(ledger, sender)
    before = ledger.head()

    receipt = ledger.send(ledger.call(payload), actor)

    assert ledger.events(receipt) == [(type(payload).__name__, actor, ledger.values(payload))]
    assert ledger.head() == next_head(before, Record(Seq(0), actor, ledger.time(receipt), payload))


def test_record_0_makes_the_governor_one(deploy: Any) -> None:
    ledger = deploy()
    payload = MemberSet(ledger.governor, Role.GOVERNOR)
    record = Record(Seq(0), ledger.governor, ledger.time(ledger.deployment_block), payload)

    assert ledger.events(ledger.deployment_block) == [("MemberSet", ledger.governor, ledger.values(payload))]
    assert ledger.head() == next_head(first_head(ledger.federation), record)
    assert ledger.member(ledger.governor) == (Role.GOVERNOR, 0)
    assert ledger.at.functions.versions().call() == 0


def test_a_first_ledger_has_no_predecessor(deploy: Any) -> None:
    assert deploy().at.functions.predecessor().call() == [NOBODY, bytes(32)]


def test_the_first_head_binds_the_predecessor_and_its_head(deploy: Any) -> None:
    old = deploy()
    new = deploy(old.federation.contract, old.head())
    record = Record(Seq(0), new.governor, new.time(new.deployment_block), MemberSet(new.governor, Role.GOVERNOR))

    ledger, last_head = new.at.functions.predecessor().call()
    assert (address(ledger), last_head) == (old.federation.contract, old.head())
    assert new.federation.predecessor_head == old.head()
    assert new.head() == next_head(first_head(new.federation), record)


def test_two_ledgers_never_share_a_head(deploy: Any) -> None:
    assert deploy().head() != deploy().head()


def test_roles_are_replaced_and_taken_away(ledger: Any) -> None:
    for roles in (ALL, Role.AUDITOR, Role.NONE, Role.GOVERNOR | Role.TRAINER):
        ledger.append(MemberSet(SOMEBODY, roles), ledger.governor)
        assert ledger.member(SOMEBODY) == (roles, 0)


def test_a_governor_goes_once_there_is_another(ledger: Any) -> None:
    ledger.append(MemberSet(ledger.trainer, Role.GOVERNOR), ledger.governor)
    ledger.append(MemberSet(ledger.governor, Role.NONE), ledger.governor)
    ledger.append(MemberSet(ledger.governor, Role.GOVERNOR), ledger.trainer)
    ledger.append(MemberSet(ledger.trainer, Role.TRAINER), ledger.trainer)

    last = ledger.call(MemberSet(ledger.governor, Role.AUDITOR))
    assert ledger.refusal(last, ledger.governor) == ("LastGovernor", ledger.governor)


def test_version_numbers_are_given_once_each(ledger: Any) -> None:
    steps = [
        (ledger.aggregator, ModelPublished(Version(1), Seq(9), HEAD, A, B), 2),
        (ledger.trainer, BufferClosed(), 2),
        (ledger.aggregator, ModelPublished(Version(1), Seq(9), HEAD, B, A), 2),
        (ledger.aggregator, ModelPublished(Version(0), Seq(0), HEAD, B, A), 2),
        (ledger.governor, BufferClosed(Seq(4)), 3),
        (ledger.aggregator, ModelPublished(Version(2), Seq(9), HEAD, A, B), 3),
        (ledger.aggregator, ModelPublished(Version(3), Seq(9), HEAD, A, B), 4),
    ]
    for actor, payload, versions in steps:
        ledger.append(payload, actor)
        assert ledger.at.functions.versions().call() == versions


# ------------------------------------------------------------------------- Solidity and Python, head for head

SITES = [Account.from_key(bytes([site] * 32)) for site in (1, 2)]
WORDS = st.integers(0, 2**64 - 1)
BYTES = st.binary(max_size=300)
HEADS = st.binary(min_size=32, max_size=32).map(Head)
VERSIONS = WORDS.map(Version)
SEQS = WORDS.map(Seq)
CONTENTS = st.builds(Content, st.binary(min_size=32, max_size=32).map(Digest), WORDS)
NOT_EMPTY = CONTENTS.filter(lambda content: content.size > 0)
# Nobody of those who act: roles are drawn at random, and those who act keep theirs.
OTHERS = st.binary(min_size=20, max_size=20).map(lambda raw: address(raw.hex()))
UPDATES = st.builds(UpdateSubmitted, VERSIONS, st.integers(1, 2**64 - 1), NOT_EMPTY)
PAYLOADS_OF_ALL_KINDS = st.one_of(
    st.builds(PolicySet, BYTES),
    st.builds(MemberSet, OTHERS, st.integers(0, 15).map(Role), CONTENTS),
    UPDATES,
    st.builds(BufferClosed, SEQS, BYTES),
    st.builds(BufferClosed, certificate=BYTES),
    st.builds(ModelPublished, VERSIONS, SEQS, HEADS, CONTENTS, CONTENTS, BYTES),
    st.builds(EvaluationReported, VERSIONS, CONTENTS),
    st.builds(Attested, SEQS, st.integers(1, 2**16 - 1), CONTENTS),
    st.builds(ContentErased, SEQS, st.integers(0, 2**16 - 1)),
    st.builds(ShareGiven, SEQS, st.binary(min_size=32, max_size=32).map(Digest), CONTENTS),
)
STEPS = st.one_of(
    st.tuples(st.sampled_from(["governor", "trainer"]), PAYLOADS_OF_ALL_KINDS),
    st.lists(st.tuples(st.sampled_from(SITES), UPDATES), min_size=1, max_size=4),
)


def fitted(payload: Payload, published: int) -> Payload:
    """Replace a drawn version by one that the contract takes when so many numbers are given."""
    match payload:
        case ModelPublished():
            return replace(payload, version=Version(payload.version % (published + 1)))
        case UpdateSubmitted():
            return replace(payload, base=Version(payload.base % published))
        case EvaluationReported():
            return replace(payload, version=Version(payload.version % published))
        case _:
            return payload


@settings(max_examples=30, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(1, 2**20), STEPS), max_size=12))
def test_solidity_and_python_agree_on_every_head(deploy: Any, steps: list[tuple[int, Any]]) -> None:
    ledger = deploy()
    trainers = [ledger.trainer, *(address(site.address) for site in SITES)]
    head = ledger.head()
    start: list[Payload] = [MemberSet(member, ALL) for member in (*trainers, ledger.governor)]
    for payload in (*start, ModelPublished(Version(0), Seq(0), HEAD, A, B)):
        head = next_head(head, ledger.append(payload, ledger.governor))
    nonces, now = {site.address: 0 for site in SITES}, ledger.time(ledger.deployment_block) + 100

    for seconds, step in steps:
        now += seconds
        published = ledger.at.functions.versions().call()
        ledger.next_block_at(now)
        if isinstance(step, list):
            signed = []
            for site, update in step:
                fitting = fitted(update, published)
                signed.append(sign_update(ledger.federation, site, fitting, nonces[site.address], now))
                nonces[site.address] += 1
            receipt = ledger.send(ledger.relay(*signed), ledger.stranger)
            made = [(one.site, one.update) for one in signed]
        else:
            actor, payload = getattr(ledger, step[0]), fitted(step[1], published)
            receipt = ledger.send(ledger.call(payload), actor)
            made = [(actor, payload)]

        assert ledger.events(receipt) == [(type(one).__name__, actor, ledger.values(one)) for actor, one in made]
        for actor, payload in made:
            head = next_head(head, Record(Seq(0), actor, now, payload))
        assert ledger.head() == head
