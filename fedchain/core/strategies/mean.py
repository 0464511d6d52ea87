"""The weighted mean of changes: FedAvg and FedBuff.

    x' = x + η · Σ w_i q_i / (W · 2^b)

FedBuff: Nguyen et al. 2022, algorithm 1. FedAvg: McMahan et al. 2017, algorithm 1.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedchain.core.strategies.strategy import Block, Combiner, Weights, weigh


def combine(block: Block, weights: Weights, rate: float) -> NDArray[np.float32]:
    """Compute x' = float32(float64(x) + (acc / (W · 2^b)) · η), (n,); x where W = 0."""
    if weights.divisor == 0:
        return block.x
    change = block.scratch
    np.copyto(change, block.total)
    np.divide(change, float(weights.divisor * 2**block.bits), out=change)
    np.multiply(change, rate, out=change)
    np.add(block.x, change, out=change)
    return change.astype(np.float32)


MEAN: Final = Combiner(weigh, combine)
