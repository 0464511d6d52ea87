"""Records and head, against eth_abi as a second spelling of abi.encode."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import pytest
from eth_abi import encode
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.errors import FormatError
from fedchain.core.ledger.content import NOTHING, Content, Digest
from fedchain.core.ledger.records import (
    ANY_ROLE,
    PAYLOADS,
    Address,
    Attested,
    BufferClosed,
    ContentErased,
    EvaluationReported,
    Federation,
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
    decode_payload,
    first_head,
    next_head,
    recorded,
)

uint64 = st.integers(0, 2**64 - 1)
addresses = st.binary(min_size=20, max_size=20).map(lambda raw: Address("0x" + raw.hex()))
heads = st.binary(min_size=32, max_size=32).map(Head)
contents = st.builds(Content, st.binary(min_size=32, max_size=32).map(Digest), uint64)
digests = st.binary(min_size=32, max_size=32).map(Digest)
blobs = st.binary(max_size=200)
payloads: st.SearchStrategy[Payload] = st.one_of(
    st.builds(PolicySet, blobs),
    st.builds(MemberSet, addresses, st.integers(0, 15).map(Role), contents),
    st.builds(UpdateSubmitted, uint64.map(Version), uint64, contents),
    st.builds(BufferClosed, uint64.map(Seq), blobs),
    st.builds(ModelPublished, uint64.map(Version), uint64.map(Seq), heads, contents, contents, blobs),
    st.builds(EvaluationReported, uint64.map(Version), contents),
    st.builds(Attested, uint64.map(Seq), st.integers(0, 2**16 - 1), contents),
    st.builds(ContentErased, uint64.map(Seq), st.integers(0, 2**16 - 1)),
    st.builds(ShareGiven, uint64.map(Seq), digests, contents),
)


def words(content: Content) -> list[tuple[str, Any]]:
    return [("bytes32", content.digest), ("uint64", content.size)]


def abi_of(payload: Payload) -> list[tuple[str, Any]]:
    """The Solidity types and values of a payload, written out once more (IFederationLedger.sol's events)."""
    match payload:
        case PolicySet(document):
            return [("bytes32", keccak(document))]
        case MemberSet(member, roles, profile):
            return [("address", member), ("uint32", int(roles)), *words(profile)]
        case UpdateSubmitted(base, samples, content):
            return [("uint64", base), ("uint64", samples), *words(content)]
        case BufferClosed(start, certificate):
            return [("uint64", start), ("bytes32", keccak(certificate))]
        case ModelPublished(version, through, head, model, manifest, certificate):
            numbers = [("uint64", version), ("uint64", through), ("bytes32", head)]
            return [*numbers, *words(model), *words(manifest), ("bytes32", keccak(certificate))]
        case EvaluationReported(version, report):
            return [("uint64", version), *words(report)]
        case Attested(seq, meaning, evidence):
            return [("uint64", seq), ("uint16", int(meaning)), *words(evidence)]
        case ContentErased(seq, reason):
            return [("uint64", seq), ("uint16", reason)]
        case ShareGiven(closing, digest, content):
            return [("uint64", closing), ("bytes32", digest), *words(content)]
        case _:
            raise NotImplementedError(payload)


def abi_hash(pairs: list[tuple[str, Any]]) -> bytes:
    return keccak(encode([kind for kind, _ in pairs], [value for _, value in pairs]))


@given(heads, addresses, uint64, payloads)
def test_the_head_is_the_hash_of_solidity_words(head: Head, actor: Address, time: int, payload: Payload) -> None:
    record = Record(Seq(0), actor, time, payload)
    expected = [("bytes32", head), ("uint8", int(payload.kind)), ("address", actor), ("uint256", time)]
    assert next_head(head, record) == abi_hash(expected + abi_of(payload))


@given(uint64, addresses, addresses, heads)
def test_the_first_head_binds_chain_contract_and_predecessor(
    chain_id: int, contract: Address, predecessor: Address, head: Head
) -> None:
    expected = [("uint256", chain_id), ("address", contract), ("address", predecessor), ("bytes32", head)]
    assert first_head(Federation(chain_id, contract, predecessor, head)) == abi_hash(expected)


@given(heads, addresses, uint64, payloads, st.data())
def test_every_part_of_a_record_is_in_the_head(
    head: Head, actor: Address, time: int, payload: Payload, data: st.DataObject
) -> None:
    before = next_head(head, Record(Seq(0), actor, time, payload))
    other = data.draw(payloads.filter(lambda one: one != payload))
    assert next_head(head, Record(Seq(0), actor, time, other)) != before
    assert next_head(head, Record(Seq(0), actor, time + 1, payload)) != before
    assert next_head(Head(bytes(32)) if any(head) else Head(b"\1" * 32), Record(Seq(0), actor, time, payload)) != before


def test_words_by_hand() -> None:
    content = Content(Digest(bytes(31) + b"\7"), 5)
    nothing = int.from_bytes(keccak(b""), "big")

    def words_of(payload: Payload) -> list[int]:
        return payload.encoding.words(payload)

    assert words_of(UpdateSubmitted(Version(3), 9, content)) == [3, 9, 7, 5]
    assert words_of(MemberSet(Address("0x" + "00" * 19 + "ff"), Role.TRAINER | Role.AUDITOR)) == [255, 10, 0, 0]
    assert words_of(BufferClosed()) == [0, nothing]
    assert words_of(PolicySet(b"")) == [nothing]
    assert words_of(Attested(Seq(1), Verdict.APPROVED)) == [1, 3, 0, 0]


@given(payloads)
def test_an_encoding_comes_back_as_its_payload(payload: Payload) -> None:
    assert decode_payload(payload.kind, payload.encoding.encode(payload)) == payload


@given(st.integers(0, 10), st.binary(max_size=400))
def test_bytes_are_a_payload_or_a_format_error(kind: int, data: bytes) -> None:
    try:
        payload = decode_payload(kind, data)
    except FormatError:
        return
    assert (payload.kind, payload.encoding.encode(payload)) == (kind, data)


def test_known_meanings_have_names_and_others_are_numbers() -> None:
    for number in range(1, 9):
        attested = Attested(Seq(1), number)
        found = decode_payload(attested.kind, attested.encoding.encode(attested))
        assert isinstance(found, Attested)
        assert type(found.meaning) is (Verdict if number <= 4 else int)
        assert found.meaning == number


def test_kinds_and_payloads_are_one_to_one() -> None:
    assert list(PAYLOADS) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    for kind, payload in PAYLOADS.items():
        assert payload.kind == kind
        assert "kind" not in [field.name for field in fields(payload)]  # the head counts it apart from the words
    assert Record(Seq(0), Address("0x"), 0, BufferClosed()).kind == 4


def test_a_kinds_number_is_its_own() -> None:
    @dataclass(frozen=True, slots=True)
    class Usurper(Payload):
        seq: Seq

    with pytest.raises(ValueError, match="Usurper cannot be kind 4: BufferClosed is"):
        recorded(4, "usurp", by=ANY_ROLE)(Usurper)
    assert PAYLOADS[4] is BufferClosed


def test_addresses_have_one_spelling() -> None:
    mixed = "0xFB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"
    assert address(mixed) == address(mixed.lower()) == address(mixed[2:]) == mixed.lower()


@pytest.mark.parametrize("text", ["", "0x", "0x00", "0x" + "00" * 21, "0x" + "0g" * 20, "hospital", "0x" + "é" * 40])
def test_what_is_no_address_is_shown(text: str) -> None:
    with pytest.raises(FormatError, match="is not an address: expected 0x and 40 hexadecimal digits"):
        address(text)


def test_content_is_nothing_unless_given() -> None:
    assert MemberSet(Address("0x"), Role.NONE).profile == Attested(Seq(0), Verdict.APPROVED).evidence == NOTHING
