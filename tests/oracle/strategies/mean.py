"""x' = x + (Σ w q ÷ (W · 2^b)) · η."""

from __future__ import annotations

from typing import Any

import numpy as np
from oracle.staleness import ONE, is_staleness, weight

KEYS = {"name", "normalise", "rate", "staleness", "weighting"}


def is_valid(rule: dict[str, Any], size: int | str) -> bool:
    pairs = {("uniform", "weights"), ("uniform", "count"), ("samples", "weights")}
    return (rule["weighting"], rule["normalise"]) in pairs and is_staleness(rule["staleness"])


def weigh(rule: dict[str, Any], updates: list[tuple[int, int]]) -> tuple[list[list[int]], list[int]]:
    """Return the rows of weights and their divisors, from staleness and samples."""
    row = [weight(rule["staleness"], tau) for tau, _ in updates]
    if rule["weighting"] == "samples":
        products = [s * samples for s, (_, samples) in zip(row, updates, strict=True)]
        shrink = -(-max(products) // ONE) or 1
        row = [product // shrink for product in products]
    if sum(row) * (2**31 - 1) >= 2**63:
        raise ValueError("the sum may overflow")
    return [row], [sum(row) if rule["normalise"] == "weights" else ONE * len(row)]


def step(rule: dict[str, Any], x: Any, q: list[Any], bits: int, weighed: Any, bases: list[Any]) -> Any:
    """Return x' before it is rounded to float32."""
    (row,), (divisor,) = weighed
    if divisor == 0:
        return x
    total = sum(w * values for w, values in zip(row, q, strict=True))
    return x + (total.astype(np.float64) / float(divisor * 2**bits)) * float(rule["rate"])
