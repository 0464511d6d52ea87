"""Which digit is this? A small convolutional network on scans of 8 x 8 pixels.

[site] data names an .npz file in the site's folder with `images` (n, 8, 8), grey from 0 to 16, and `labels`
(n,), 0 to 9. Further settings: see classify.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from fedchain.core.errors import TaskError
from fedchain.training.examples.classify import Examples, fit, judge
from fedchain.training.task import Fit, Run

SIDE: Final = 8
GREYS: Final = 16
CLASSES: Final = 10


class Digits:
    """0 to 9, from a scan."""

    def model(self) -> torch.nn.Module:
        """Build two convolutions, each with pooling, and a linear layer: 6,090 parameters."""
        return torch.nn.Sequential(
            torch.nn.Conv2d(1, 16, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.MaxPool2d(2),
            torch.nn.Conv2d(16, 32, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.MaxPool2d(2),
            torch.nn.Flatten(),
            torch.nn.Linear(32 * 2 * 2, CLASSES),
        )

    def train(self, model: torch.nn.Module, run: Run) -> Fit:
        """Train on the scans that are not held back."""
        return fit(model, run, read_scans(run.file("data")).trained(run), epochs=3, batch=16, lr=0.2)

    def evaluate(self, model: torch.nn.Module, run: Run) -> dict[str, float]:
        """Evaluate on the scans that are held back."""
        return judge(model, run, read_scans(run.file("data")).held(run))


def read_scans(path: Path) -> Examples:
    """Read scans, grey scaled to 0..1, as (n, 1, 8, 8); raises TaskError with file, array and value."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            images, labels = np.asarray(file["images"]), np.asarray(file["labels"])
    except (OSError, EOFError, ValueError, KeyError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise TaskError(f"{path} is not an .npz file with arrays images and labels: {error}") from error
    count = len(labels) if labels.ndim else 0
    if not count or labels.ndim != 1 or images.shape != (count, SIDE, SIDE):
        raise TaskError(
            f"{path}: images {images.shape} and labels {labels.shape} do not match: "
            f"expected (n, {SIDE}, {SIDE}) and (n,), n at least 1"
        )
    _refuse_outside(path, "images", images, GREYS)
    _refuse_outside(path, "labels", labels, CLASSES - 1)
    scaled = (images / GREYS).astype(np.float32)[:, np.newaxis]
    return Examples(scaled, labels.astype(np.int64))


def _refuse_outside(path: Path, name: str, values: NDArray[Any], top: int) -> None:
    if not np.issubdtype(values.dtype, np.integer):
        raise TaskError(f"{path}: {name} are {values.dtype}: expected whole numbers from 0 to {top}")
    outside = np.argwhere((values < 0) | (values > top))
    if len(outside):
        first = tuple(int(i) for i in outside[0])
        raise TaskError(f"{path}: {name}{list(first)} is {values[first]}: expected 0 to {top}")
