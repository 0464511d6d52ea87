"""Runs the user's task in a thread of its own, one call at a time, never on the event loop."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from threading import Event, Lock
from typing import Any, Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from fedchain.core.errors import ConfigError, TaskError
from fedchain.core.ports import Trained
from fedchain.training.state import Arrays, arrays_of, load_arrays
from fedchain.training.task import Fit, Progress, Run, Setting, Task, task_code

_T = TypeVar("_T")
_NUMPY_SEEDS: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class Options:
    """How a site's machine trains; none of it changes the model's layout."""

    device: str = "auto"
    """A torch device, or auto: CUDA when there is one, else the CPU."""
    threads: int | None = None
    """CPU threads of one operation; None leaves torch's choice. Results repeat for one number only."""
    bf16: bool = False
    """Run the forward pass in bfloat16 where torch's autocast thinks it safe; parameters stay float32."""
    compile: bool = False
    """Compile the model's forward() with torch.compile; needs a C++ compiler."""


class Trainer:
    """One site's task with its data and its machine, in torch; a `Training` (core/ports.py).

    Cancelling a call stops the task at its next step.
    """

    def __init__(
        self,
        task: Task,
        folder: Path | None = None,
        settings: Mapping[str, Setting] | None = None,
        options: Options | None = None,
    ) -> None:
        """Prepare to train; raises ConfigError when the device is not there."""
        self._task = task
        self._name = type(task).__name__
        self._options = options or Options()
        self._run = Run(device_of(self._options.device), folder or Path(), dict(settings or {}))
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="training")

    @property
    def device(self) -> str:
        """Where models are trained, for people: cpu, cuda:0."""
        return str(self._run.device)

    async def genesis(self, seed: int) -> Arrays:
        """Build the task's model from a seed and return its tensors: version 0 of a federation."""
        return await self._in_thread(lambda stop: arrays_of(self._new_model(seed)))

    async def train(
        self,
        arrays: Mapping[str, NDArray[Any]],
        seed: int,
        steps: int | None = None,
        progress: Progress | None = None,
    ) -> Trained:
        """Train a copy of a model on the site's data.

        On the CPU the result follows from arrays, seed, steps, data and the number of threads. `progress` is
        called on the event loop. Raises TaskError when the task fails, breaks its promise, or leaves a
        parameter that is not finite.
        """
        run = replace(self._run, seed=seed, steps=steps)
        if progress is not None:
            run = replace(run, progress=_on_loop(asyncio.get_running_loop(), progress))
        return await self._in_thread(lambda stop: self._train(arrays, replace(run, stop=stop)))

    async def evaluate(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        """Evaluate a model on data the site holds back; raises TaskError as `train` does."""
        return await self._in_thread(lambda stop: self._evaluate(arrays, replace(self._run, stop=stop)))

    def close(self) -> None:
        """Wait for the call under way, if any, and end the thread."""
        self._pool.shutdown()

    def _train(self, arrays: Mapping[str, NDArray[Any]], run: Run) -> Trained:
        started = time.perf_counter()
        model = self._model(arrays, run.seed).train()
        with task_code(f"{self._name}.train"), self._autocast():
            fit = self._task.train(model, run)
        trained = arrays_of(model)
        _refuse_not_finite(trained)
        fit = _fit(f"{self._name}.train", fit)
        return Trained(trained, fit.samples, fit.metrics, time.perf_counter() - started)

    def _evaluate(self, arrays: Mapping[str, NDArray[Any]], run: Run) -> dict[str, float]:
        model = self._model(arrays, run.seed).eval()
        with task_code(f"{self._name}.evaluate"), torch.no_grad(), self._autocast():
            metrics = self._task.evaluate(model, run)
        return _metrics(f"{self._name}.evaluate", metrics)

    def _model(self, arrays: Mapping[str, NDArray[Any]], seed: int) -> torch.nn.Module:
        """Return a fresh model with these arrays, where it is to run: nothing else passes from call to call."""
        model = self._new_model(seed)
        load_arrays(model, arrays)
        model.to(self._run.device)
        if self._options.compile:
            # Not model.compile(): it leaves models made of torch's own modules, as Sequential is, uncompiled.
            model.forward = torch.compile(model.forward)
        seed_everything(seed)  # again: what follows shall not depend on how many numbers model() drew
        return model

    def _new_model(self, seed: int) -> torch.nn.Module:
        if self._options.threads is not None:
            torch.set_num_threads(self._options.threads)
        seed_everything(seed)
        with task_code(f"{self._name}.model"):
            model = self._task.model()
        if not isinstance(model, torch.nn.Module):
            raise TaskError(f"{self._name}.model returned {type(model).__name__}: expected a torch.nn.Module")
        return model

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self._run.device.type, dtype=torch.bfloat16, enabled=self._options.bf16)

    async def _in_thread(self, work: Callable[[Event], _T]) -> _T:
        stop, begun, turn = Event(), Event(), Lock()

        def begin() -> _T:
            with turn:
                if stop.is_set():
                    raise asyncio.CancelledError  # nobody waits for it any more
                begun.set()
            return work(stop)

        done = asyncio.get_running_loop().run_in_executor(self._pool, begin)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            with turn:
                stop.set()
            if begun.is_set():
                await asyncio.wait([done])  # the thread still reads the site's files: let it end first
            else:
                done.cancel()
            raise


def device_of(name: str) -> torch.device:
    """Return the device that an option names; raises ConfigError when this machine has none such."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device = {name!r} cannot be used here: {reason}; use auto or cpu") from error
    return device


def seed_everything(seed: int) -> None:
    """Seed torch (CPU and CUDA), numpy's and Python's global generators from one integer, 0 to 2^64 - 1."""
    torch.manual_seed(seed)
    np.random.seed(seed % _NUMPY_SEEDS)  # the legacy generator: tasks may use it
    random.seed(seed)


def _on_loop(loop: asyncio.AbstractEventLoop, progress: Progress) -> Progress:
    def report(step: int, total: int, metrics: Mapping[str, float]) -> None:
        loop.call_soon_threadsafe(progress, step, total, dict(metrics))

    return report


def _refuse_not_finite(arrays: Arrays) -> None:
    for name, array in arrays.items():
        finite = np.isfinite(array)
        if not finite.all():
            first = tuple(int(i) for i in np.argwhere(~finite)[0])
            raise TaskError(
                f"training left {np.count_nonzero(~finite)} of {array.size} values of tensor {name} "
                f"not finite, the first at {first}: lower the learning rate or look at the data"
            )


def _fit(what: str, fit: object) -> Fit:
    """Check what `train` returned; raises TaskError."""
    if not isinstance(fit, Fit) or type(fit.samples) is not int or fit.samples < 1:
        raise TaskError(f"{what} returned {fit!r}: expected fedchain.Fit with samples, 1 or more")
    return Fit(fit.samples, _metrics(what, fit.metrics))


def _metrics(what: str, metrics: object) -> dict[str, float]:
    """Return metrics as plain floats; raises TaskError on anything that a report cannot carry."""
    if not isinstance(metrics, Mapping):
        raise TaskError(f"{what} returned {metrics!r}: expected names with numbers, as in {{'loss': 0.3}}")
    plain: dict[str, float] = {}
    for name, value in metrics.items():
        try:
            plain[str(name)] = float(value)
        except (TypeError, ValueError) as error:
            raise TaskError(f"{what} returned {name} = {value!r}: a metric is one number") from error
        if not isfinite(plain[str(name)]):
            raise TaskError(f"{what} returned {name} = {value!r}: leave out a metric without a finite value")
    return plain
