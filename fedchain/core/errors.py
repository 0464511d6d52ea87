"""The errors of fedchain, one tree.

    FedchainError
    ├── ConfigError           a configuration file or option that cannot be used
    │   └── ParameterError    an argument of a call, or the option of a command that stands for it
    ├── DatabaseError         a local SQLite file that cannot be used: disk full, locked, damaged
    ├── FormatError           bytes that are not what their place says (record, model, update, manifest, CAR)
    ├── ContentError          a blob that cannot be had as its CID says
    │   ├── Unavailable       nobody who was asked has it
    │   └── Corrupt           somebody sent, or the disk holds, other bytes
    ├── LedgerError           the ledger cannot be read or written
    │   ├── LedgerUnreachable the endpoint does not answer: try again later
    │   ├── LedgerRefused     the contract's rules refuse the record: its custom error, by name and operands
    │   ├── HeadMismatch      records and head disagree: somebody lies or a copy is damaged
    │   └── Reorganised       records that were read are no longer on the chain: start again from the first
    ├── VersionRefuted        a published version that does not follow from the ledger
    ├── PlanError             a merge that exact arithmetic cannot carry
    └── TaskError             the user's task broke its promise

Every message names the thing, the value and what to do about it; what a program would ask for stands in attributes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedchain.core.ledger.content import Content


class FedchainError(Exception):
    """Root of every error that fedchain raises on purpose."""


class ConfigError(FedchainError):
    """A configuration file or option cannot be used."""


class ParameterError(ConfigError):
    """An argument of a call cannot be used.

    `parameter` is its name and `value` what was given, None where nothing was. Where `problem` speaks of arguments they
    stand in braces, as in "give {mirror}", so that a command can name its options instead: `text(OPTIONS)`.
    """

    def __init__(self, parameter: str, value: object, problem: str) -> None:
        self.parameter = parameter
        self.value = value
        self.problem = problem
        super().__init__(self.text({}))

    def text(self, names: Mapping[str, str]) -> str:
        """Format the message with other names for the arguments; one without another name keeps its own."""
        problem = self.problem.format_map(_Names(names))
        return problem if self.value is None else f"{names.get(self.parameter, self.parameter)} {self.value}: {problem}"


class _Names(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return name


class DatabaseError(FedchainError):
    """A local SQLite file cannot be used.

    `file` is None for a database in memory; `reason` is SQLite's own; `can_be_deleted` tells whether what the file
    holds can be had again from elsewhere.
    """

    def __init__(self, message: str, file: str | None, reason: str, *, can_be_deleted: bool) -> None:
        self.file = file
        self.reason = reason
        self.can_be_deleted = can_be_deleted
        super().__init__(message)


class FormatError(FedchainError):
    """Bytes are not what their place says they are."""


class ContentError(FedchainError):
    """A blob cannot be had as its CID says; `content` names it where one blob is to blame."""

    def __init__(self, message: str, content: Content | None = None) -> None:
        self.content = content
        super().__init__(message)


class Unavailable(ContentError):
    """Nobody who was asked has the blob."""


class Corrupt(ContentError):
    """The bytes under a CID are not the bytes that the CID names."""


class LedgerError(FedchainError):
    """The ledger cannot be read or written."""


class LedgerUnreachable(LedgerError):
    """The ledger's endpoint does not answer."""


class LedgerRefused(LedgerError):
    """The contract's rules refuse a record.

    `name` is the contract's custom error, `operands` its values in order (IFederationLedger.sol).
    """

    def __init__(self, name: str, operands: tuple[object, ...] = ()) -> None:
        self.name = name
        self.operands = operands
        super().__init__(f"the ledger refuses the record: {name}({', '.join(map(str, operands))})")


class HeadMismatch(LedgerError):
    """A copy of the records does not hash to the ledger's head."""


class Reorganised(LedgerError):
    """Records that were read before are no longer on the chain."""


class VersionRefuted(FedchainError):
    """A published version does not follow from the ledger; `version` is its number, `problems` say why."""

    def __init__(self, version: int, problems: tuple[str, ...]) -> None:
        self.version = version
        self.problems = problems
        super().__init__(f"version {version} does not follow from the ledger: {'; '.join(problems)}")


class PlanError(FedchainError):
    """A merge is outside what exact integer arithmetic can carry."""


class TaskError(FedchainError):
    """The user's task broke its promise."""
