"""Back-off: how long to wait after the n-th failure in a row.

    wait(n) = min(cap, base · factor^n) · (1/2 + r/2),   n = 0, 1, …,   0 ≤ r < 1 random

Half of it is jitter, so that many daemons that lost one endpoint do not all come back in one moment ("equal jitter",
M. Brooker, Exponential Backoff and Jitter, 2015).
"""

from __future__ import annotations

from collections.abc import Callable


class Backoff:
    """Growing waits between attempts; times are in seconds."""

    def __init__(self, base: float, cap: float, random: Callable[[], float], factor: float = 2.0) -> None:
        """Begin without a failure; `random` returns numbers from 0 up to 1."""
        self._base = base
        self._cap = cap
        self._factor = factor
        self._random = random
        self._wait = base

    def failed(self) -> float:
        """Take note of one more failure and return the seconds to wait before the next attempt."""
        wait = min(self._wait, self._cap)
        self._wait = min(self._wait * self._factor, self._cap)
        return wait * (0.5 + self._random() / 2)

    def succeeded(self) -> None:
        """Take note of a success: the next failure waits as the first one did."""
        self._wait = self._base
