"""Mixing of models: FedAsync, one update at a time.

    x' = (1 - α_τ) x + α_τ x_site, x_site = x_base + q / 2^b, α_τ = α · s(τ)

Xie, Koyejo, Gupta 2019, algorithm 1.

An update is a change to its *base*: mixing needs the base's values, which are not the parent's once τ > 0.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import numpy as np
from pydantic import Field

from fedchain.core.errors import PlanError
from fedchain.core.strategies.staleness import ONE, Polynomial, Staleness
from fedchain.core.strategies.strategy import NO_STATE, Block, Cohort, Parameters, Preset, Size, Step, Strategy, Weights


class Mixing(Parameters):
    """Parameters of mixing."""

    name: Literal["mixing"] = "mixing"
    staleness: Staleness = Field(
        Polynomial(function="polynomial", exponent="1/2"), description="how an update loses weight with its age"
    )
    rate: Annotated[float, Field(gt=0, le=1000)] = Field(0.6, description="mixing rate α")

    def conflict(self, size: Size) -> str | None:
        """Refuse buffers of more than one update."""
        return None if size == 1 else f"mixing takes one update at a time: buffer.size must be 1, not {size}"


def weigh(cohort: Cohort, parameters: Mixing) -> Weights:
    """Weigh the only update by its staleness: w = s(τ), W = 2^16. Raises PlanError for more than one."""
    if len(cohort.updates) != 1:
        raise PlanError(f"mixing takes one update at a time, not {len(cohort.updates)}: buffer.size must be 1")
    return Weights(((parameters.staleness.weight(cohort.updates[0].staleness or 0),),), (ONE,))


def step(block: Block, weights: Weights, parameters: Mixing) -> Step:
    """Compute x' = float32(x + α · (s(τ) (x_base - x) + s(τ) q / 2^b)), (n,), every step in float64."""
    change = block.scratch
    np.subtract(block.bases[0], block.x, out=change, dtype=np.float64)
    np.multiply(change, weights.rows[0][0] / ONE, out=change)
    np.add(change, block.sums[0] / float(ONE * 2**block.bits), out=change)
    np.multiply(change, parameters.rate, out=change)
    np.add(block.x, change, out=change)
    return change.astype(np.float32), NO_STATE


STRATEGY: Final = Strategy(
    Mixing,
    weigh,
    step,
    presets={
        "fedasync": Preset(
            "every update at once, x' = (1 - α s(τ)) x + α s(τ) x_site (Xie et al. 2019, algorithm 1)", Mixing(), 1, 16
        )
    },
    needs_bases=True,
)
