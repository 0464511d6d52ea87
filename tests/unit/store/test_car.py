from __future__ import annotations

import io
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.errors import Corrupt, FormatError
from fedchain.core.ledger.content import DAG_PB, RAW, Digest
from fedchain.store import car, varint
from fedchain.store.car import Section


def section(data: bytes, codec: int = RAW) -> Section:
    return Section(codec, Digest(sha256(data).digest()), data)


def write(root: Section, *rest: Section) -> bytes:
    out = car.header(root.codec, root.digest)
    for each in (root, *rest):
        out += car.prefix(each.codec, each.digest, len(each.data)) + each.data
    return out


def read(data: bytes, most: int = car.MOST_BLOCK) -> tuple[int, Digest, list[Section]]:
    codec, digest, sections = car.read(io.BytesIO(data).read, most)
    return codec, digest, list(sections)


SECTIONS = st.builds(section, st.binary(max_size=300), st.sampled_from([RAW, DAG_PB]))


@given(st.lists(SECTIONS, min_size=1, max_size=6))
def test_what_is_written_is_read(sections: list[Section]) -> None:
    assert read(write(*sections)) == (sections[0].codec, sections[0].digest, sections)


def test_a_file_is_written_as_the_specification_says() -> None:
    one = section(b"hello")
    cid = bytes.fromhex("01551220") + sha256(b"hello").digest()
    head = bytes.fromhex("3aa265") + b"roots" + bytes.fromhex("81d82a582500") + cid + b"\x67version\x01"
    assert write(one) == head + b"\x29" + cid + b"hello"


@given(st.lists(SECTIONS, min_size=1, max_size=3), st.data())
def test_a_file_that_is_cut_off_is_refused_or_ends_between_blocks(sections: list[Section], data: st.DataObject) -> None:
    whole = write(*sections)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    try:
        found = read(cut)[2]
    except FormatError:
        return
    assert found == sections[: len(found)]
    assert cut in (write(*sections[:count]) for count in range(1, len(sections))) or not found


@given(st.data())
def test_a_changed_byte_is_never_taken(data: st.DataObject) -> None:
    sections = [section(b"one"), section(b"two", DAG_PB)]
    whole = bytearray(write(*sections))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    try:
        codec, digest, found = read(bytes(whole))
    except (FormatError, Corrupt):
        return
    # A changed codec or root names other content, and a reader who asked for a CID compares it.
    assert (codec, digest) != (RAW, sections[0].digest) or [s.data for s in found] == [b"one", b"two"]


def test_a_wrong_block_is_named() -> None:
    whole = write(section(b"one")).replace(b"one", b"two")
    with pytest.raises(Corrupt, match=f"has sha2-256 {sha256(b'two').hexdigest()}"):
        read(whole)


def test_a_block_above_the_limit_is_refused_before_it_is_read() -> None:
    head = car.header(RAW, Digest(bytes(32)))
    with pytest.raises(FormatError, match="a CAR section of 137 bytes: from 36 to 136 fit"):
        read(head + varint.encode(137), most=100)


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x3a", b"\x0a\xa1gversion\x02", b"\x3a" + bytes(58)])
def test_any_other_header_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError, match="not a CAR v1 with one root"):
        read(data)


@given(st.integers(0, 2**63 - 1))
def test_varints_are_read_as_written(value: int) -> None:
    assert varint.read(io.BytesIO(varint.encode(value)).read) == value


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"\x80", "cut off"), (b"\x80\x00", "shortest form"), (b"\xff" * 10, "longer than 9 bytes")],
)
def test_other_varints_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        varint.read(io.BytesIO(data).read)


def test_known_varints() -> None:
    assert [varint.encode(n).hex() for n in (0, 1, 127, 128, 300, 1 << 20)] == [
        "00", "01", "7f", "8001", "ac02", "808040",
    ]  # fmt: skip
