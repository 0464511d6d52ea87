from __future__ import annotations

import json
import stat
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st

from fedchain.core.errors import ConfigError
from fedchain.crypto.keys import DEVNET, create_key, key_address, load_key, sign_text, text_signer

PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "new" / "key.json"
    create_key(path, PASSWORD, DEVNET)
    return path


def test_a_key_file_is_for_its_owner_only(made: Path) -> None:
    assert stat.S_IMODE(made.stat().st_mode) == 0o600


def test_address_with_and_without_the_password(made: Path) -> None:
    opened = load_key(made, PASSWORD)
    assert key_address(made) == opened.address.lower()


def test_two_keys_differ(made: Path, tmp_path: Path) -> None:
    assert create_key(tmp_path / "key.json", PASSWORD, DEVNET) != key_address(made)


def test_a_key_is_never_written_over(made: Path) -> None:
    before = made.read_bytes()
    with pytest.raises(ConfigError, match=r"key\.json already exists; refusing to overwrite a key"):
        create_key(made, PASSWORD, DEVNET)
    assert made.read_bytes() == before


def test_others_open_the_file(made: Path) -> None:
    assert Account.decrypt(json.loads(made.read_text()), PASSWORD) == load_key(made, PASSWORD).key


def test_files_of_others_open(tmp_path: Path) -> None:
    account = Account.create()
    for kdf in ("scrypt", "pbkdf2"):
        path = tmp_path / f"{kdf}.json"
        path.write_text(json.dumps(Account.encrypt(account.key, PASSWORD, kdf=kdf, iterations=1 << 10)))
        assert load_key(path, PASSWORD).key == account.key


def test_the_files_of_the_specification_open(tmp_path: Path) -> None:
    """The scrypt test vector of the Web3 Secret Storage Definition."""
    path = tmp_path / "vector.json"
    kdf = {
        "dklen": 32,
        "n": 262144,
        "p": 8,
        "r": 1,
        "salt": "ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19",
    }
    crypto = {
        "cipher": "aes-128-ctr",
        "cipherparams": {"iv": "83dbcc02d8ccb40e466191a123791e0e"},
        "ciphertext": "d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c",
        "kdf": "scrypt",
        "kdfparams": kdf,
        "mac": "2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097",
    }
    path.write_text(json.dumps({"crypto": crypto, "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6", "version": 3}))
    opened = load_key(path, "testpassword")
    assert opened.key.hex() == "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d"


def test_a_wrong_password(made: Path) -> None:
    with pytest.raises(ConfigError, match=r"key\.json: the key does not open .*password"):
        load_key(made, PASSWORD + " ")


def test_no_file(tmp_path: Path) -> None:
    missing = tmp_path / "key.json"
    with pytest.raises(ConfigError, match=f"No such file.*fedchain keys new --out {missing}"):
        load_key(missing, PASSWORD)
    with pytest.raises(ConfigError, match=r"key\.json: No such file"):
        key_address(missing)


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xfe", b"[]", b"5", b"null", b'"key"', b"{", b"{}", b'{"address": 5}', b'{"address": "0x12"}'],
)
def test_a_file_that_is_no_keystore(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "key.json"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"key\.json: the key does not open"):
        load_key(path, PASSWORD)
    with pytest.raises(ConfigError, match=r"key\.json: no keystore file"):
        key_address(path)


def places(document: dict[str, Any], before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, value in document.items():
        found += [(*before, name), *(places(value, (*before, name)) if isinstance(value, dict) else ())]
    return found


@pytest.mark.parametrize("value", [None, -1, 0.5, "", "zz", "0x12", "é", [], {}])
def test_a_damaged_file(made: Path, tmp_path: Path, value: object) -> None:
    path = tmp_path / "key.json"
    for place in places(json.loads(made.read_text())):
        document = part = json.loads(made.read_text())
        for name in place[:-1]:
            part = part[name]
        part[place[-1]] = value
        path.write_text(json.dumps(document))
        if place[0] == "crypto" and place[-1] != "cipher":  # eth_account knows one cipher and reads no name
            with pytest.raises(ConfigError, match=r"key\.json"):
                load_key(path, PASSWORD)
        elif place == ("address",):
            for read in (key_address, partial(load_key, password=PASSWORD)):
                with pytest.raises(ConfigError, match=r"key\.json: .*(no keystore file|does not open)"):
                    read(path)


def test_a_changed_start_of_the_cipher_is_no_other_key(made: Path, tmp_path: Path) -> None:
    document = json.loads(made.read_text())
    document["crypto"]["cipherparams"]["iv"] = "00" * 16
    path = tmp_path / "key.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ConfigError, match=f"damaged: it says that it is the key of {key_address(made)}"):
        load_key(path, PASSWORD)


TEXT = "fedchain gateway of somebody"
SIGNER = Account.from_key(b"\x01" * 32)
SIGNATURE = sign_text(SIGNER, TEXT)


def test_a_text_is_signed() -> None:
    assert text_signer(TEXT, SIGNATURE) == SIGNER.address.lower()
    assert text_signer(TEXT + ".", SIGNATURE) != SIGNER.address.lower()


@given(st.binary(max_size=70) | st.binary(min_size=65, max_size=65))
@settings(deadline=None)
def test_a_signature_that_nobody_made_is_nobodys(signature: bytes) -> None:
    assert text_signer(TEXT, signature.hex()) != SIGNER.address.lower()


@given(st.integers(0, 64), st.integers(1, 255))
@settings(deadline=None)
def test_one_byte_changed_is_another_signature(position: int, change: int) -> None:
    raw = bytearray.fromhex(SIGNATURE)
    raw[position] ^= change
    found = text_signer(TEXT, raw.hex())
    if position < 64:
        assert found != SIGNER.address.lower()


@pytest.mark.parametrize("signature", ["", "zz", "é", "0x", SIGNATURE[:-2], SIGNATURE + "00", "00" * 65, "ff" * 65])
def test_what_is_no_signature_is_nobodys(signature: str) -> None:
    assert text_signer(TEXT, signature) is None


def test_a_key_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(ConfigError, match="taken: File exists"):
        create_key(tmp_path / "taken" / "key.json", PASSWORD, DEVNET)
