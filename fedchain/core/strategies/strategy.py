"""What a combiner is, and the integer weights that combiners share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedchain.core.errors import PlanError
from fedchain.core.rules.plan import Entry
from fedchain.core.rules.policy import Policy
from fedchain.core.strategies.staleness import ONE
from fedchain.core.updates.fixed_point import Q_LIMIT


@dataclass(frozen=True, slots=True)
class Weights:
    """The integers of a merge."""

    each: tuple[int, ...]
    """w_i, one per merged update, at most 2^16."""
    divisor: int
    """W."""


@dataclass(slots=True)
class Block:
    """A run of neighbouring elements on its way from one version to the next; n elements, one b."""

    x: NDArray[np.float32]
    """The parent's values, (n,)."""
    total: NDArray[np.int64]
    """acc = Σ w_i q_i, (n,): exact, so order and grouping of the sum are free."""
    base: NDArray[np.float32] | None
    """The base's values, (n,), where the combiner asks for them."""
    bits: int
    scratch: NDArray[np.float64]
    """Room for the result, (n,)."""


@dataclass(frozen=True, slots=True)
class Combiner:
    """One rule for turning a buffer into a version."""

    weigh: Callable[[Sequence[Entry], Policy], Weights]
    """Decide the integers from what was admitted."""
    combine: Callable[[Block, Weights, float], NDArray[np.float32]]
    """Compute x' of a block from weights and rate: + - × ÷ only, each a separate IEEE operation."""
    needs_base: bool = False
    """Whether `combine` reads the base of the (then only) update."""


def weigh(entries: Sequence[Entry], policy: Policy) -> Weights:
    """Weigh by staleness, and by samples where the policy says so.

    w_i = s(τ_i), or ⌊p_i / ⌈max p / 2^16⌉⌋ with p_i = s(τ_i) · n_i, so that no weight is above 2^16.
    W = Σ w_i, or 2^16 times the number of updates. Raises PlanError.
    """
    weights = [policy.staleness.weight(entry.staleness or 0) for entry in entries]
    if policy.weighting == "samples":
        products = [s * entry.samples for s, entry in zip(weights, entries, strict=True)]
        shrink = -(-max(products, default=0) // ONE) or 1
        weights = [product // shrink for product in products]
    if sum(weights) * Q_LIMIT >= 2**63:
        raise PlanError(f"{len(weights)} updates with weights up to {max(weights)} overflow a 64-bit sum")
    return Weights(tuple(weights), sum(weights) if policy.normalise == "weights" else ONE * len(weights))
