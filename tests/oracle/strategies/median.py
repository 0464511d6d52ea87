"""x' = x + ((lo + hi) ÷ (2 · 2^b)) · η, lo and hi the middle ones of the sorted integers."""

from __future__ import annotations

from typing import Any

import numpy as np

KEYS = {"name", "rate"}


def is_valid(rule: dict[str, Any], size: int | str) -> bool:
    return True


def weigh(rule: dict[str, Any], updates: list[tuple[int, int]]) -> tuple[list[list[int]], list[int]]:
    return [], []


def step(rule: dict[str, Any], x: Any, q: list[Any], bits: int, weighed: Any, bases: list[Any]) -> Any:
    ordered = np.sort(np.stack(q), axis=0)
    middle = ordered[(len(q) - 1) // 2] + ordered[len(q) // 2]
    return x + (middle.astype(np.float64) / float(2 * 2**bits)) * float(rule["rate"])
