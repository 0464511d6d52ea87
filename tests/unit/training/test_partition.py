from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedchain.core.errors import ConfigError
from fedchain.training.examples.baselines import baseline, judge_all
from fedchain.training.examples.digits import read_scans
from fedchain.training.examples.partition import EXAMPLES, Files, deal, write_parts
from fedchain.training.examples.wdbc import read_patients
from fedchain.training.task import load_task
from fedchain.training.trainer import Options, Trainer

ONE_THREAD = Options("cpu", threads=1)
READERS = {"wdbc": read_patients, "digits": read_scans}


def write(example: str, folder: Path, sites: int = 4, seed: int = 0) -> Files:
    return write_parts(example, [folder / f"site-{i}" for i in range(sites)], folder / "apart", seed)


@given(
    st.lists(st.integers(10, 80), min_size=1, max_size=6),
    st.integers(1, 5),
    st.integers(0, 2**32),
    st.floats(1, 50),
)
def test_every_example_is_dealt_once(counts: list[int], sites: int, seed: int, affinity: float) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    try:
        parts = deal(labels, sites, seed, affinity)
    except ConfigError:
        return
    dealt = np.concatenate([*parts.sites, parts.holdout])
    assert sorted(dealt.tolist()) == list(range(len(labels)))
    for label, count in enumerate(counts):
        assert (labels[parts.holdout] == label).sum() == round(0.3 * count)
    again = deal(labels, sites, seed, affinity)
    assert all((one == other).all() for one, other in zip(parts.sites, again.sites, strict=True))
    assert (parts.holdout == again.holdout).all()


@settings(max_examples=20)
@given(st.integers(0, 2**32))
def test_hospitals_see_mostly_one_diagnosis_and_grow_as_one_to_four(seed: int) -> None:
    malignant = np.repeat([0, 1], [212, 357]) == 0
    parts = deal(malignant.astype(int), 4, seed, EXAMPLES["wdbc"].affinity)
    assert [len(rows) for rows in parts.sites] == [37, 83, 109, 169]
    shares = [float(malignant[rows].mean()) for rows in parts.sites]
    assert all(share > 0.9 for share in shares[::2])
    assert all(share < 0.1 for share in shares[1::2])


def test_two_seeds_deal_differently() -> None:
    labels = np.repeat([0, 1], 100)
    assert (deal(labels, 2, 1, 10).sites[0] != deal(labels, 2, 2, 10).sites[0]).any()


def test_too_many_sites_are_refused() -> None:
    with pytest.raises(ConfigError, match="12 sites are too many: the smallest would get 4 of 569 examples"):
        deal(np.repeat([0, 1], [212, 357]), 12, 0, 15)


@pytest.mark.parametrize("example", ["wdbc", "digits"])
def test_files_hold_the_parts_and_are_the_same_for_the_same_seed(example: str, tmp_path: Path) -> None:
    files = write(example, tmp_path / "one")
    every = [*files.sites, files.pooled, files.holdout]
    assert sorted(path for path in (tmp_path / "one").rglob("*") if path.is_file()) == sorted(every)
    assert [path.name for path in files.sites] == [EXAMPLES[example].file] * 4
    read = READERS[example]
    sizes = [len(read(path).labels) for path in every]
    assert sum(sizes[:4]) == sizes[4]
    assert sizes[4] + sizes[5] == {"wdbc": 569, "digits": 1797}[example]
    again = write(example, tmp_path / "two")
    for one, other in zip(every, [*again.sites, again.pooled, again.holdout], strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert write(example, tmp_path / "two", seed=1).holdout.read_bytes() != files.holdout.read_bytes()


def test_without_scikit_learn_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ConfigError, match=r"pip install 'fedchain\[demo\]'"):
        write("wdbc", tmp_path)


async def test_together_is_better_than_alone(tmp_path: Path) -> None:
    """Twelve rounds of plain averaging, no staleness: the federation itself is tested elsewhere."""
    example = EXAMPLES["wdbc"]
    task, files = load_task(example.task), write("wdbc", tmp_path, seed=1)
    trainers = [Trainer(task, path.parent, {"data": path.name}, ONE_THREAD) for path in files.sites]
    model = await trainers[0].genesis(1)
    for number in range(12):
        trained = [(await trainer.train(model, number)).arrays for trainer in trainers]
        model = {name: np.mean([arrays[name] for arrays in trained], axis=0) for name in model}
    for trainer in trainers:
        trainer.close()

    async def accuracy(data: Path) -> float:
        metrics = await baseline(task, data, files.holdout, seed=1, steps=500, options=ONE_THREAD)
        return metrics["accuracy"]

    together = (await judge_all(task, model, files.holdout, ONE_THREAD))["accuracy"]
    alone = [await accuracy(path) for path in files.sites]
    assert together >= await accuracy(files.pooled) - 0.02
    assert together >= np.mean(alone) + 0.05


async def test_a_judgement_is_on_every_example(tmp_path: Path) -> None:
    task, files = load_task(EXAMPLES["digits"].task), write("digits", tmp_path)
    with closing(Trainer(task, options=ONE_THREAD)) as trainer:
        genesis = await trainer.genesis(0)
    metrics = await judge_all(task, genesis, files.holdout, ONE_THREAD)
    assert metrics["samples"] == 539
    assert set(metrics) == {"samples", "accuracy", "auc", "loss"}
    trained = await baseline(task, files.sites[0], files.holdout, seed=0, steps=60, options=ONE_THREAD)
    assert trained["accuracy"] > metrics["accuracy"]
