from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.errors import TaskError
from fedchain.training.examples.classify import Examples, auc, fit, judge
from fedchain.training.task import Run, Setting

CPU = torch.device("cpu")


def run(seed: int = 0, steps: int | None = None, **settings: Setting) -> Run:
    return Run(CPU, settings=settings, seed=seed, steps=steps)


def examples(*labels: int) -> Examples:
    inputs = np.arange(len(labels), dtype=np.float32).reshape(-1, 1)
    return Examples(inputs, np.array(labels, dtype=np.int64))


def test_auc_by_hand() -> None:
    positive = np.array([False, False, True, True])
    assert auc(np.array([0.1, 0.2, 0.3, 0.4]), positive) == 1
    assert auc(np.array([0.4, 0.3, 0.2, 0.1]), positive) == 0
    assert auc(np.array([0.1, 0.3, 0.2, 0.4]), positive) == 0.75
    assert auc(np.array([0.5, 0.5, 0.5, 0.5]), positive) == 0.5


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_auc_is_the_share_of_pairs_in_order(pairs: list[tuple[int, bool]]) -> None:
    for_, against = [s for s, p in pairs if p], [s for s, p in pairs if not p]
    if for_ and against:
        won = sum((a > b) + (a == b) / 2 for a in for_ for b in against)
        scores, positive = np.array([s for s, _ in pairs]), np.array([p for _, p in pairs])
        assert auc(scores, positive) == pytest.approx(won / (len(for_) * len(against)), abs=1e-12)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.floats(0, 1), st.integers(0, 9), st.integers(0, 9))
def test_every_example_is_either_held_or_trained(labels: list[int], share: float, split_seed: int, seed: int) -> None:
    data, given_run = examples(*labels), run(seed=seed, held=share, split_seed=split_seed)
    held = data.held(given_run).inputs.ravel().tolist()
    if len(held) == len(labels):
        with pytest.raises(TaskError, match="held is too high"):
            data.trained(given_run)
        return
    trained = data.trained(given_run).inputs.ravel().tolist()
    assert sorted(held + trained) == list(range(len(labels)))
    for label in set(labels):
        assert sum(labels[int(i)] == label for i in held) == round(share * labels.count(label))
    other_run = run(seed=seed + 1, held=share, split_seed=split_seed)
    assert data.held(other_run).inputs.ravel().tolist() == held


def test_a_fifth_is_held_unless_the_site_says_otherwise() -> None:
    data = examples(*[0, 1] * 50)
    assert len(data.held(run()).labels) == 20
    assert len(data.held(run(held=1.0)).labels) == 100
    with pytest.raises(TaskError, match=r"\[site\] held = -1"):
        data.held(run(held=-1))


class Zero(torch.nn.Module):
    """Scores nothing above anything, but learns one number per class."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(2))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.bias.expand(len(inputs), 2)


def test_every_class_weighs_the_same_however_rare() -> None:
    model = Zero()
    fit(model, run(steps=1), examples(0, 0, 0, 0, 0, 1), epochs=1, batch=6, lr=1.0)
    assert model.bias.tolist() == pytest.approx([0, 0], abs=1e-7)
    fit(model, run(steps=1), examples(1, 1), epochs=1, batch=2, lr=1.0)
    assert model.bias.tolist() == pytest.approx([-0.5, 0.5])


def test_steps_follow_from_the_run_or_the_settings() -> None:
    counts: list[int] = []

    def train(steps: int | None = None, **settings: Setting) -> int:
        counts.clear()
        watched = Run(CPU, settings=settings, steps=steps, progress=lambda step, total, _: counts.append(total))
        result = fit(Zero(), watched, examples(*[0, 1] * 5), epochs=3, batch=4, lr=0.1)
        assert result.samples == 10
        assert set(counts) == {len(counts)}
        return len(counts)

    assert train() == 9
    assert train(epochs=1) == 3
    assert train(batch=10) == 3
    assert train(steps=7) == 7
    for name in ("epochs", "batch"):
        with pytest.raises(TaskError, match=rf"\[site\] {name} = 0: expected 1 or more"):
            train(**{name: 0})


def test_training_ends_between_steps_when_told() -> None:
    stop, told = threading.Event(), []

    def progress(step: int, total: int, metrics: object) -> None:
        told.append(step)
        if step == 2:
            stop.set()

    fit(Zero(), Run(CPU, stop=stop, progress=progress), examples(0, 1), epochs=50, batch=1, lr=0.1)
    assert told == [1, 2]


def test_judging_by_hand() -> None:
    class Sure(torch.nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return torch.cat([1.5 - inputs, inputs - 1.5], dim=1)

    metrics = judge(Sure(), run(), examples(0, 1, 0, 1))
    losses = [np.log1p(np.exp(-2 * margin)) for margin in (1.5, -0.5, -0.5, 1.5)]
    assert metrics == pytest.approx({"samples": 4, "accuracy": 0.5, "auc": 0.75, "loss": np.mean(losses)}, rel=1e-5)
    assert "auc" not in judge(Sure(), run(), examples(1, 1))
    assert judge(Sure(), run(), examples()) == {"samples": 0}
