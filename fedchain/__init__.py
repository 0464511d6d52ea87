"""Federated learning whose global model is a pure function of a ledger.

`fedchain.Task`, `fedchain.Run` and `fedchain.Fit` are all that a user's task needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedchain.training.task import Fit, Run, Task

__all__ = ["Fit", "Run", "Task"]


def __getattr__(name: str) -> Any:
    """Import the task's words when they are first asked for: most commands train nothing."""
    if name in __all__:
        return getattr(import_module("fedchain.training.task"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
