"""The ledger's records, and the running hash over them.

    head_0 = keccak256(abi.encode(chain id, contract, predecessor, predecessor's last head))
    head_n = keccak256(abi.encode(head_{n-1}, kind, actor, block time, payload words…))

Every payload is a fixed number of 32-byte words, a byte string being one word, its keccak-256; so abi.encode is
concatenation. The same rule stands in contracts/FederationLedger.sol, action by action; the tests hold the two
against each other.

A new kind of record is one class here, and its event and function in Solidity: how it is encoded follows from its
fields' types (core/ledger/abi.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Annotated, ClassVar, Final, NewType, TypeVar

from eth_hash.auto import keccak

from fedchain.core.errors import FormatError
from fedchain.core.ledger import abi
from fedchain.core.ledger.content import NOTHING, Content, Digest

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


ANY_ROLE: Final = Role.GOVERNOR | Role.TRAINER | Role.AGGREGATOR | Role.AUDITOR

NO_SEQ: Final = Seq(0)
"""Stands for no record where a payload may name one: record 0 is always the first governor's."""


class Verdict(IntEnum):
    """What an attestation says of a claim or an update; meanings of others are kept as numbers."""

    RECOMPUTED = 1
    REFUSED = 2
    APPROVED = 3
    WITHDRAWN = 4


U16 = Annotated[int, "uint16"]
U64 = Annotated[int, "uint64"]
Meaning = Annotated[int, "uint16", Verdict]


@dataclass(frozen=True, slots=True)
class Payload:
    """What a record says; the annotations of its fields have ABI types."""

    kind: ClassVar[int]
    """The number that the head counts it by."""
    function: ClassVar[str]
    """The contract's function that records it; its event has the class's name."""
    by: ClassVar[Role]
    """Whoever has one of these roles may record it."""
    encoding: ClassVar[abi.Encoding]
    """How it is encoded, by its fields."""


PAYLOADS: Final[dict[int, type[Payload]]] = {}
"""Every kind of record by its number."""

_Kind = TypeVar("_Kind", bound=type[Payload])


def recorded(number: int, function: str, *, by: Role) -> Callable[[_Kind], _Kind]:
    """Make a payload known as a kind of record; raises ValueError where the number is another kind's."""

    def register(kind: _Kind) -> _Kind:
        if number in PAYLOADS:
            raise ValueError(f"{kind.__name__} cannot be kind {number}: {PAYLOADS[number].__name__} is")
        kind.kind, kind.function, kind.by, kind.encoding = number, function, by, abi.Encoding.of(kind)
        PAYLOADS[number] = kind
        return kind

    return register


@recorded(1, "setPolicy", by=Role.GOVERNOR)
@dataclass(frozen=True, slots=True)
class PolicySet(Payload):
    """The governor fixes the rules from here on."""

    document: bytes
    """The policy itself (core/rules/policy.py); bytes that are not a policy leave the one before in force."""


@recorded(2, "setMember", by=Role.GOVERNOR)
@dataclass(frozen=True, slots=True)
class MemberSet(Payload):
    """The governor gives an address its roles, or takes them all with Role.NONE."""

    member: Address
    roles: Role
    profile: Content = NOTHING
    """Who the member is, off the ledger; NOTHING where there is no profile."""


@recorded(3, "submitUpdate", by=Role.TRAINER)
@dataclass(frozen=True, slots=True)
class UpdateSubmitted(Payload):
    """A trainer offers its change to a base version."""

    base: Version
    """The version that the site trained on."""
    samples: U64
    """Examples that the site says it trained on."""
    content: Content


@recorded(4, "closeBuffer", by=ANY_ROLE)
@dataclass(frozen=True, slots=True)
class BufferClosed(Payload):
    """A member says that the open buffer's time is over; counts once the policy's time-out has passed."""

    restart_from: Seq = NO_SEQ
    """A governor's restart: the ModelPublished to go on from; NO_SEQ where this is none."""
    certificate: bytes = b""
    """Statements of holders, 121 bytes each."""


@recorded(5, "publishModel", by=Role.AGGREGATOR)
@dataclass(frozen=True, slots=True)
class ModelPublished(Payload):
    """The aggregator claims what anyone can recompute."""

    version: Version
    through: Seq
    """The last record consumed: the one that closed the buffer. 0 for genesis."""
    head: Head
    """The head after record `through`."""
    model: Content
    manifest: Content
    certificate: bytes = b""
    """Statements of holders, 121 bytes each."""


@recorded(6, "reportEvaluation", by=Role.TRAINER | Role.AUDITOR)
@dataclass(frozen=True, slots=True)
class EvaluationReported(Payload):
    """A trainer or auditor reports how a version does on data of its own."""

    version: Version
    report: Content


@recorded(7, "attest", by=ANY_ROLE)
@dataclass(frozen=True, slots=True)
class Attested(Payload):
    """A member puts its name to a claim or an update."""

    seq: Seq
    """The record that it speaks of."""
    meaning: Meaning
    """A Verdict, or a number that is the readers' to know; never 0."""
    evidence: Content = NOTHING


@recorded(8, "eraseContent", by=ANY_ROLE)
@dataclass(frozen=True, slots=True)
class ContentErased(Payload):
    """The owner of a content, or the governor, says that its key is destroyed."""

    seq: Seq
    """The record whose content is gone."""
    reason: U16
    """Reason code, 0 to 65,535; the codes are the federation's own."""


@recorded(9, "giveShare", by=ANY_ROLE)
@dataclass(frozen=True, slots=True)
class ShareGiven(Payload):
    """A member gives its share of the key to a sum of masked updates (DESIGN 5b; reserved)."""

    closing: Seq
    """The record that froze the set of updates."""
    digest: Digest
    """sha2-256 that names the set."""
    content: Content


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
    def kind(self) -> int:
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
    words = [record.kind, int(record.actor, 16), record.time, *record.payload.encoding.words(record.payload)]
    return Head(keccak(head + b"".join(map(_word, words))))


def decode_payload(kind: int, data: bytes) -> Payload:
    """Read a payload of any known kind from its encoding; raises FormatError."""
    if kind not in PAYLOADS:
        raise FormatError(f"{kind} is not a kind of record that this program knows")
    payload: Payload = PAYLOADS[kind].encoding.decode(data)
    return payload


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")
