"""Weights for staleness, in units of 2^-16."""

from __future__ import annotations

from math import isqrt
from typing import Any

ONE = 1 << 16


def is_staleness(rule: Any) -> bool:
    """Tell whether a policy may hold this."""
    match rule:
        case {"function": "constant"}:
            return len(rule) == 1
        case {"function": "hinge", "a": int(a), "b": int(b)}:
            return len(rule) == 3 and bool not in (type(a), type(b)) and 1 <= a <= ONE and 0 <= b <= ONE
        case {"function": "polynomial", "exponent": "1/2" | "1" | "2"}:
            return len(rule) == 2
    return False


def weight(rule: dict[str, Any], tau: int) -> int:
    """Return ⌊2^16 · s(τ)⌋."""
    if rule["function"] == "constant":
        return ONE
    if rule["function"] == "hinge":
        return ONE // (rule["a"] * max(0, tau - rule["b"]) + 1)
    return {"1/2": isqrt(ONE**2 // (1 + tau)), "1": ONE // (1 + tau), "2": ONE // (1 + tau) ** 2}[rule["exponent"]]
