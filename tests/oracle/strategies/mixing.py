"""x' = x + α · ((x_base - x) · (w ÷ 2^16) + w q ÷ 2^(16+b)), one update at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from oracle.staleness import ONE, is_staleness, weight

KEYS = {"name", "rate", "staleness"}


def is_valid(rule: dict[str, Any], size: int | str) -> bool:
    return size == 1 and is_staleness(rule["staleness"])


def weigh(rule: dict[str, Any], updates: list[tuple[int, int]]) -> tuple[list[list[int]], list[int]]:
    ((tau, _),) = updates
    return [[weight(rule["staleness"], tau)]], [ONE]


def step(rule: dict[str, Any], x: Any, q: list[Any], bits: int, weighed: Any, bases: list[Any]) -> Any:
    ((w,),) = weighed[0]
    moved = (bases[0] - x) * (w / ONE) + (w * q[0]).astype(np.float64) / float(ONE * 2**bits)
    return x + float(rule["rate"]) * moved
