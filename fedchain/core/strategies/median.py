"""The coordinate median of changes: robust against fewer than half of the updates, whatever they say.

    x' = x + η · (q_(⌊(K-1)/2⌋) + q_(⌊K/2⌋)) / (2 · 2^b), q_(0) ≤ … ≤ q_(K-1) element by element

Yin, Chen, Ramchandran, Bartlett 2018, definition 1 and algorithm 1, option I. It ignores staleness and samples: a
weight would give back to one site what the median takes from it.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import numpy as np
from pydantic import Field

from fedchain.core.strategies.strategy import (
    NO_STATE,
    Block,
    Cohort,
    Parameters,
    Preset,
    Step,
    Strategy,
    Takes,
    Weights,
)


class Median(Parameters):
    """Parameters of the coordinate median."""

    name: Literal["median"] = "median"
    rate: Annotated[float, Field(gt=0, le=1000)] = Field(1.0, description="server learning rate η")


def weigh(cohort: Cohort, parameters: Median) -> Weights:
    """Decide nothing: a median has no weights."""
    del cohort, parameters
    return Weights()


def step(block: Block, weights: Weights, parameters: Median) -> Step:
    """Compute x' = float32(x + ((lo + hi) / (2 · 2^b)) · η), (n,); lo and hi the one or two middle integers."""
    del weights
    count = len(block.updates)
    middle = np.sort(block.updates, axis=0)[[(count - 1) // 2, count // 2]]
    change = block.scratch
    np.copyto(change, middle.sum(axis=0, dtype=np.int64))
    np.divide(change, float(2 * 2**block.bits), out=change)
    np.multiply(change, parameters.rate, out=change)
    np.add(block.x, change, out=change)
    return change.astype(np.float32), NO_STATE


STRATEGY: Final = Strategy(
    Median,
    weigh,
    step,
    presets={
        "median": Preset("the median of K updates, element by element (Yin et al. 2018, algorithm 1)", Median(), 5, 16)
    },
    takes=Takes.UPDATES,
)
