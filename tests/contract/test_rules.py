"""The contract's rules in Python (core/ledger/contract.py) refuse what Solidity does, with its errors and operands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st

from fedchain.core.ledger.content import NOTHING, Content, Digest
from fedchain.core.ledger.contract import MAX_BYTES, Refusal, State, foundation, refusal, relay
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
    Payload,
    PolicySet,
    Role,
    Seq,
    ShareGiven,
    SignedUpdate,
    UpdateSubmitted,
    Version,
    address,
)
from fedchain.crypto.eip712 import is_signed, sign_update

KEYS = [Account.from_key(bytes([number] * 32)) for number in (1, 2)]
SITES = [address(key.address) for key in KEYS]
NAMES = ["governor", "trainer", "aggregator", "auditor", "stranger"]
ACTORS = st.sampled_from(NAMES)
MEMBERS = st.sampled_from([*NAMES, *SITES])

# Few values, close to each rule's edge: most draws meet a rule, and about half are taken.
NUMBERS = st.sampled_from([0, 0, 1, 2, 3, 2**64 - 1])
CONTENTS = st.sampled_from([NOTHING, Content(Digest(bytes(32)), 1), Content(Digest(bytes(31) + b"\1"), 0)])
BYTES = st.sampled_from([b"", bytes(121), bytes(MAX_BYTES), bytes(MAX_BYTES + 1), bytes(2 * MAX_BYTES)])
HEAD = Head(bytes(32))
UPDATES = st.builds(UpdateSubmitted, NUMBERS.map(Version), st.sampled_from([0, 1, 1, 1]), CONTENTS)


def payloads(members: dict[str, Address]) -> dict[str, st.SearchStrategy[Payload]]:
    """Draw payloads of each kind, by its name."""
    made: list[st.SearchStrategy[Payload]] = [
        st.builds(PolicySet, BYTES),
        st.builds(MemberSet, MEMBERS.map(lambda name: members.get(name, name)), st.integers(0, 17).map(Role), CONTENTS),
        UPDATES,
        st.builds(BufferClosed, NUMBERS.map(Seq), BYTES),
        st.builds(ModelPublished, NUMBERS.map(Version), NUMBERS.map(Seq), st.just(HEAD), CONTENTS, CONTENTS, BYTES),
        st.builds(EvaluationReported, NUMBERS.map(Version), CONTENTS),
        st.builds(Attested, NUMBERS.map(Seq), st.sampled_from([0, 1, 5]), CONTENTS),
        st.builds(ContentErased, NUMBERS.map(Seq), st.integers(0, 1)),
        st.builds(ShareGiven, NUMBERS.map(Seq), st.just(Digest(bytes(32))), CONTENTS),
    ]
    return {kind.__name__: one for kind, one in zip(PAYLOADS.values(), made, strict=True)}


def test_a_draw_for_each_kind() -> None:
    assert list(payloads({})) == [kind.__name__ for kind in PAYLOADS.values()]


@settings(max_examples=15, deadline=None)
@given(data=st.data(), start=st.lists(st.tuples(MEMBERS, st.integers(0, 15).map(Role)), max_size=4))
def test_python_and_solidity_refuse_alike(deploy: Any, data: st.DataObject, start: list[tuple[str, Role]]) -> None:
    ledger = deploy()
    members = {name: getattr(ledger, name) for name in NAMES}
    drawn = payloads(members)
    state = State()
    state.apply(foundation(ledger.governor))
    first = [MemberSet(members.get(name, name), roles | Role.GOVERNOR) for name, roles in start]
    for payload in [*first, MemberSet(ledger.aggregator, Role.AGGREGATOR), MemberSet(SITES[0], Role.TRAINER)]:
        ledger.append(payload, ledger.governor)
        state.apply(payload)

    for _ in range(12):
        actor = members[data.draw(ACTORS)]
        payload = data.draw(drawn[data.draw(st.sampled_from(list(drawn)))])
        expected = refusal(state, actor, payload)
        call = ledger.call(payload)
        if expected is None:
            ledger.append(payload, actor)
            state.apply(payload)
        else:
            assert ledger.refused(call, actor) == (expected.name, *expected.operands)
        assert ledger.at.functions.versions().call() == state.versions
        for member in members.values():
            assert ledger.member(member)[0] == state.roles.get(member, Role.NONE)


FLAWS = ["none", "none", "signature", "nonce", "deadline", "spent"]


@settings(max_examples=15, deadline=None)
@given(
    batches=st.lists(
        st.lists(st.tuples(st.sampled_from([0, 0, 1]), UPDATES, st.sampled_from(FLAWS)), max_size=4), max_size=4
    ),
    is_member=st.booleans(),
)
def test_python_and_solidity_take_the_same_of_a_batch(
    deploy: Any, batches: list[list[tuple[int, UpdateSubmitted, str]]], is_member: bool
) -> None:
    ledger = deploy()
    state = State()
    state.apply(foundation(ledger.governor))
    for payload in (
        MemberSet(ledger.governor, Role.GOVERNOR | Role.AGGREGATOR),
        MemberSet(SITES[0], Role.TRAINER),
        MemberSet(SITES[1], Role.TRAINER if is_member else Role.AUDITOR),
        ModelPublished(Version(0), Seq(0), HEAD, NOTHING, NOTHING),
    ):
        ledger.append(payload, ledger.governor)
        state.apply(payload)
    now = ledger.time(ledger.deployment_block) + 100

    for flawed in batches:
        now += 1
        batch: list[SignedUpdate] = []
        for site, update, flaw in flawed:
            nonce = state.nonces.get(SITES[site], 0) + sum(one.site == SITES[site] for one in batch)
            nonce += {"nonce": 1, "spent": -1}.get(flaw, 0)
            deadline = now - 1 if flaw == "deadline" else now
            signed = sign_update(ledger.federation, KEYS[site], update, max(nonce, 0), deadline)
            batch.append(replace(signed, signature=bytes(65)) if flaw == "signature" else signed)
        taken = relay(state, batch, now, lambda one: is_signed(ledger.federation, one))
        ledger.next_block_at(now)
        receipt = ledger.send(ledger.relay(*batch), ledger.stranger)
        if isinstance(taken, Refusal):
            assert receipt["status"] == 0
            assert ledger.why(ledger.relay(*batch), ledger.stranger, receipt) == (taken.name, *taken.operands)
        else:
            made = [("UpdateSubmitted", one.site, ledger.values(one.update)) for one in taken]
            assert ledger.events(receipt) == made
        assert [ledger.member(site)[1] for site in SITES] == [state.nonces.get(site, 0) for site in SITES]
