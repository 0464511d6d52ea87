"""The errors of fedchain, one tree.

    FedchainError
    ├── ConfigError           a configuration file or option that cannot be used
    ├── FormatError           bytes that are not what their place says (record, model, update, manifest, CAR)
    ├── ContentError          a blob that cannot be had as its CID says
    │   ├── Unavailable       nobody who was asked has it
    │   └── Corrupt           somebody sent, or the disk holds, other bytes
    ├── LedgerError           the ledger cannot be read or written
    │   ├── LedgerUnreachable the endpoint does not answer: try again later
    │   ├── LedgerRefused     the contract's rules refuse the record: its custom error, by name and operands
    │   ├── HeadMismatch      records and head disagree: somebody lies or a copy is damaged
    │   └── Reorganised       records that were read are no longer on the chain: start again from the first
    ├── PlanError             a merge that exact arithmetic cannot carry
    └── TaskError             the user's task broke its promise

Every message names the thing, the value and what to do about it.
"""

from __future__ import annotations


class FedchainError(Exception):
    """Root of every error that fedchain raises on purpose."""


class ConfigError(FedchainError):
    """A configuration file or option cannot be used."""


class FormatError(FedchainError):
    """Bytes are not what their place says they are."""


class ContentError(FedchainError):
    """A blob cannot be had as its CID says."""


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


class PlanError(FedchainError):
    """A merge is outside what exact integer arithmetic can carry."""


class TaskError(FedchainError):
    """The user's task broke its promise."""
