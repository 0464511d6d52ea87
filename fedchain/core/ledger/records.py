"""The ledger's records, and the running hash over them.

    head_0 = keccak256(abi.encode(chain id, contract, predecessor, predecessor's last head))
    head_n = keccak256(abi.encode(head_{n-1}, kind, actor, block time, payload words…))

Every payload is a fixed number of 32-byte words, so abi.encode is concatenation. The same rule stands in
contracts/FederationLedger.sol, action by action; the tests hold the two against each other.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum, IntFlag
from typing import ClassVar, Final, NewType

from eth_hash.auto import keccak

from fedchain.core.errors import FormatError
from fedchain.core.ledger.content import NOTHING, Content

Address = NewType("Address", str)
"""An Ethereum address: `0x` and 40 lower-case hexadecimal digits."""

Head = NewType("Head", bytes)
"""The running keccak-256 hash over all records so far, 32 bytes."""

Seq = NewType("Seq", int)
"""A record's position in the ledger, from 0."""

Version = NewType("Version", int)
"""A number of a global model; 0 is genesis."""

NOBODY: Final = Address("0x" + "0" * 40)


def address(text: str) -> Address:
    """Normalise an address in any letter case; raises FormatError on anything else."""
    try:
        raw = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raw = b""
    if len(raw) != 20:
        raise FormatError(f"{text!r} is not an address: expected 0x and 40 hexadecimal digits")
    return Address("0x" + raw.hex())


class Role(IntFlag):
    """What a member may do; a bit set in one word (IFederationLedger.sol, `Roles`)."""

    NONE = 0
    GOVERNOR = 1
    TRAINER = 2
    AGGREGATOR = 4
    AUDITOR = 8


class Kind(IntEnum):
    """The eight kinds of record, as the head counts them."""

    POLICY_SET = 1
    MEMBER_SET = 2
    UPDATE_SUBMITTED = 3
    BUFFER_CLOSED = 4
    MODEL_PUBLISHED = 5
    EVALUATION_REPORTED = 6
    ATTESTED = 7
    CONTENT_ERASED = 8


class Verdict(IntEnum):
    """What an attestation says of a version."""

    RECOMPUTED = 1
    APPROVED = 2
    REJECTED = 3


@dataclass(frozen=True, slots=True)
class PolicySet:
    """The governor fixes the rules from here on."""

    kind: ClassVar[Kind] = Kind.POLICY_SET
    policy: Content
    """The policy document (core/rules/policy.py)."""


@dataclass(frozen=True, slots=True)
class MemberSet:
    """The governor gives an address its roles, or takes them all with Role.NONE."""

    kind: ClassVar[Kind] = Kind.MEMBER_SET
    member: Address
    roles: Role
    profile: Content = NOTHING
    """Who the member is, off the ledger; NOTHING where there is no profile."""


@dataclass(frozen=True, slots=True)
class UpdateSubmitted:
    """A trainer offers its change to a base version."""

    kind: ClassVar[Kind] = Kind.UPDATE_SUBMITTED
    base: Version
    """The version that the site trained on."""
    samples: int
    """Examples that the site says it trained on."""
    content: Content


@dataclass(frozen=True, slots=True)
class BufferClosed:
    """A member says that the open buffer's time is over; counts once the policy's time-out has passed."""

    kind: ClassVar[Kind] = Kind.BUFFER_CLOSED


@dataclass(frozen=True, slots=True)
class ModelPublished:
    """The aggregator publishes what anyone can recompute."""

    kind: ClassVar[Kind] = Kind.MODEL_PUBLISHED
    version: Version
    through: Seq
    """The last record consumed: the one that closed the buffer. 0 for genesis."""
    model: Content
    manifest: Content


@dataclass(frozen=True, slots=True)
class EvaluationReported:
    """A trainer or auditor reports how a version does on data of its own."""

    kind: ClassVar[Kind] = Kind.EVALUATION_REPORTED
    version: Version
    report: Content


@dataclass(frozen=True, slots=True)
class Attested:
    """A trainer or auditor puts its name to a version."""

    kind: ClassVar[Kind] = Kind.ATTESTED
    version: Version
    meaning: Verdict
    evidence: Content = NOTHING


@dataclass(frozen=True, slots=True)
class ContentErased:
    """The owner of a content, or the governor, says that its key is destroyed."""

    kind: ClassVar[Kind] = Kind.CONTENT_ERASED
    seq: Seq
    """The record whose content is gone."""
    reason: int
    """Reason code, 0 to 65,535; the codes are the federation's own."""


Payload = (
    PolicySet
    | MemberSet
    | UpdateSubmitted
    | BufferClosed
    | ModelPublished
    | EvaluationReported
    | Attested
    | ContentErased
)

PAYLOADS: Final[dict[Kind, type[Payload]]] = {
    payload.kind: payload
    for payload in (
        PolicySet,
        MemberSet,
        UpdateSubmitted,
        BufferClosed,
        ModelPublished,
        EvaluationReported,
        Attested,
        ContentErased,
    )
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where on the chain a record stands: evidence for people, no part of the head."""

    block: int
    block_hash: str
    transaction: str
    log_index: int


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of the ledger."""

    seq: Seq
    actor: Address
    """Who answers for it: the transaction's sender, or the signer of a relayed update."""
    time: int
    """Block time in seconds since 1970."""
    payload: Payload
    place: Place | None = None
    """None in a memory ledger."""

    @property
    def kind(self) -> Kind:
        """The payload's kind."""
        return self.payload.kind


@dataclass(frozen=True, slots=True)
class SignedUpdate:
    """An update that its site signed and a relay may bring (IFederationLedger.sol, `SignedUpdate`; EIP-712)."""

    site: Address
    update: UpdateSubmitted
    nonce: int
    """The site's count of relayed updates so far."""
    deadline: int
    """Last block time, in seconds since 1970, at which the ledger takes it."""
    signature: bytes
    """65 bytes r, s, v over the EIP-712 digest; s in the lower half (EIP-2)."""


@dataclass(frozen=True, slots=True)
class Federation:
    """One contract: what head_0 binds."""

    chain_id: int
    contract: Address
    predecessor: Address = NOBODY
    predecessor_head: Head = Head(bytes(32))


def first_head(federation: Federation) -> Head:
    """Compute head_0 = keccak256(abi.encode(chain id, contract, predecessor, predecessor's head))."""
    return Head(
        keccak(
            _word(federation.chain_id)
            + _word(int(federation.contract, 16))
            + _word(int(federation.predecessor, 16))
            + federation.predecessor_head
        )
    )


def next_head(head: Head, record: Record) -> Head:
    """Extend a head by a record: keccak256(abi.encode(head, kind, actor, time, payload words…))."""
    words = [int(record.kind), int(record.actor, 16), record.time, *payload_words(record.payload)]
    return Head(keccak(head + b"".join(map(_word, words))))


def payload_words(payload: Payload) -> list[int]:
    """Encode a payload as unsigned 256-bit words, in the order of its fields; a content is digest, size."""
    words: list[int] = []
    for field in fields(payload):
        value = getattr(payload, field.name)
        if isinstance(value, Content):
            words += [int.from_bytes(value.digest, "big"), value.size]
        else:
            words.append(int(value, 16) if isinstance(value, str) else int(value))
    return words


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")
