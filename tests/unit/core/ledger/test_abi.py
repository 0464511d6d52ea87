"""ABI types read off annotations, against eth_abi as a second implementation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum, IntFlag
from typing import Annotated, Any, NewType

import pytest
from eth_abi import encode
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.errors import FormatError
from fedchain.core.ledger.abi import Encoding
from fedchain.core.ledger.content import Content, Digest

Name = NewType("Name", str)
Number = NewType("Number", int)


class Flags(IntFlag):
    ONE = 1
    TWO = 2


class Colour(IntEnum):
    RED = 1


@dataclass(frozen=True, slots=True)
class Everything:
    """One field of each type that there is."""

    name: Name
    first: bytes
    flags: Flags
    content: Content
    number: Number
    small: Annotated[int, "uint8"]
    second: bytes
    colour: Annotated[int, "uint16", Colour]
    digest: Digest


ENCODING = Encoding.of(Everything)
TYPES = ["address", "bytes", "uint32", "(bytes32,uint64)", "uint64", "uint8", "bytes", "uint16", "bytes32"]
digests = st.binary(min_size=32, max_size=32).map(Digest)
uint64 = st.integers(0, 2**64 - 1)
everything = st.builds(
    Everything,
    st.binary(min_size=20, max_size=20).map(lambda raw: Name("0x" + raw.hex())),
    st.binary(max_size=100),
    st.integers(0, 2**32 - 1).map(Flags),
    st.builds(Content, digests, uint64),
    uint64.map(Number),
    st.integers(0, 255),
    st.binary(max_size=100),
    st.integers(0, 2**16 - 1),
    digests,
)
ONE = Everything(
    Name("0x" + "ab" * 20), b"a", Flags.TWO, Content(Digest(bytes(32)), 1), Number(2), 3, b"", 4, Digest(bytes(32))
)


def test_a_signature_has_all_types() -> None:
    assert ENCODING.signature("Made", "address") == f"Made(address,{','.join(TYPES)})"
    assert ENCODING.signature("make") == f"make({','.join(TYPES)})"


@given(everything)
def test_an_encoding_is_an_abi_encoders(payload: Everything) -> None:
    values: list[Any] = [getattr(payload, name) for name in ENCODING.names]
    values[3] = (payload.content.digest, payload.content.size)
    assert ENCODING.encode(payload) == encode(TYPES, [int(one) if isinstance(one, int) else one for one in values])
    assert ENCODING.decode(ENCODING.encode(payload)) == payload


def test_known_members_are_read_as_such() -> None:
    for number in (1, 2):
        found = ENCODING.decode(ENCODING.encode(replace(ONE, colour=number)))
        assert (found.colour, type(found.colour)) == (number, Colour if number == 1 else int)


def test_leading_fields_may_be_topics() -> None:
    data = encode(TYPES[1:], [b"a", 2, (bytes(32), 1), 2, 3, b"", 4, bytes(32)])
    assert ENCODING.decode(data, [int("ab" * 20, 16)]) == ONE
    with pytest.raises(FormatError):
        ENCODING.decode(data, [1 << 160])


@given(everything, st.data())
def test_a_payload_has_one_encoding(payload: Everything, data: st.DataObject) -> None:
    encoded = bytearray(ENCODING.encode(payload))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    try:
        found = ENCODING.decode(bytes(encoded))
    except FormatError:
        return
    assert found != payload
    assert ENCODING.encode(found) == encoded


@pytest.mark.parametrize(
    "harm", [lambda raw: raw[:-1], lambda raw: raw + bytes(32), lambda raw: b"", lambda raw: raw[:64]]
)
def test_too_little_or_too_much_is_a_format_error(harm: Any) -> None:
    with pytest.raises(FormatError, match="are not a Everything"):
        ENCODING.decode(harm(ENCODING.encode(ONE)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"number": Number(1 << 64)}, "18446744073709551616 is outside 0 to 2^64 - 1 (uint64)"),
        ({"number": Number(-1)}, "-1 is outside"),
        ({"small": 256}, "uint8"),
        ({"flags": Flags(1 << 32)}, "uint32"),
        ({"name": Name("0x" + "1" * 41)}, "address"),
        ({"digest": Digest(b"1" * 33)}, "bytes32"),
    ],
)
def test_what_does_not_fit_is_named(change: Any, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        ENCODING.encode(replace(ONE, **change))
    assert "Everything" in str(caught.value)
    assert message in str(caught.value)


def test_an_annotation_without_an_abi_type_is_named() -> None:
    @dataclass
    class Wrong:
        ratio: float

    with pytest.raises(TypeError, match="float"):
        Encoding.of(Wrong)
