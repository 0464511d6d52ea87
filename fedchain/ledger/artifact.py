"""The compiled contract as it ships with the package: no user needs a compiler.

scripts/contracts writes the file from the Solidity sources; CI recompiles and compares.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True)
class Artifact:
    """FederationLedger, compiled."""

    compiler: str
    """The compiler's version with its commit."""

    settings: dict[str, Any]
    """The compiler's settings: with version and sources they fix every byte of the code."""

    abi: list[dict[str, Any]]
    """Functions, events and errors as web3 takes them."""

    bytecode: str
    """Code that deploys the contract, before the constructor's arguments: `0x` and hexadecimal digits."""

    runtime: str
    """Code at the contract's address, with zeros where the constructor puts its immutable values."""

    bytecode_sha256: str
    """sha2-256 of `bytecode`'s bytes, in hexadecimal."""


@cache
def artifact() -> Artifact:
    """Load the artifact that was committed with this version of the package."""
    return Artifact(**json.loads(files("fedchain.ledger").joinpath("FederationLedger.json").read_text()))
