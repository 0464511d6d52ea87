"""No learning: a model of so many megabytes to which training adds 0.01, for measuring everything else.

The same work as the peers' in the round benchmark: 10 float32 parameters, 10 samples. For another size,
derive a class: `class Add100(AddConstant): megabytes = 100`.
"""

from __future__ import annotations

from typing import ClassVar, Final

import torch

from fedchain.training.task import Fit, Run

STEP: Final = 0.01
PARAMETERS: Final = 10
SAMPLES: Final = 10
_FIRST: Final = -1.0


class AddConstant:
    """A model that only grows."""

    megabytes: ClassVar[int] = 25
    """Size of the model in 10^6 bytes."""

    def model(self) -> torch.nn.Module:
        """Build 10 equal parameters with values from -1 to 1."""
        elements = self.megabytes * 1_000_000 // 4 // PARAMETERS
        return torch.nn.ParameterList(torch.linspace(_FIRST, 1, elements) for _ in range(PARAMETERS))

    def train(self, model: torch.nn.Module, run: Run) -> Fit:
        """Add 0.01 to every parameter."""
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(STEP)
        return Fit(SAMPLES)

    def evaluate(self, model: torch.nn.Module, run: Run) -> dict[str, float]:
        """Return how much has been added to the first element since genesis."""
        return {"added": float(next(model.parameters())[0]) - _FIRST}
