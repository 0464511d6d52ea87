from __future__ import annotations

import asyncio
import random
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedchain.core.errors import ConfigError, TaskError
from fedchain.training.task import Fit, Run
from fedchain.training.trainer import Options, Trainer, device_of, seed_everything

ONE_THREAD = Options("cpu", threads=1)
LIMIT = 20


class Noisy:
    """A task that uses every generator there is."""

    def model(self) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(), torch.nn.Linear(4, 1))

    def train(self, model: torch.nn.Module, run: Run) -> Fit:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(run.steps or 5):
            optimizer.zero_grad()
            inputs = torch.tensor(np.random.rand(8, 3) + random.random(), dtype=torch.float32)
            loss = (model(inputs + torch.rand(8, 3)) ** 2).mean()
            loss.backward()
            optimizer.step()
            run.progress(step + 1, run.steps or 5, {"loss": loss.item()})
        return Fit(8, {"loss": loss.item()})

    def evaluate(self, model: torch.nn.Module, run: Run) -> dict[str, float]:
        assert not torch.is_grad_enabled()
        assert not model.training
        return {"sum": float(sum(p.sum() for p in model.parameters()))}


class Does(Noisy):
    """A task whose training is a function of the test."""

    def __init__(self, work: Callable[[torch.nn.Module, Run], object]) -> None:
        self.work = work

    def train(self, model: torch.nn.Module, run: Run) -> Fit:
        result = self.work(model, run)
        return Fit(1) if result is None else result  # type: ignore[return-value]


@pytest.fixture
async def noisy() -> AsyncIterator[Trainer]:
    with closing(Trainer(Noisy(), options=ONE_THREAD)) as trainer:
        yield trainer


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return {k: v.tobytes() for k, v in one.items()} == {k: v.tobytes() for k, v in other.items()}


async def train(work: Callable[[torch.nn.Module, Run], object], options: Options = ONE_THREAD) -> Fit:
    with closing(Trainer(Does(work), options=options)) as trainer:
        trained = await trainer.train(await trainer.genesis(0), 0)
    return Fit(trained.samples, trained.metrics)


async def test_training_follows_from_its_seed(noisy: Trainer) -> None:
    genesis = await noisy.genesis(1)
    assert same(genesis, await noisy.genesis(1))
    assert not same(genesis, await noisy.genesis(2))
    first = await noisy.train(genesis, 7)
    other = await noisy.train(genesis, 8)
    again = await noisy.train(genesis, 7)
    assert same(first.arrays, again.arrays)
    assert (first.samples, first.metrics) == (again.samples, again.metrics)
    assert not same(first.arrays, other.arrays)
    assert not same(first.arrays, genesis)
    assert first.seconds > 0


async def test_training_leaves_what_it_was_given_alone(noisy: Trainer) -> None:
    genesis = await noisy.genesis(1)
    kept = {name: array.copy() for name, array in genesis.items()}
    await noisy.train(genesis, 7)
    await noisy.evaluate(genesis)
    assert same(genesis, kept)


async def test_evaluation_is_of_the_model_given(noisy: Trainer) -> None:
    genesis = await noisy.genesis(1)
    expected = sum(float(array.sum()) for array in genesis.values())
    assert (await noisy.evaluate(genesis))["sum"] == pytest.approx(expected, abs=1e-5)


def test_one_seed_sets_every_generator() -> None:
    def draw(seed: int) -> tuple[float, float, float]:
        seed_everything(seed)
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    for seed in (0, 2**64 - 1):
        assert draw(seed) == draw(seed)
        assert all(one != other for one, other in zip(draw(seed), draw(seed - 1 if seed else 1), strict=True))


async def test_the_loop_is_free_during_training() -> None:
    loop, began, answered, trained_in = asyncio.get_running_loop(), asyncio.Event(), threading.Event(), []

    def work(model: torch.nn.Module, run: Run) -> None:
        trained_in.append(threading.current_thread())
        loop.call_soon_threadsafe(began.set)
        assert answered.wait(LIMIT), "nothing ran on the loop while the task trained"

    training = asyncio.create_task(train(work))
    await began.wait()
    answered.set()
    await training
    assert trained_in[0] is not threading.current_thread()


async def test_one_call_runs_at_a_time() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def work(model: torch.nn.Module, run: Run) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        run.stop.wait(0.02)
        with lock:
            running -= 1

    with closing(Trainer(Does(work), options=ONE_THREAD)) as trainer:
        genesis = await trainer.genesis(0)
        await asyncio.gather(*(trainer.train(genesis, seed) for seed in range(4)))
    assert most == 1


async def test_progress_is_told_on_the_loop(noisy: Trainer) -> None:
    told: list[tuple[int, int, float, int]] = []

    def progress(step: int, total: int, metrics: Any) -> None:
        told.append((step, total, metrics["loss"], threading.get_ident()))

    trained = await noisy.train(await noisy.genesis(0), 3, steps=4, progress=progress)
    assert [step for step, *_ in told] == [1, 2, 3, 4]
    assert {(total, thread) for _, total, _, thread in told} == {(4, threading.get_ident())}
    assert told[-1][2] == trained.metrics["loss"]


