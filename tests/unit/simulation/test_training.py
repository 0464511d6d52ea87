"""Training that takes virtual time and follows from its seed."""

from __future__ import annotations

import numpy as np
import pytest

from fedchain.simulation.clock import running_clock
from fedchain.simulation.training import SimulatedTraining

MODEL = {"w": np.arange(4, dtype=np.float32), "n": np.array(3, np.int64), "mask": np.ones(2, np.uint8)}


async def test_it_takes_its_time_and_follows_from_the_seed() -> None:
    clock = running_clock()
    training = SimulatedTraining(clock, 600.0, samples=7)
    first, again, other = [await training.train(MODEL, seed) for seed in (1, 1, 2)]
    assert clock.monotonic() == pytest.approx(1800.0)
    assert (first.samples, first.seconds, training.seeds) == (7, 600.0, [1, 1, 2])
    assert first.arrays["w"].dtype == np.float32
    assert (first.arrays["w"] == again.arrays["w"]).all()
    assert (first.arrays["w"] != other.arrays["w"]).all()
    assert (first.arrays["n"], first.arrays["mask"].tolist()) == (4, [1, 1])
    assert MODEL["n"] == 3


async def test_it_may_add_the_same_to_everything() -> None:
    trained = await SimulatedTraining(running_clock(), scale=0.0, shift=0.5).train(MODEL, 1)
    assert trained.arrays["w"].tolist() == [0.5, 1.5, 2.5, 3.5]


async def test_a_model_is_measured_by_its_largest_number() -> None:
    assert await SimulatedTraining(running_clock()).evaluate(MODEL) == {"largest": 3.0}
