"""How records cross the contract's border: calls, events and custom errors.

A payload is a fixed number of 32-byte words. The same words, in the same order, are the arguments of the
contract's function, the values of its event after the actor, and what the head hashes. So one table of names
and types is the codec. The tests hold it against the artifact's ABI.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from eth_abi.abi import encode
from eth_abi.exceptions import EncodingError
from eth_hash.auto import keccak

from fedchain.core.errors import FormatError, LedgerRefused
from fedchain.core.ledger.content import Content, Digest
from fedchain.core.ledger.records import (
    Address,
    Attested,
    BufferClosed,
    ContentErased,
    EvaluationReported,
    Head,
    Kind,
    MemberSet,
    ModelPublished,
    Payload,
    PolicySet,
    Role,
    Seq,
    SignedUpdate,
    UpdateSubmitted,
    Verdict,
    Version,
    address,
    payload_words,
)
from fedchain.ledger.artifact import artifact

_CONTENT: Final = "(bytes32,uint64)"
_SIGNED: Final = f"(address,uint64,uint64,{_CONTENT},uint64,uint64,bytes)[]"


@dataclass(frozen=True, slots=True)
class AbiSignature:
    """What one kind of record is called on the contract."""

    function: str
    event: str
    types: str
    """Solidity types of the payload: of the function's arguments, and of the event's after the actor."""


SIGNATURES: Final[dict[Kind, AbiSignature]] = {
    Kind.POLICY_SET: AbiSignature("setPolicy", "PolicySet", _CONTENT),
    Kind.MEMBER_SET: AbiSignature("setMember", "MemberSet", f"address,uint32,{_CONTENT}"),
    Kind.UPDATE_SUBMITTED: AbiSignature("submitUpdate", "UpdateSubmitted", f"uint64,uint64,{_CONTENT}"),
    Kind.BUFFER_CLOSED: AbiSignature("closeBuffer", "BufferClosed", ""),
    Kind.MODEL_PUBLISHED: AbiSignature("publishModel", "ModelPublished", f"uint64,uint64,{_CONTENT},{_CONTENT}"),
    Kind.EVALUATION_REPORTED: AbiSignature("reportEvaluation", "EvaluationReported", f"uint64,{_CONTENT}"),
    Kind.ATTESTED: AbiSignature("attest", "Attested", f"uint64,uint8,{_CONTENT}"),
    Kind.CONTENT_ERASED: AbiSignature("eraseContent", "ContentErased", "uint64,uint16"),
}


def checked_words(payload: Payload) -> list[int]:
    """Encode a payload as words; raises FormatError for a value outside its Solidity type."""
    types = [name for name in SIGNATURES[payload.kind].types.replace("(", "").replace(")", "").split(",") if name]
    words = payload_words(payload)
    for name, word in zip(types, words, strict=True):
        bits = {"address": 160, "bytes32": 256}.get(name) or int(name.removeprefix("uint"))
        if not 0 <= word < 1 << bits:
            raise FormatError(f"{payload} cannot be recorded: {word} is outside 0 to 2^{bits} - 1 ({name})")
    return words


def calldata(payload: Payload) -> bytes:
    """Encode the call that records a payload; raises FormatError for a value outside its Solidity type."""
    form = SIGNATURES[payload.kind]
    return selector(f"{form.function}({form.types})") + b"".join(
        word.to_bytes(32, "big") for word in checked_words(payload)
    )


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


def selector(signature: str) -> bytes:
    """Return the first four bytes of a signature's keccak-256 (Solidity ABI, function selector)."""
    return keccak(signature.encode())[:4]


def payload_of(kind: int, words: Sequence[int]) -> Payload:
    """Read a payload from its words; raises FormatError unless it encodes exactly these words."""
    try:
        payload = _read(Kind(kind), iter(words))
    except (ValueError, OverflowError, StopIteration) as error:
        raise FormatError(f"{len(words)} words are not a record of kind {kind}: {error}") from error
    if checked_words(payload) != list(words):
        raise FormatError(f"{len(words)} words are more than a record of kind {kind} has")
    return payload


def _read(kind: Kind, words: Iterator[int]) -> Payload:  # noqa: PLR0911 - one for each kind
    def content() -> Content:
        return Content(Digest(next(words).to_bytes(32, "big")), next(words))

    match kind:
        case Kind.POLICY_SET:
            return PolicySet(content())
        case Kind.MEMBER_SET:
            return MemberSet(address(f"{next(words):040x}"), Role(next(words)), content())
        case Kind.UPDATE_SUBMITTED:
            return UpdateSubmitted(Version(next(words)), next(words), content())
        case Kind.BUFFER_CLOSED:
            return BufferClosed()
        case Kind.MODEL_PUBLISHED:
            return ModelPublished(Version(next(words)), Seq(next(words)), content(), content())
        case Kind.EVALUATION_REPORTED:
            return EvaluationReported(Version(next(words)), content())
        case Kind.ATTESTED:
            return Attested(Version(next(words)), Verdict(next(words)), content())
        case Kind.CONTENT_ERASED:
            return ContentErased(Seq(next(words)), next(words))


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
