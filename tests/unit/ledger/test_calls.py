from __future__ import annotations

from dataclasses import fields, replace

import pytest
from eth_abi.abi import encode
from eth_utils.abi import collapse_if_tuple, event_abi_to_log_topic, function_abi_to_4byte_selector
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.errors import FormatError
from fedchain.core.ledger.content import NOTHING, Content, Digest
from fedchain.core.ledger.records import (
    NOBODY,
    PAYLOADS,
    Attested,
    BufferClosed,
    ContentErased,
    EvaluationReported,
    Head,
    Kind,
    MemberSet,
    ModelPublished,
    Payload,
    PolicySet,
    Role,
    Seq,
    SignedUpdate,
    UpdateSubmitted,
    Verdict,
    Version,
    address,
    payload_words,
)
from fedchain.ledger import logs
from fedchain.ledger.artifact import artifact
from fedchain.ledger.calls import (
    SIGNATURES,
    calldata,
    checked_words,
    decode_error,
    deployment,
    payload_of,
    relay_calldata,
    selector,
)

uint64 = st.integers(0, 2**64 - 1)
addresses = st.binary(min_size=20, max_size=20).map(lambda raw: address(raw.hex()))
contents = st.builds(Content, st.binary(min_size=32, max_size=32).map(Digest), uint64)
payloads: st.SearchStrategy[Payload] = st.one_of(
    st.builds(PolicySet, contents),
    st.builds(MemberSet, addresses, st.integers(0, 2**32 - 1).map(Role), contents),
    st.builds(UpdateSubmitted, uint64.map(Version), uint64, contents),
    st.builds(BufferClosed),
    st.builds(ModelPublished, uint64.map(Version), uint64.map(Seq), contents, contents),
    st.builds(EvaluationReported, uint64.map(Version), contents),
    st.builds(Attested, uint64.map(Version), st.sampled_from(Verdict), contents),
    st.builds(ContentErased, uint64.map(Seq), st.integers(0, 2**16 - 1)),
)


def entry(kind: str, name: str) -> dict[str, object]:
    (found,) = (one for one in artifact().abi if (one["type"], one.get("name")) == (kind, name))
    return found


@pytest.mark.parametrize("kind", Kind)
def test_functions_and_events_are_the_artifacts(kind):
    form = SIGNATURES[kind]
    function, event = entry("function", form.function), entry("event", form.event)
    assert calldata_selector(kind) == function_abi_to_4byte_selector(function)
    assert ",".join(map(collapse_if_tuple, function["inputs"])) == form.types
    assert ",".join(map(collapse_if_tuple, event["inputs"][1:])) == form.types
    assert logs._TOPICS["0x" + event_abi_to_log_topic(event).hex()] is kind


def calldata_selector(kind: Kind) -> bytes:
    form = SIGNATURES[kind]
    return selector(f"{form.function}({form.types})")


@given(payloads)
def test_a_call_is_what_an_abi_encoder_makes_of_it(payload):
    types = [collapse_if_tuple(one) for one in entry("function", SIGNATURES[payload.kind].function)["inputs"]]
    values = [getattr(payload, field.name) for field in fields(payload)]
    values = [(value.digest, value.size) if isinstance(value, Content) else value for value in values]
    values = [int(value) if isinstance(value, int) else value for value in values]
    assert calldata(payload)[4:] == encode(types, values)


@given(payloads)
def test_words_come_back_as_the_payload_they_spell(payload):
    assert payload_of(payload.kind, payload_words(payload)) == payload


@given(st.integers(0, 9), st.lists(st.integers(0, 2**256 - 1), max_size=7))
def test_words_are_a_payload_or_a_format_error(kind, words):
    try:
        payload = payload_of(kind, words)
    except FormatError:
        return
    assert (payload.kind, payload_words(payload)) == (kind, words)
    assert type(payload) is PAYLOADS[payload.kind]


def test_what_does_not_fit_is_named():
    good = UpdateSubmitted(Version(0), 1, replace(NOTHING, size=1))
    assert checked_words(good) == [0, 1, 0, 1]
    with pytest.raises(FormatError, match="18446744073709551616 is outside 0 to"):
        checked_words(replace(good, samples=1 << 64))
    with pytest.raises(FormatError, match="UpdateSubmitted"):
        calldata(replace(good, base=Version(-1)))
    with pytest.raises(FormatError, match="uint16"):
        calldata(ContentErased(Seq(0), 1 << 16))
    with pytest.raises(FormatError, match="signed update"):
        relay_calldata([SignedUpdate(NOBODY, good, 1 << 64, 0, b"")])


def test_every_custom_error_of_the_contract_is_read_with_its_operands():
    for one in artifact().abi:
        if one["type"] == "error":
            types = [operand["type"] for operand in one["inputs"]]
            values = [address("ab" * 20) if kind == "address" else n + 1 for n, kind in enumerate(types)]
            if "string" in types:
                continue  # OpenZeppelin's, from a constructor that is given constants
            data = function_abi_to_4byte_selector(one) + encode(types, values)
            assert (decode_error(data).name, decode_error(data).operands) == (one["name"], tuple(values))


def test_an_unknown_error_is_shown_as_it_is():
    assert str(decode_error(bytes.fromhex("deadbeef01"))).endswith("Reverted(0xdeadbeef01)")


def test_deployment_is_the_artifacts_code_and_three_words():
    code = deployment(address("11" * 20), address("22" * 20), Head(bytes([3]) * 32))
    assert code[:-96] == bytes.fromhex(artifact().bytecode[2:])
    assert code[-96:].hex() == f"{'0' * 24}{'11' * 20}{'0' * 24}{'22' * 20}{'03' * 32}"
