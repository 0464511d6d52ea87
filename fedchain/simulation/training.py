"""Training that takes virtual time and no torch: seeded noise on every floating-point tensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedchain.core.ports import Clock, Trained

Arrays = dict[str, NDArray[Any]]


def trained(arrays: Mapping[str, NDArray[Any]], seed: int, scale: float, shift: float = 0.0) -> Arrays:
    """Return a model after a training: x + shift + scale · N(0, 1); a whole number alone in its tensor counts up."""
    random = np.random.default_rng(seed)
    new = {}
    for name, array in arrays.items():
        if array.dtype.kind == "f":
            new[name] = (array + shift + random.normal(0, scale, array.shape)).astype(array.dtype)
        elif array.ndim == 0:
            new[name] = array + array.dtype.type(1)
        else:
            new[name] = array
    return new


class SimulatedTraining:
    """A site's task, data and machine; the port `Training` (core/ports.py)."""

    def __init__(
        self, clock: Clock, seconds: float = 60.0, *, samples: int = 100, scale: float = 0.1, shift: float = 0.0
    ) -> None:
        """Take so many seconds for each training."""
        self.seeds: list[int] = []
        """Of the trainings begun."""
        self._clock = clock
        self._seconds = seconds
        self._samples = samples
        self._scale = scale
        self._shift = shift

    @property
    def device(self) -> str:
        """Where models are trained, for people."""
        return "simulated"

    async def train(self, arrays: Mapping[str, NDArray[Any]], seed: int, steps: int | None = None) -> Trained:
        """Train a copy of a model."""
        del steps
        self.seeds.append(seed)
        await self._clock.sleep(self._seconds)
        new = trained(arrays, seed, self._scale, self._shift)
        return Trained(new, self._samples, {"seed": float(seed)}, self._seconds)

    async def evaluate(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        """Say how large a model's numbers are."""
        return {"largest": max(float(abs(array).max()) for array in arrays.values() if array.dtype.kind == "f")}

    def close(self) -> None:
        """End; nothing is kept."""
