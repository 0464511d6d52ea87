"""Progress: what an audit says while it works."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told, step by step, how far an audit is."""

    def __call__(self, step: str, done: int, total: int) -> None:
        """Take note that `done` of `total` things of a step are done."""


def quiet(step: str, done: int, total: int) -> None:
    """Say nothing."""
    del step, done, total
