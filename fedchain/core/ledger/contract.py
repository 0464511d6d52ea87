"""The contract's rules, once: what FederationLedger.sol takes, and what it keeps of it.

The tests hold these rules against the contract on a chain, error by error. The memory ledger keeps them; an audit
asks them of every record, for the contract at an address may be another one than it is taken for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from fedchain.core.ledger.records import (
    ANY_ROLE,
    NO_SEQ,
    NOBODY,
    Address,
    Attested,
    BufferClosed,
    EvaluationReported,
    MemberSet,
    ModelPublished,
    Payload,
    PolicySet,
    Role,
    SignedUpdate,
    UpdateSubmitted,
)

MAX_BYTES: Final = 32_768
"""Bytes that a policy or a certificate may have."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The custom error with which the contract reverts."""

    name: str
    operands: tuple[object, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.operands))})"


@dataclass(slots=True)
class State:
    """What the contract keeps besides its head."""

    roles: dict[Address, Role] = field(default_factory=dict)
    """Roles of every address that ever had a MemberSet."""
    nonces: dict[Address, int] = field(default_factory=dict)
    """Relayed updates of each site."""
    versions: int = 0
    """Version numbers given so far."""

    def has(self, actor: Address, needed: Role) -> bool:
        """Tell whether an address has one of the roles in `needed`."""
        return bool(self.roles.get(actor, Role.NONE) & needed)

    @property
    def governors(self) -> set[Address]:
        """Everybody who is a governor."""
        return {member for member, roles in self.roles.items() if Role.GOVERNOR in roles}

    def apply(self, payload: Payload) -> None:
        """Keep what a record changes."""
        match payload:
            case MemberSet(member, roles):
                self.roles[member] = roles
            case ModelPublished(version):
                self.versions = max(self.versions, version + 1)
            case BufferClosed(restart_from=start) if start != NO_SEQ:
                self.versions += 1


def foundation(governor: Address) -> MemberSet | Refusal:
    """Return the payload of record 0, which the constructor makes of the first governor."""
    return Refusal("NoGovernor") if governor == NOBODY else MemberSet(governor, Role.GOVERNOR)


def needed_roles(payload: Payload) -> Role:
    """Return the roles of which an actor needs one."""
    if isinstance(payload, BufferClosed) and payload.restart_from != NO_SEQ:
        return Role.GOVERNOR
    return payload.by


def refusal(state: State, actor: Address, payload: Payload) -> Refusal | None:
    """Say how the contract refuses a payload of `actor` as the next record; None where it takes it."""
    needed = needed_roles(payload)
    if not state.has(actor, needed):
        return Refusal("Unauthorized", (actor, int(needed)))
    return _refused_values(state, payload)


def _refused_values(state: State, payload: Payload) -> Refusal | None:  # noqa: PLR0911 - one for each error
    match payload:
        case PolicySet(document) if len(document) > MAX_BYTES:
            return Refusal("PolicyTooLong", (len(document), MAX_BYTES))
        case MemberSet(_, roles) if int(roles) & ~int(ANY_ROLE):
            return Refusal("UnknownRoles", (int(roles),))
        case MemberSet(member, roles) if state.governors == {member} and Role.GOVERNOR not in roles:
            return Refusal("LastGovernor", (member,))
        case UpdateSubmitted():
            return _refused_update(state, payload)
        case ModelPublished(version) if version > state.versions:
            return Refusal("WrongVersion", (version, state.versions))
        case EvaluationReported(version) if version >= state.versions:
            return Refusal("UnknownVersion", (version, state.versions))
        case Attested(meaning=0):
            return Refusal("NoMeaning")
        case BufferClosed(certificate=given) | ModelPublished(certificate=given) if len(given) > MAX_BYTES:
            return Refusal("CertificateTooLong", (len(given), MAX_BYTES))
    return None


def _refused_update(state: State, update: UpdateSubmitted) -> Refusal | None:
    if update.base >= state.versions:
        return Refusal("UnknownBase", (update.base, state.versions))
    if not update.samples:
        return Refusal("NoSamples")
    return None if update.content.size else Refusal("EmptyContent")


def relay(
    state: State, updates: Iterable[SignedUpdate], now: int, is_signed: Callable[[SignedUpdate], bool]
) -> list[SignedUpdate] | Refusal:
    """Take a batch of signed updates at block time `now`, and return those that become records, in order.

    An update whose site, nonce or deadline is not right now is left out. Where the batch is refused nothing changes.
    """
    taken: list[SignedUpdate] = []
    nonces = dict(state.nonces)
    for signed in updates:
        if not is_signed(signed):
            return Refusal("BadSignature", (signed.site,))
        if wrong := _refused_update(state, signed.update):
            return wrong
        expected = nonces.get(signed.site, 0)
        if state.has(signed.site, Role.TRAINER) and signed.nonce == expected and now <= signed.deadline:
            nonces[signed.site] = expected + 1
            taken.append(signed)
    if not taken:
        return Refusal("NoUpdates")
    state.nonces = nonces
    return taken
