"""The integers as they are."""

from __future__ import annotations

from typing import Any

import numpy as np

KEYS = {"name"}


def is_valid(rule: dict[str, Any]) -> bool:
    return True


def tensors(rule: dict[str, Any], name: str, shape: tuple[int, ...]) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(name, "I32", shape)]


def decode(rule: dict[str, Any], name: str, arrays: dict[str, Any]) -> Any:
    """Return the tensor's integers, or None where they are not an update's."""
    q = arrays[name].astype(np.int64)
    return None if (q == -(2**31)).any() else q
