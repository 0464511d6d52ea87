"""q = v · 2^e, v of 8 bits, one e for a block of n elements."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

KEYS = {"block", "name"}


def is_valid(rule: dict[str, Any]) -> bool:
    return type(rule["block"]) is int and 2**4 <= rule["block"] <= 2**16


def tensors(rule: dict[str, Any], name: str, shape: tuple[int, ...]) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(name, "I8", shape), (f"{name}:exponents", "U8", (-(-prod(shape) // rule["block"]),))]


def decode(rule: dict[str, Any], name: str, arrays: dict[str, Any]) -> Any:
    v, exponents = arrays[name].astype(np.int64), arrays[f"{name}:exponents"].astype(np.int64)
    if (v == -128).any() or (exponents > 24).any():
        return None
    return v << np.repeat(exponents, rule["block"])[: v.size]
