"""The digest against EIP-712 spelt out by hand; what counts as a signature is held against the contract in
tests/contract/test_relay.py.
"""

from __future__ import annotations

from dataclasses import replace

from eth_account import Account
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.ledger.content import Content, Digest
from fedchain.core.ledger.records import Federation, SignedUpdate, UpdateSubmitted, Version, address
from fedchain.crypto.eip712 import is_signed, sign_update, update_digest

KEY = Account.from_key(bytes([7] * 32))
SITE = address(KEY.address)
FEDERATION = Federation(31337, address("0x" + "fe" * 20))
UPDATE = UpdateSubmitted(Version(3), 569, Content(Digest(bytes(range(32))), 25_000_000))


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def test_the_digest_is_eip_712s() -> None:
    domain = keccak(
        keccak(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
        + keccak(b"fedchain")
        + keccak(b"2")
        + word(31337)
        + word(int("fe" * 20, 16))
    )
    struct = keccak(
        keccak(
            b"SignedUpdate(address site,uint64 base,uint64 samples,"
            b"bytes32 digest,uint64 size,uint64 nonce,uint64 deadline)"
        )
        + word(int(SITE, 16))
        + word(3)
        + word(569)
        + bytes(range(32))
        + word(25_000_000)
        + word(11)
        + word(1_800_000_000)
    )
    assert update_digest(FEDERATION, SITE, UPDATE, 11, 1_800_000_000) == keccak(b"\x19\x01" + domain + struct)


def test_the_signature_is_over_the_digest() -> None:
    signed = sign_update(FEDERATION, KEY, UPDATE, 11, 1_800_000_000)
    digest = update_digest(FEDERATION, SITE, UPDATE, 11, 1_800_000_000)
    assert signed == SignedUpdate(SITE, UPDATE, 11, 1_800_000_000, KEY.unsafe_sign_hash(digest).signature)
    assert is_signed(FEDERATION, signed)


def test_the_predecessor_is_no_part_of_it() -> None:
    signed = sign_update(FEDERATION, KEY, UPDATE, 0, 1)
    assert is_signed(replace(FEDERATION, predecessor=SITE), signed)
    assert not is_signed(replace(FEDERATION, chain_id=1), signed)


@given(st.binary(max_size=70))
def test_no_bytes_but_the_sites_are_a_signature(signature: bytes) -> None:
    assert not is_signed(FEDERATION, SignedUpdate(SITE, UPDATE, 0, 1, signature))


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), st.sampled_from([27, 28]))
def test_no_curve_point_but_the_sites_is_a_signature(r: bytes, s: bytes, v: int) -> None:
    low = bytes([s[0] & 0x3F]) + s[1:]
    assert not is_signed(FEDERATION, SignedUpdate(SITE, UPDATE, 0, 1, r + low + bytes([v])))
