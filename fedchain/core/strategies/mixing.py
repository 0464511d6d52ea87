"""Mixing of models: FedAsync, one update at a time.

    x' = (1 - α_τ) x + α_τ x_site, x_site = x_base + q / 2^b, α_τ = α · s(τ)

Xie, Koyejo, Gupta 2019, algorithm 1.

An update is a change to its *base*: mixing needs the base's values, which are not the parent's once τ > 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedchain.core.errors import PlanError
from fedchain.core.rules.plan import Entry
from fedchain.core.rules.policy import Policy
from fedchain.core.strategies.staleness import ONE
from fedchain.core.strategies.strategy import Block, Combiner, Weights


def weigh_one(entries: Sequence[Entry], policy: Policy) -> Weights:
    """Weigh the only update by its staleness: w = s(τ), W = 2^16. Raises PlanError for more than one."""
    if len(entries) != 1:
        raise PlanError(f"mixing merges one change at a time, not {len(entries)}: set buffer.size to 1")
    return Weights((policy.staleness.weight(entries[0].staleness or 0),), ONE)


def combine(block: Block, weights: Weights, rate: float) -> NDArray[np.float32]:
    """Compute x' = float32(x + α · (s(τ) (x_base - x) + s(τ) q / 2^b)), (n,), every step in float64."""
    assert block.base is not None  # needs_base
    step = block.scratch
    np.subtract(block.base, block.x, out=step, dtype=np.float64)
    np.multiply(step, weights.each[0] / ONE, out=step)
    np.add(step, block.total / float(ONE * 2**block.bits), out=step)
    np.multiply(step, rate, out=step)
    np.add(block.x, step, out=step)
    return step.astype(np.float32)


MIXING: Final = Combiner(weigh_one, combine, needs_base=True)
