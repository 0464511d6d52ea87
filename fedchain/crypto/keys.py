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

from fedchain.core.errors import ConfigError
from fedchain.core.records import Address, address

STRONG: Final = 1 << 18
"""scrypt's cost N for keys that matter: about a second and 256 MiB to open."""

DEVNET: Final = 1 << 12
"""scrypt's cost N for keys of a local test network, which guard nothing."""


def create_key(path: Path, password: str, cost: int = STRONG) -> Address:
    """Make a new key, write its keystore file for its owner only, and return its address.

    Raises ConfigError when the file exists: a key is never written over.
    """
    account: LocalAccount = Account.from_key(secrets.token_bytes(32))
    keystore = json.dumps(Account.encrypt(account.key, password, kdf="scrypt", iterations=cost), indent=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(f"{path} exists: keys are not written over; choose another file, or move it away") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(keystore + "\n")
        file.flush()
        os.fsync(file.fileno())
    return address(account.address)


def load_key(path: Path, password: str) -> LocalAccount:
    """Open a keystore file; raises ConfigError when there is none, it is damaged, or the password is wrong."""
    try:
        account: LocalAccount = Account.from_key(Account.decrypt(path.read_text(), password))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; make a key with `fedchain keys new --out {path}`") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}: the key does not open ({error}); look at the file and at its password") from error
    return account


def key_address(path: Path) -> Address:
    """Read the address from a keystore file without opening it; raises ConfigError."""
    try:
        return address(json.loads(path.read_text())["address"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: no keystore file (Web3 Secret Storage, version 3): {error}") from error


def sign_text(account: LocalAccount, text: str) -> str:
    """Sign a message for people and programs, not for the chain (EIP-191, version 0x45); hexadecimal."""
    signature: str = account.sign_message(encode_defunct(text=text)).signature.hex()
    return signature


def text_signer(text: str, signature: str) -> Address | None:
    """Return who signed a message, or None for a signature that nobody made."""
    try:
        return address(Account.recover_message(encode_defunct(text=text), signature=bytes.fromhex(signature)))
    except (ValueError, BadSignature):
        return None
