"""A strategy that only tests have: it asks for all that a strategy may ask for, and so shows that it gets it.

    v' = β · v + Σ w_i q_i / (W · 2^b), x' = x + η · v'

Server momentum (Hsu, Qi, Brown 2019, FedAvgM), but longer updates weigh less - w_i = ⌊2^16 · n / n_i⌋, n_i the norm of
update i and n the smallest of them - and those that point away from the last mean change weigh half.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import isqrt
from typing import Annotated, Final, Literal

import numpy as np
import pytest
from pydantic import Field

from fedchain.core.rules.policy import Policy
from fedchain.core.strategies.registry import PRESETS, STRATEGIES
from fedchain.core.strategies.staleness import ONE
from fedchain.core.strategies.strategy import Block, Cohort, Parameters, Preset, Step, Strategy, Weights
from fedchain.core.updates.fixed_point import Q_LIMIT


class Momentum(Parameters):
    """Parameters of server momentum."""

    name: Literal["momentum"] = "momentum"
    rate: Annotated[float, Field(gt=0, le=1000)] = Field(1.0, description="server learning rate η")
    beta: Annotated[float, Field(ge=0, lt=1)] = Field(0.5, description="share of the velocity that stays, β")


def weigh(cohort: Cohort, parameters: Momentum) -> Weights:
    """Weigh by norm, and by direction against the last mean change."""
    del parameters
    assert cohort.gram is not None  # a plan sees to that
    count = len(cohort.updates)
    norms = [max(1, isqrt(cohort.gram[i][i])) for i in range(count)]
    weights = [ONE * min(norms) // norm for norm in norms]
    weights = [w // 2 if cohort.gram[i][count] < 0 else w for i, w in enumerate(weights)]
    return Weights((tuple(weights),), (sum(weights),), {"shortest": min(norms)})


def step(block: Block, weights: Weights, parameters: Momentum) -> Step:
    """Compute a block of the model, the velocity and the mean change."""
    (divisor,) = weights.divisors
    if divisor == 0:
        return block.x, block.state
    change = block.sums[0] / float(divisor * 2**block.bits)
    velocity = (block.state["velocity"] * parameters.beta + change).astype(np.float32)
    mean = np.clip(block.sums[0] // divisor, -Q_LIMIT, Q_LIMIT).astype(np.int32)
    return (block.x + velocity.astype(np.float64) * parameters.rate).astype(np.float32), {
        "velocity": velocity,
        "mean": mean,
    }


STRATEGY: Final = Strategy(
    Momentum,
    weigh,
    step,
    presets={"momentum": Preset("server momentum (Hsu et al. 2019)", Momentum(), 2, 16)},
    needs_gram=True,
    state={"velocity": "F32", "mean": "I32"},
    gram_state=("mean",),
)


@contextmanager
def registered() -> Iterator[None]:
    """Let policies name the strategy, as a line in the registry would."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(STRATEGIES, STRATEGY.name, STRATEGY)
        patch.setitem(PRESETS, "momentum", STRATEGY.presets["momentum"])
        Policy.model_rebuild(force=True)
        yield
    Policy.model_rebuild(force=True)
