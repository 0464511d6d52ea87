"""Is a breast mass benign or malignant? Logistic regression on thirty measurements of cell nuclei.

[site] data names a CSV file in the site's folder: a header with the names in RANGES and `diagnosis`, one line
for each patient; columns of other names are left alone. Further settings: see classify.
"""

from __future__ import annotations

import csv
from math import isfinite
from pathlib import Path
from typing import Final

import numpy as np
import torch

from fedchain.core.errors import TaskError
from fedchain.training.examples.classify import Examples, fit, judge
from fedchain.training.task import Fit, Run

DIAGNOSES: Final = ("benign", "malignant")
"""The classes 0 and 1."""

RANGES: Final = {
    "mean radius": (6.981, 28.11),
    "mean texture": (9.71, 39.28),
    "mean perimeter": (43.79, 188.5),
    "mean area": (143.5, 2501.0),
    "mean smoothness": (0.053, 0.163),
    "mean compactness": (0.019, 0.345),
    "mean concavity": (0.0, 0.427),
    "mean concave points": (0.0, 0.201),
    "mean symmetry": (0.106, 0.304),
    "mean fractal dimension": (0.05, 0.097),
    "radius error": (0.112, 2.873),
    "texture error": (0.36, 4.885),
    "perimeter error": (0.757, 21.98),
    "area error": (6.802, 542.2),
    "smoothness error": (0.002, 0.031),
    "compactness error": (0.002, 0.135),
    "concavity error": (0.0, 0.396),
    "concave points error": (0.0, 0.053),
    "symmetry error": (0.008, 0.079),
    "fractal dimension error": (0.001, 0.03),
    "worst radius": (7.93, 36.04),
    "worst texture": (12.02, 49.54),
    "worst perimeter": (50.41, 251.2),
    "worst area": (185.2, 4254.0),
    "worst smoothness": (0.071, 0.223),
    "worst compactness": (0.027, 1.058),
    "worst concavity": (0.0, 1.252),
    "worst concave points": (0.0, 0.291),
    "worst symmetry": (0.156, 0.664),
    "worst fractal dimension": (0.055, 0.208),
}
"""Smallest and largest value of each feature, as the data set's own documentation prints them.

Source: scikit-learn, "Breast cancer Wisconsin (diagnostic) dataset", table Summary Statistics (`DESCR` of
load_breast_cancer; "standard error" there is "error" here). Public constants, so that scaling needs no
statistics of any site's patients.
"""

_LOW, _HIGH = np.array(list(RANGES.values())).T


class BreastCancer:
    """Benign or malignant, from a table of patients."""

    def model(self) -> torch.nn.Module:
        """Build logistic regression: one linear layer from 30 features to 2 classes."""
        return torch.nn.Linear(len(RANGES), len(DIAGNOSES))

    def train(self, model: torch.nn.Module, run: Run) -> Fit:
        """Train on the patients that are not held back."""
        return fit(model, run, read_patients(run.file("data")).trained(run), epochs=8, batch=16, lr=0.25)

    def evaluate(self, model: torch.nn.Module, run: Run) -> dict[str, float]:
        """Evaluate on the patients that are held back."""
        return judge(model, run, read_patients(run.file("data")).held(run))


def read_patients(path: Path) -> Examples:
    """Read a table of patients, features scaled; raises TaskError with file, line, column and value.

    A feature x becomes 4 · (x - low) / (high - low) - 1: sizes are skewed, most lie in the lower half of the
    range, and so most inputs near 0.
    """
    features: list[list[float]] = []
    labels: list[int] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file, strict=True)
            missing = [name for name in (*RANGES, "diagnosis") if name not in (table.fieldnames or ())]
            if missing:
                raise TaskError(f"{path}, line 1: the header lacks the column {', '.join(missing)}")
            for row in table:
                where = f"{path}, line {table.line_num}"
                features.append([_number(where, name, row[name]) for name in RANGES])
                labels.append(_diagnosis(where, row["diagnosis"]))
    except (csv.Error, UnicodeDecodeError) as error:
        raise TaskError(f"{path} is not a CSV file in UTF-8: {error}") from error
    if not labels:
        raise TaskError(f"{path} has a header but no patients")
    scaled = 4 * (np.array(features) - _LOW) / (_HIGH - _LOW) - 1
    return Examples(scaled.astype(np.float32), np.array(labels, dtype=np.int64))


def _number(where: str, column: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        low, high = RANGES[column]
        raise TaskError(f"{where}, column {column}: {text!r} is not a number; {low} to {high} is usual")
    return value


def _diagnosis(where: str, text: str | None) -> int:
    if text not in DIAGNOSES:
        raise TaskError(f"{where}, column diagnosis: {text!r} is not one of {', '.join(DIAGNOSES)}")
    return DIAGNOSES.index(text)
