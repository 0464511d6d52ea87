"""Calls, events and errors, against the artifact's ABI and eth_abi."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_abi.abi import encode
from eth_utils.abi import collapse_if_tuple, event_abi_to_log_topic, function_abi_to_4byte_selector

from fedchain.core.errors import FormatError
from fedchain.core.ledger.content import NOTHING
from fedchain.core.ledger.records import (
    NOBODY,
    PAYLOADS,
    ContentErased,
    Head,
    Seq,
    SignedUpdate,
    UpdateSubmitted,
    Version,
    address,
)
from fedchain.ledger.artifact import artifact
from fedchain.ledger.calls import calldata, decode_error, deployment, relay_calldata, selector, topics


def entry(kind: str, name: str) -> dict[str, object]:
    (found,) = (one for one in artifact().abi if (one["type"], one.get("name")) == (kind, name))
    return found


@pytest.mark.parametrize("kind", PAYLOADS.values())
def test_functions_and_events_are_the_artifacts(kind):
    function, event = entry("function", kind.function), entry("event", kind.__name__)
    assert selector(kind.encoding.signature(kind.function)) == function_abi_to_4byte_selector(function)
    types = [one.name for one in kind.encoding.types]
    assert list(map(collapse_if_tuple, function["inputs"])) == types
    assert list(map(collapse_if_tuple, event["inputs"][1:])) == types
    assert topics()["0x" + event_abi_to_log_topic(event).hex()] is kind


def test_every_event_is_a_kind_of_record():
    assert {one["name"] for one in artifact().abi if one["type"] == "event"} == {
        kind.__name__ for kind in PAYLOADS.values()
    }


def test_what_does_not_fit_is_named():
    good = UpdateSubmitted(Version(0), 1, replace(NOTHING, size=1))
    assert calldata(good) == selector("submitUpdate(uint64,uint64,(bytes32,uint64))") + encode(
        ["uint64", "uint64", "bytes32", "uint64"], [0, 1, bytes(32), 1]
    )
    with pytest.raises(FormatError, match="18446744073709551616 is outside 0 to"):
        calldata(replace(good, samples=1 << 64))
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
            data = function_abi_to_4byte_selector(one) + encode(types, values)
            assert (decode_error(data).name, decode_error(data).operands) == (one["name"], tuple(values))


def test_an_unknown_error_is_shown_as_it_is():
    assert str(decode_error(bytes.fromhex("deadbeef01"))).endswith("Reverted(0xdeadbeef01)")


def test_deployment_is_the_artifacts_code_and_three_words():
    code = deployment(address("11" * 20), address("22" * 20), Head(bytes([3]) * 32))
    assert code[:-96] == bytes.fromhex(artifact().bytecode[2:])
    assert code[-96:].hex() == f"{'0' * 24}{'11' * 20}{'0' * 24}{'22' * 20}{'03' * 32}"
