"""Federated learning whose global model is a pure function of a ledger.

`Task`, `Run` and `Fit` are all that a user's task needs. `connect` reads a federation, `verify` audits it. `Policy` is
what a federation agreed on; `fedbuff`, `fedavg` and `fedasync` make one. Every error is a `FedchainError`
(fedchain/core/errors.py draws the tree). docs/python.md has an example of each.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from fedchain.api import Connection, connect, verify
    from fedchain.audit.report import Report
    from fedchain.core.errors import (
        ConfigError,
        ContentError,
        Corrupt,
        DatabaseError,
        FedchainError,
        FormatError,
        HeadMismatch,
        LedgerError,
        LedgerRefused,
        LedgerUnreachable,
        ParameterError,
        PlanError,
        Reorganised,
        TaskError,
        Unavailable,
        VersionRefuted,
    )
    from fedchain.core.rules.policy import Policy, fedasync, fedavg, fedbuff
    from fedchain.training.task import Fit, Run, Task

__all__ = [
    "ConfigError",
    "Connection",
    "ContentError",
    "Corrupt",
    "DatabaseError",
    "FedchainError",
    "Fit",
    "FormatError",
    "HeadMismatch",
    "LedgerError",
    "LedgerRefused",
    "LedgerUnreachable",
    "ParameterError",
    "PlanError",
    "Policy",
    "Reorganised",
    "Report",
    "Run",
    "Task",
    "TaskError",
    "Unavailable",
    "VersionRefuted",
    "connect",
    "fedasync",
    "fedavg",
    "fedbuff",
    "verify",
]

_HOMES: Final = {
    "Connection": "fedchain.api",
    "connect": "fedchain.api",
    "verify": "fedchain.api",
    "Report": "fedchain.audit.report",
    "Policy": "fedchain.core.rules.policy",
    "fedasync": "fedchain.core.rules.policy",
    "fedavg": "fedchain.core.rules.policy",
    "fedbuff": "fedchain.core.rules.policy",
    "Fit": "fedchain.training.task",
    "Run": "fedchain.training.task",
    "Task": "fedchain.training.task",
}
"""Where a name comes from; the others are errors."""


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for: most programs need few, and some take long to import."""
    if name in __all__:
        return getattr(import_module(_HOMES.get(name, "fedchain.core.errors")), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the names, imported or not."""
    return __all__
