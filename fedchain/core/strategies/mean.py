"""The weighted mean of changes: FedAvg and FedBuff.

    x' = x + η · Σ w_i q_i / (W · 2^b)

FedBuff: Nguyen et al. 2022, algorithm 1. FedAvg: McMahan et al. 2017, algorithm 1.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from fedchain.core.errors import PlanError
from fedchain.core.strategies.staleness import ONE, Constant, Polynomial, Staleness
from fedchain.core.strategies.strategy import NO_STATE, Block, Cohort, Parameters, Preset, Step, Strategy, Weights
from fedchain.core.updates.fixed_point import Q_LIMIT


class Mean(Parameters):
    """Parameters of the weighted mean."""

    name: Literal["mean"] = "mean"
    staleness: Staleness = Field(
        Polynomial(function="polynomial", exponent="1/2"), description="how an update loses weight with its age"
    )
    weighting: Literal["uniform", "samples"] = Field(
        "uniform", description="weigh by staleness alone, or also by the samples that a site states"
    )
    normalise: Literal["weights", "count"] = Field(
        "count", description="divide by the weights' sum (a mean), or by the number of updates (stale ones count less)"
    )
    rate: Annotated[float, Field(gt=0, le=1000)] = Field(1.0, description="server learning rate η")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.weighting == "samples" and self.normalise == "count":
            raise ValueError("weighting by samples needs normalise = weights: a count of updates has no samples")
        return self


def weigh(cohort: Cohort, parameters: Mean) -> Weights:
    """Weigh by staleness, and by samples where the policy says so: one row.

    w_i = s(τ_i), or ⌊p_i / ⌈max p / 2^16⌉⌋ with p_i = s(τ_i) · n_i, so that no weight is above 2^16.
    W = Σ w_i, or 2^16 times the number of updates. Raises PlanError.
    """
    weights = [parameters.staleness.weight(update.staleness or 0) for update in cohort.updates]
    if parameters.weighting == "samples":
        products = [s * update.samples for s, update in zip(weights, cohort.updates, strict=True)]
        shrink = -(-max(products, default=0) // ONE) or 1
        weights = [product // shrink for product in products]
    if sum(weights) * Q_LIMIT >= 2**63:
        raise PlanError(f"{len(weights)} updates with weights up to {max(weights)} overflow a 64-bit sum")
    return Weights((tuple(weights),), (sum(weights) if parameters.normalise == "weights" else ONE * len(weights),))


def step(block: Block, weights: Weights, parameters: Mean) -> Step:
    """Compute x' = float32(float64(x) + (acc / (W · 2^b)) · η), (n,); x where W = 0."""
    (divisor,) = weights.divisors
    if divisor == 0:
        return block.x, NO_STATE
    change = block.scratch
    np.copyto(change, block.sums[0])
    np.divide(change, float(divisor * 2**block.bits), out=change)
    np.multiply(change, parameters.rate, out=change)
    np.add(block.x, change, out=change)
    return change.astype(np.float32), NO_STATE


STRATEGY: Final = Strategy(
    Mean,
    weigh,
    step,
    presets={
        "fedbuff": Preset(
            "K updates, x' = x + η/K · Σ s(τ_i) u_i, s = 1/√(1+τ) (Nguyen et al. 2022, algorithm 1)", Mean(), 10, 16
        ),
        "fedavg": Preset(
            "one update of every trainer, x' = x + Σ n_i u_i / Σ n_i (McMahan et al. 2017, algorithm 1)",
            Mean(staleness=Constant(), weighting="samples", normalise="weights"),
            "all",
            0,
        ),
    },
)
