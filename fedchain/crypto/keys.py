"""Keys: Ethereum keystore files (Web3 Secret Storage, version 3), and short signed messages (EIP-191)."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Final

from eth_account import Account
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount
from eth_keys.exceptions import BadSignature

from fedchain.core.errors import ConfigError, FormatError
from fedchain.core.ledger.records import Address, address

STRONG: Final = 1 << 18
"""scrypt's cost N for keys that matter: about a second and 256 MiB to open."""

DEVNET: Final = 1 << 12
"""scrypt's cost N for keys of a local test network, which guard nothing."""

_SIGNATURE_BYTES: Final = 65


def create_key(path: Path, password: str, cost: int = STRONG) -> Address:
    """Make a new key, write its keystore file for its owner only, and return its address.

    Raises ConfigError when the file exists, as a key is never overwritten, or cannot be written.
    """
    account: LocalAccount = Account.from_key(secrets.token_bytes(32))
    keystore = json.dumps(Account.encrypt(account.key, password, kdf="scrypt", iterations=cost), indent=1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        if path.exists():
            raise ConfigError(
                f"{path} already exists; refusing to overwrite a key: choose another file, or move it away"
            ) from None
        raise ConfigError(f"{error.filename}: {error.strerror}") from error
    with os.fdopen(descriptor, "w") as file:
        file.write(keystore + "\n")
        file.flush()
        os.fsync(file.fileno())
    _sync(path.parent)
    return address(account.address)


def load_key(path: Path, password: str) -> LocalAccount:
    """Open a keystore file; raises ConfigError when there is none, it is damaged, or the password is wrong.

    The file's MAC covers the ciphertext alone: with another `iv` the file opens as another key. So the key is
    compared with the file's address, where it has one.
    """
    try:
        keystore = json.loads(path.read_text())
        account: LocalAccount = Account.from_key(Account.decrypt(keystore, password))
        stated = address(keystore.get("address", account.address))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; make a key with `fedchain keys new --out {path}`") from error
    except (ValueError, KeyError, TypeError, AttributeError, FormatError) as error:
        raise ConfigError(f"{path}: the key does not open ({error}); look at the file and at its password") from error
    if address(account.address) != stated:
        raise ConfigError(f"{path} is damaged: it says that it is the key of {stated}, but opens as another one")
    return account


def key_address(path: Path) -> Address:
    """Read the address from a keystore file without opening it; raises ConfigError."""
    try:
        return address(json.loads(path.read_text())["address"])
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, FormatError) as error:
        raise ConfigError(f"{path}: no keystore file (Web3 Secret Storage, version 3): {error}") from error


def sign_text(account: LocalAccount, text: str) -> str:
    """Sign a message for people and programs, not for the chain (EIP-191, version 0x45); hexadecimal."""
    signature: str = account.sign_message(encode_defunct(text=text)).signature.hex()
    return signature


def text_signer(text: str, signature: str) -> Address | None:
    """Return who signed a message, or None for a signature that nobody made."""
    try:
        raw = bytes.fromhex(signature)
        if len(raw) != _SIGNATURE_BYTES:
            return None
        return address(Account.recover_message(encode_defunct(text=text), signature=raw))
    except (ValueError, BadSignature):
        return None


def _sync(folder: Path) -> None:
    """Make a new file's name durable: the key that a power cut takes may be the federation's only governor."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
