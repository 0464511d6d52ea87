"""How payloads cross the contract's border: their fields' types say it all (Solidity contract ABI specification).

A field's annotation implies its ABI type (`type_of`). A payload is a row of atoms: words of 32 bytes, and byte strings.
The same atoms, in the same order, are the arguments of the contract's function and the values of its event after
the actor; the head hashes them with each byte string as one word, its keccak-256 (as EIP-712 encodes it).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum, IntFlag
from functools import partial
from itertools import islice
from typing import Annotated, Any, Final, get_origin, get_type_hints

from eth_hash.auto import keccak

from fedchain.core.errors import FormatError
from fedchain.core.ledger.content import Content, Digest

Atom = int | bytes
"""One word as an unsigned 256-bit integer, or a byte string of any length."""


@dataclass(frozen=True, slots=True)
class AbiType:
    """How values of one annotation are encoded."""

    atoms: tuple[str, ...]
    """Solidity's elementary types of the atoms; several are a tuple."""
    write: Callable[[Any], tuple[Atom, ...]]
    read: Callable[..., Any]
    """Makes the value from its atoms; raises ValueError, OverflowError or FormatError for what encodes none."""

    @property
    def name(self) -> str:
        """The type as signatures have it."""
        return self.atoms[0] if len(self.atoms) == 1 else f"({','.join(self.atoms)})"


_CONTENT: Final = AbiType(
    ("bytes32", "uint64"),
    lambda content: (int.from_bytes(content.digest, "big"), content.size),
    lambda digest, size: Content(Digest(digest.to_bytes(32, "big")), size),
)
_BYTES: Final = AbiType(("bytes",), lambda value: (value,), bytes)
_BYTES32: Final = AbiType(
    ("bytes32",), lambda value: (int.from_bytes(value, "big"),), lambda value: value.to_bytes(32, "big")
)
_ADDRESS: Final = AbiType(("address",), lambda value: (int(value, 16),), lambda value: f"0x{value:040x}")


def type_of(annotation: Any) -> AbiType:
    """Return the ABI type of a field; raises TypeError for an annotation that has none.

    Content is a tuple; bytes are a byte string; a NewType of bytes is 32 of them, of str an address, of int a uint64;
    a set of flags is a uint32; Annotated[int, "uint16"] is what it says, and with an enumeration behind that its
    members where they are known.
    """
    if get_origin(annotation) is Annotated:
        name, *members = annotation.__metadata__
        return _uint(name, partial(_member, members[0]) if members else int)
    if isinstance(annotation, type) and issubclass(annotation, IntFlag):
        return _uint("uint32", annotation)
    whole = {Content: _CONTENT, bytes: _BYTES}
    of_its_own = {bytes: _BYTES32, str: _ADDRESS, int: _uint("uint64", int)}
    found = whole.get(annotation) or of_its_own.get(getattr(annotation, "__supertype__", type(None)))
    if found is None:
        raise TypeError(f"{annotation} has no ABI type")
    return found


def _uint(name: str, read: Callable[[int], int]) -> AbiType:
    return AbiType((name,), lambda value: (int(value),), read)


def _member(members: type[IntEnum], number: int) -> int:
    return members(number) if number in list(members) else number


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the payloads of one kind are encoded."""

    make: Callable[..., Any]
    """Makes a payload from its fields' values."""
    names: tuple[str, ...]
    types: tuple[AbiType, ...]

    @classmethod
    def of(cls, payload: Any) -> Encoding:
        """Read the encoding off a dataclass's annotations; raises TypeError for one that has no ABI type."""
        hints = get_type_hints(payload, include_extras=True)
        names = tuple(field.name for field in fields(payload))
        return cls(payload, names, tuple(type_of(hints[name]) for name in names))

    def signature(self, name: str, *before: str) -> str:
        """Format what selectors and topics hash: a name with all types, those of the payload after `before`."""
        return f"{name}({','.join((*before, *(one.name for one in self.types)))})"

    def words(self, payload: object) -> list[int]:
        """Encode a payload as the words that the head hashes: a byte string is its keccak-256."""
        atoms = self._apart(payload)
        return [int.from_bytes(keccak(atom), "big") if isinstance(atom, bytes) else atom for atom in atoms]

    def encode(self, payload: object) -> bytes:
        """Encode a payload as arguments of a call; raises FormatError for a value outside its Solidity type."""
        return _encode_atoms(self._checked(payload))

    def decode(self, data: bytes, indexed: Sequence[int] = ()) -> Any:
        """Read a payload from an event's data; raises FormatError unless it encodes exactly these bytes.

        `indexed` are the words of its first fields where topics hold them.
        """
        try:
            atoms = _decode_atoms(self._kinds[len(indexed) :], data)
            rest = iter([*indexed, *atoms])
            made = self.make(*(one.read(*islice(rest, len(one.atoms))) for one in self.types))
            if _encode_atoms(atoms) != data or self._checked(made) != [*indexed, *atoms]:
                raise FormatError("they are not the one encoding of its values")
        except (ValueError, OverflowError, TypeError, FormatError) as error:
            raise FormatError(f"{len(data)} bytes are not a {self.make.__name__}: {error}") from error
        return made

    @property
    def _kinds(self) -> list[str]:
        return [kind for one in self.types for kind in one.atoms]

    def _apart(self, payload: object) -> list[Atom]:
        values = (getattr(payload, name) for name in self.names)
        return [atom for one, value in zip(self.types, values, strict=True) for atom in one.write(value)]

    def _checked(self, payload: object) -> list[Atom]:
        atoms = self._apart(payload)
        for kind, atom in zip(self._kinds, atoms, strict=True):
            if isinstance(atom, int) and not 0 <= atom < 1 << _bits(kind):
                raise FormatError(f"{payload} cannot be recorded: {atom} is outside 0 to 2^{_bits(kind)} - 1 ({kind})")
        return atoms


def _bits(kind: str) -> int:
    return {"address": 160, "bytes32": 256}.get(kind) or int(kind.removeprefix("uint"))


def _encode_atoms(atoms: Sequence[Atom]) -> bytes:
    """Encode words in place, and byte strings behind all words, an offset in their place."""
    words, tail, start = [], b"", 32 * len(atoms)
    for atom in atoms:
        if isinstance(atom, int):
            words.append(atom)
        else:
            words.append(start + len(tail))
            tail += len(atom).to_bytes(32, "big") + atom + bytes(-len(atom) % 32)
    return b"".join(one.to_bytes(32, "big") for one in words) + tail


def _decode_atoms(kinds: Sequence[str], data: bytes) -> list[Atom]:
    """Read atoms without checking more than that the data is long enough: whoever calls encodes them again."""
    if len(data) < 32 * len(kinds):
        raise FormatError(f"{32 * len(kinds)} or more are needed")
    words = [int.from_bytes(data[at : at + 32], "big") for at in range(0, 32 * len(kinds), 32)]
    return [_string(data, value) if kind == "bytes" else value for kind, value in zip(kinds, words, strict=True)]


def _string(data: bytes, offset: int) -> bytes:
    if offset + 32 > len(data):
        raise FormatError(f"a byte string at {offset} is outside")
    size = int.from_bytes(data[offset : offset + 32], "big")
    return data[offset + 32 : offset + 32 + size]
