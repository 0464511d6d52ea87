"""Combiners: how admitted updates become a version, each a frozen record of two functions.

`weigh` decides the integers of a merge from records; `combine` is elementwise, block by block. A combiner is
named in the policy, so that FedAsync, FedBuff and FedAvg are parameters of one buffer, not code.
"""

from __future__ import annotations

from typing import Final

from fedchain.core.strategies.mean import MEAN
from fedchain.core.strategies.mixing import MIXING
from fedchain.core.strategies.strategy import Block, Combiner, Weights

COMBINERS: Final[dict[str, Combiner]] = {"mean": MEAN, "mixing": MIXING}

__all__ = ["COMBINERS", "Block", "Combiner", "Weights"]
