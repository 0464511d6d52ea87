from __future__ import annotations

import base64
from contextlib import suppress
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.errors import FormatError
from fedchain.core.ledger.content import (
    CHUNK_SIZE,
    DAG_PB,
    NOTHING,
    RAW,
    Content,
    Digest,
    cid_bytes,
    cid_text,
    content_of,
    parse_cid,
)

EMPTY = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
HELLO = "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq"  # "hello" as ipfs add --cid-version 1 names it

digests = st.binary(min_size=32, max_size=32).map(Digest)


def test_known_names() -> None:
    assert Content(Digest(sha256(b"").digest()), 0).cid == EMPTY
    assert Content(Digest(sha256(b"hello").digest()), 5).cid == HELLO
    assert cid_bytes(RAW, sha256(b"hello").digest()).hex() == "01551220" + sha256(b"hello").hexdigest()


@pytest.mark.parametrize(
    ("size", "codec"), [(0, RAW), (1, RAW), (CHUNK_SIZE - 1, RAW), (CHUNK_SIZE, RAW), (CHUNK_SIZE + 1, DAG_PB)]
)
def test_the_codec_follows_from_the_size(size: int, codec: int) -> None:
    content = Content(Digest(bytes(32)), size)
    assert content.codec == codec
    assert content.cid.startswith("bafkrei" if codec == RAW else "bafybei")
    assert str(content) == f"{content.cid} ({size} bytes)"


@given(digests, st.integers(0, 2**64 - 1))
def test_digest_and_size_are_the_cid_and_back(digest: Digest, size: int) -> None:
    content = Content(digest, size)
    assert content_of(content.cid, size) == content
    assert parse_cid(content.cid) == (content.codec, digest)


@given(digests, st.sampled_from([RAW, DAG_PB]))
def test_one_cid_has_one_spelling(digest: Digest, codec: int) -> None:
    cid = cid_text(codec, digest)
    assert len(cid) == 59
    # 58 base32 digits are two bits longer than 36 bytes: of 32 last digits, eight spell a CID, each another one
    accepted = {}
    for last in "abcdefghijklmnopqrstuvwxyz234567":
        with suppress(FormatError):
            accepted[last] = parse_cid(cid[:-1] + last)[1]
    assert len(set(accepted.values())) == len(accepted) == 8
    assert accepted[cid[-1]] == digest


def other_cid(binary: bytes) -> str:
    return "b" + base64.b32encode(binary).decode().rstrip("=").lower()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        "hello",
        EMPTY.upper(),
        EMPTY[:-1],
        EMPTY + "a",
        EMPTY + "=",
        " " + EMPTY,
        EMPTY + "\n",
        "c" + EMPTY[1:],
        "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn",
        "zb2rhZfjRh2FHHB2RkHVEvL2vJnCTcu7kwRqgVsf9gpkLgteo",
        "böfkrei" + EMPTY[7:],
        other_cid(bytes((1, 0x71, 0x12, 0x20)) + bytes(32)),  # dag-cbor
        other_cid(bytes((1, 0x55, 0x16, 0x20)) + bytes(32)),  # sha3-256
        other_cid(bytes((1, 0x55, 0x12, 0x1F)) + bytes(31)),
        other_cid(bytes((2, 0x55, 0x12, 0x20)) + bytes(32)),
        other_cid(bytes((1, 0x55, 0x12, 0x20)) + bytes(33)),
    ],
)
def test_what_is_no_cid_is_shown(text: str) -> None:
    with pytest.raises(FormatError, match="is not a CID") as raised:
        parse_cid(text)
    assert repr(text[:80]) in str(raised.value)


@pytest.mark.parametrize(("codec", "size"), [(RAW, CHUNK_SIZE + 1), (DAG_PB, CHUNK_SIZE), (DAG_PB, 0), (RAW, -1)])
def test_a_cid_and_a_size_that_contradict_each_other(codec: int, size: int) -> None:
    cid = cid_text(codec, bytes(32))
    with pytest.raises(FormatError, match=f"{cid} cannot name {size} bytes"):
        content_of(cid, size)


def test_nothing_is_zeros() -> None:
    assert Content(Digest(bytes(32)), 0) == NOTHING
