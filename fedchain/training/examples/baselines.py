"""What a federated model is held against: the same task trained on one site's data alone, or on all pooled.

Alone and pooled are one function on different files. Each starts from the federation's own genesis and gets at
least as many optimiser steps as all sites of the federation together; each leaves out the same fifth for
evaluation that a site leaves out. All models are evaluated on one hold-out that none was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from fedchain.training.task import Task
from fedchain.training.trainer import Options, Trainer


async def baseline(
    task: Task, data: Path, holdout: Path, *, seed: int, steps: int, options: Options | None = None
) -> dict[str, float]:
    """Train the task's model from genesis on one file and return its metrics on the hold-out."""
    with closing(Trainer(task, data.parent, {"data": data.name}, options)) as trainer:
        trained = await trainer.train(await trainer.genesis(seed), seed, steps)
    return await judge_all(task, trained.arrays, holdout, options)


async def judge_all(
    task: Task, arrays: Mapping[str, NDArray[Any]], data: Path, options: Options | None = None
) -> dict[str, float]:
    """Return a model's metrics on every example of a file."""
    with closing(Trainer(task, data.parent, {"data": data.name, "held": 1.0}, options)) as trainer:
        return await trainer.evaluate(arrays)