async def test_cancelling_stops_the_task_and_waits_for_it() -> None:
    began, ended = threading.Event(), threading.Event()

    def work(model: torch.nn.Module, run: Run) -> None:
        began.set()
        if run.stop.wait(LIMIT):
            ended.set()

    with closing(Trainer(Does(work), options=ONE_THREAD)) as trainer:
        genesis = await trainer.genesis(0)
        training = asyncio.create_task(trainer.train(genesis, 0))
        queued = asyncio.create_task(trainer.train(genesis, 1))
        await asyncio.to_thread(began.wait, LIMIT)
        queued.cancel()
        with pytest.raises(asyncio.CancelledError):
            await queued
        assert not ended.is_set()
        training.cancel()
        with pytest.raises(asyncio.CancelledError):
            await training
        assert ended.is_set()
        began.clear()
    assert not began.is_set(), "a call that was cancelled in the queue ran"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
async def test_a_tensor_that_is_not_finite_is_named(value: float) -> None:
    def work(model: torch.nn.Module, run: Run) -> None:
        with torch.no_grad():
            model[2].weight[0, 1] = value  # type: ignore[index, union-attr]

    with pytest.raises(TaskError, match=r"1 of 4 values of tensor 2\.weight not finite, the first at \(0, 1\)"):
        await train(work)


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ("done", "'done': expected fedchain.Fit"),
        (Fit(0), ".*: expected fedchain.Fit with samples, 1 or more"),
        (Fit(1.5), ".*: expected fedchain.Fit with samples"),  # type: ignore[arg-type]
        (Fit(1, {"auc": float("nan")}), "auc = nan: leave out a metric without a finite value"),
        (Fit(1, {"auc": "high"}), "auc = 'high': a metric is one number"),  # type: ignore[dict-item]
        (Fit(1, [0.5]), r"\[0.5\]: expected names with numbers"),  # type: ignore[arg-type]
    ],
)
async def test_a_broken_promise_is_named(result: object, words: str) -> None:
    with pytest.raises(TaskError, match=rf"Does\.train returned {words}"):
        await train(lambda model, run: result)


async def test_metrics_become_plain_floats() -> None:
    fit = await train(lambda model, run: Fit(2, {"a": np.float32(0.5), "b": torch.tensor(2), "c": 1}))  # type: ignore[dict-item]
    assert fit == Fit(2, {"a": 0.5, "b": 2.0, "c": 1.0})
    assert {type(value) for value in fit.metrics.values()} == {float}


async def test_a_task_that_raises_keeps_its_error_as_the_cause() -> None:
    def work(model: torch.nn.Module, run: Run) -> None:
        raise ValueError("no patients today")

    with pytest.raises(TaskError, match=r"Does\.train failed: ValueError: no patients today") as caught:
        await train(work)
    assert isinstance(caught.value.__cause__, ValueError)


async def test_a_model_must_be_a_module() -> None:
    class Modelless(Noisy):
        def model(self) -> torch.nn.Module:
            return "none"  # type: ignore[return-value]

    with (
        closing(Trainer(Modelless(), options=ONE_THREAD)) as trainer,
        pytest.raises(TaskError, match=r"Modelless\.model returned str"),
    ):
        await trainer.genesis(0)


async def test_bf16_computes_in_bfloat16_and_keeps_float32() -> None:
    seen = []

    def work(model: torch.nn.Module, run: Run) -> None:
        seen.append((model(torch.rand(2, 3)).dtype, next(model.parameters()).dtype))

    await train(work)
    await train(work, Options("cpu", threads=1, bf16=True))
    assert seen == [(torch.float32, torch.float32), (torch.bfloat16, torch.float32)]


async def test_options_reach_the_thread_that_trains() -> None:
    seen = []

    def work(model: torch.nn.Module, run: Run) -> None:
        seen.append((torch.get_num_threads(), run.device.type))

    await train(work, Options("cpu", threads=2))
    await train(work, ONE_THREAD)
    assert seen == [(2, "cpu"), (1, "cpu")]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")  # torch's compiler warns of its own old parts
async def test_compile_compiles_even_a_model_of_torchs_own_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    seen = []

    def work(model: torch.nn.Module, run: Run) -> None:
        seen.append("Compiled" in model(torch.rand(2, 3)).grad_fn.name())

    await train(work)
    await train(work, Options("cpu", threads=1, compile=True))
    assert seen == [False, True]


def test_auto_takes_cuda_when_there_is_one() -> None:
    assert device_of("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["abacus", "cuda:99", ""])
def test_a_device_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=f"device = '{name}' cannot be used here"):
        Trainer(Noisy(), options=Options(name))
