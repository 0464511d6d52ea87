"""How records cross the contract's border: calls, events and custom errors.

Names and types are the payloads' own (core/ledger/abi.py): nothing is written here for a kind of record. The tests
hold them against the artifact's ABI.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final

from eth_abi.abi import encode
from eth_abi.exceptions import EncodingError
from eth_hash.auto import keccak

from fedchain.core.errors import FormatError, LedgerRefused
from fedchain.core.ledger.records import PAYLOADS, Address, Head, Payload, SignedUpdate, address
from fedchain.ledger.artifact import artifact

_SIGNED: Final = "(address,uint64,uint64,(bytes32,uint64),uint64,uint64,bytes)[]"


def calldata(payload: Payload) -> bytes:
    """Encode the call that records a payload; raises FormatError for a value outside its Solidity type."""
    return selector(payload.encoding.signature(payload.function)) + payload.encoding.encode(payload)


def topics() -> dict[str, type[Payload]]:
    """Tell the kinds of record by their events' first topic, `0x` and 64 hexadecimal digits."""
    kinds = PAYLOADS.values()
    return {"0x" + keccak(kind.encoding.signature(kind.__name__, "address").encode()).hex(): kind for kind in kinds}


def relay_calldata(updates: Sequence[SignedUpdate]) -> bytes:
    """Encode the call `submitUpdates`; raises FormatError for a value outside its Solidity type."""
    rows = [
        (
            signed.site,
            signed.update.base,
            signed.update.samples,
            (signed.update.content.digest, signed.update.content.size),
            signed.nonce,
            signed.deadline,
            signed.signature,
        )
        for signed in updates
    ]
    try:
        return selector(f"submitUpdates({_SIGNED})") + encode([_SIGNED], [rows])
    except EncodingError as error:
        raise FormatError(f"a signed update cannot be recorded: {error}") from error


def deployment(governor: Address, predecessor: Address, predecessor_head: Head) -> bytes:
    """Encode the code that deploys the contract, with the constructor's arguments."""
    arguments = encode(["address", "address", "bytes32"], [governor, predecessor, predecessor_head])
    return bytes.fromhex(artifact().bytecode.removeprefix("0x")) + arguments


@cache
def selector(signature: str) -> bytes:
    """Return the first four bytes of a signature's keccak-256 (Solidity ABI, function selector)."""
    return keccak(signature.encode())[:4]


def decode_error(data: bytes) -> LedgerRefused:
    """Read a custom error from the data of a reverted call; one that is not the contract's is `Reverted`."""
    name, types = _errors().get(data[:4], ("", ()))
    if not name:
        return LedgerRefused("Reverted", (f"0x{data.hex()}",))
    words = [int.from_bytes(data[at : at + 32], "big") for at in range(4, len(data), 32)]
    operands = (
        address(f"{word:040x}") if kind == "address" else word for kind, word in zip(types, words, strict=False)
    )
    return LedgerRefused(name, tuple(operands))


@cache
def _errors() -> dict[bytes, tuple[str, tuple[str, ...]]]:
    found = {}
    for entry in artifact().abi:
        if entry["type"] == "error":
            types = tuple(operand["type"] for operand in entry["inputs"])
            found[selector(f"{entry['name']}({','.join(types)})")] = (entry["name"], types)
    return found
