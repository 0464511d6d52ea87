"""Deals a public data set out to sites that differ in what they see and in how much: a hard case on purpose.

First 30 % of each class go to a hold-out that no site ever has. The rest is dealt whole, every example to
exactly one site: site i of n (from 0) draws with weight i + 1, and `affinity` times that for the classes it
specialises in, which is every class c with c mod n = i mod C (of C classes, the rarest first). With the
defaults four hospitals get breast-cancer patients in about 1 : 2 : 3 : 4, of whom more than nine in ten share
one diagnosis, malignant and benign in turn. Every site keeps a fifth of its own examples for evaluation.
"""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedchain.core.errors import ConfigError
from fedchain.training.examples.digits import SIDE
from fedchain.training.examples.wdbc import RANGES

HOLDOUT: Final = 0.3
"""Share of each class that no site has."""

LEAST: Final = 5
"""Fewest examples that a site may get."""


@dataclass(frozen=True, slots=True)
class Example:
    """An example task with its data."""

    task: str
    """For `task` in node.toml."""
    file: str
    """Name of a site's data file, for [site] data."""
    affinity: float
    """How much more readily a site draws the classes it specialises in."""
    baseline_steps: int
    """Optimiser steps of a baseline (see baselines): more than a federation of 20 versions takes in all."""


EXAMPLES: Final = {
    "wdbc": Example("fedchain.training.examples.wdbc:BreastCancer", "patients.csv", 15.0, 3_000),
    "digits": Example("fedchain.training.examples.digits:Digits", "scans.npz", 12.0, 2_000),
}


@dataclass(frozen=True, slots=True)
class Parts:
    """Row numbers of a data set: those of each site, and those held out."""

    sites: tuple[NDArray[np.intp], ...]
    holdout: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Files:
    """Where the parts lie."""

    sites: tuple[Path, ...]
    pooled: Path
    """All sites' examples together, for the baseline that federated learning makes unnecessary."""
    holdout: Path


def deal(labels: NDArray[Any], sites: int, seed: int, affinity: float) -> Parts:
    """Deal examples out by their labels, the same for the same seed; raises ConfigError on too many sites."""
    draw = np.random.default_rng(seed)
    weights = np.arange(1, sites + 1, dtype=np.float64)
    classes, counts = np.unique(labels, return_counts=True)
    dealt: list[list[NDArray[np.intp]]] = [[] for _ in range(sites)]
    holdout: list[NDArray[np.intp]] = []
    for rank, label in enumerate(classes[np.argsort(counts, kind="stable")]):
        rows = draw.permutation(np.flatnonzero(labels == label))
        out, rest = np.split(rows, [round(HOLDOUT * len(rows))])
        holdout.append(out)
        special = np.arange(sites) % len(classes) == rank % sites
        pull = np.where(special, affinity * weights, weights)
        cuts = np.rint(np.cumsum(pull) / pull.sum() * len(rest)).astype(np.intp)[:-1]
        for mine, part in zip(dealt, np.split(rest, cuts), strict=True):
            mine.append(part)
    parts = tuple(np.sort(np.concatenate(mine)) for mine in dealt)
    fewest = min(map(len, parts))
    if fewest < LEAST:
        raise ConfigError(f"{sites} sites are too many: the smallest would get {fewest} of {len(labels)} examples")
    return Parts(parts, np.sort(np.concatenate(holdout)))


def write_parts(example: str, sites: Sequence[Path], apart: Path, seed: int = 0) -> Files:
    """Write each site's data file into its folder, and pooled data and hold-out into the folder `apart`.

    Raises ConfigError when scikit-learn is missing or the sites are too many.
    """
    chosen = EXAMPLES[example]
    data = _load(example)
    parts = deal(data.target, len(sites), seed, chosen.affinity)
    write = _scans if example == "digits" else _patients
    files = Files(
        tuple(folder / chosen.file for folder in sites),
        apart / f"pooled-{chosen.file}",
        apart / f"holdout-{chosen.file}",
    )
    for path, rows in zip(files.sites, parts.sites, strict=True):
        _write(path, write(data, rows))
    _write(files.pooled, write(data, np.sort(np.concatenate(parts.sites))))
    _write(files.holdout, write(data, parts.holdout))
    return files


def _load(example: str) -> Any:
    datasets = _sklearn_datasets()
    return datasets.load_digits() if example == "digits" else datasets.load_breast_cancer()


def _sklearn_datasets() -> ModuleType:
    try:
        return import_module("sklearn.datasets")
    except ModuleNotFoundError as error:
        raise ConfigError("the example data is scikit-learn's: pip install 'fedchain[demo]'") from error


def _patients(data: Any, rows: NDArray[np.intp]) -> bytes:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow((*RANGES, "diagnosis"))
    order = [list(data.feature_names).index(name) for name in RANGES]
    for row in rows:
        table.writerow((*data.data[row, order].tolist(), data.target_names[data.target[row]]))
    return text.getvalue().encode()


def _scans(data: Any, rows: NDArray[np.intp]) -> bytes:
    images = data.data[rows].reshape(-1, SIDE, SIDE).astype(np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, images=images, labels=data.target[rows].astype(np.uint8))
    return buffer.getvalue()


def _write(path: Path, content: bytes) -> None:
    """Put a file in place whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
