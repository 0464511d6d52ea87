"""What the example tasks share: a site's own split, a plain training loop, and the usual metrics.

[site] settings: `epochs`, `batch`, `lr`, and `held`, the share of the site's examples that it keeps for
evaluation. Which examples those are follows from `split_seed` alone, so that no training ever sees them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from fedchain.core.errors import TaskError
from fedchain.training.task import Fit, Run

HELD: Final = 0.2


@dataclass(frozen=True, slots=True)
class Examples:
    """Inputs with the class of each."""

    inputs: NDArray[np.float32]
    labels: NDArray[np.int64]

    def held(self, run: Run) -> Examples:
        """Return the examples that the site keeps for evaluation."""
        return self._only(_held(self.labels, run))

    def trained(self, run: Run) -> Examples:
        """Return the examples that the site trains on; raises TaskError when none are left."""
        examples = self._only(~_held(self.labels, run))
        if not len(examples.labels):
            raise TaskError(f"none of {len(self.labels)} examples are left for training: [site] held is too high")
        return examples

    def on(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Return inputs and labels as tensors on a device."""
        return torch.tensor(self.inputs, device=device), torch.tensor(self.labels, device=device)

    def _only(self, rows: NDArray[np.bool_]) -> Examples:
        return Examples(self.inputs[rows], self.labels[rows])


def fit(model: torch.nn.Module, run: Run, examples: Examples, *, epochs: int, batch: int, lr: float) -> Fit:
    """Train with SGD on cross entropy in which every class weighs the same, for run.steps or the epochs.

    An example of class c weighs n / (C · n_c), n_c being the site's examples of c and C the classes it has:
    sites whose classes differ then pull the shared model less far apart. The arguments are the defaults of the
    settings.
    """
    inputs, labels = examples.on(run.device)
    batch, lr = run.setting("batch", batch, least=1), run.setting("lr", lr, least=0.0)
    steps = run.steps
    if steps is None:
        steps = run.setting("epochs", epochs, least=1) * -(-len(labels) // batch)
    weights = _weights(examples.labels).to(run.device)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    losses = 0.0
    for step, rows in enumerate(islice(_batches(len(labels), batch, run.seed), steps), start=1):
        if run.stop.is_set():
            break
        optimizer.zero_grad()
        each = cross_entropy(model(inputs[rows]), labels[rows], reduction="none")
        loss = (each * weights[rows]).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses += loss.item()
        run.progress(step, steps, {"loss": losses / step})
    return Fit(len(labels), {"loss": losses / steps})


def judge(model: torch.nn.Module, run: Run, examples: Examples) -> dict[str, float]:
    """Return samples, accuracy, loss, and auc, the mean over classes of one against the rest.

    auc is left out where every example is of one class, everything but samples where there is no example.
    """
    if not len(examples.labels):
        return {"samples": 0.0}
    inputs, labels = examples.on(run.device)
    logits = model(inputs).float()
    shares = torch.softmax(logits, dim=1).cpu().numpy()
    metrics = {
        "samples": float(len(labels)),
        "accuracy": float((logits.argmax(dim=1) == labels).float().mean()),
        "loss": float(cross_entropy(logits, labels)),
    }
    present = np.unique(examples.labels)
    if len(present) > 1:
        metrics["auc"] = float(np.mean([auc(shares[:, c], examples.labels == c) for c in present]))
    return metrics


def auc(scores: NDArray[Any], positive: NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve: the chance that a positive scores above a negative, ties half.

    Exact, from mid-ranks r: (Σ_positive r - P(P + 1)/2) / (P · N) (Hanley and McNeil 1982; Mann-Whitney U).
    Needs a positive and a negative.
    """
    _, where, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[where]
    positives = int(positive.sum())
    above = ranks[positive].sum() - positives * (positives + 1) / 2
    return float(above / (positives * (len(positive) - positives)))


def _held(labels: NDArray[np.int64], run: Run) -> NDArray[np.bool_]:
    """Choose the share `held` of each class."""
    share = run.setting("held", HELD, least=0.0)
    draw = np.random.default_rng(run.setting("split_seed", 0, least=0))
    held = np.zeros(len(labels), dtype=np.bool_)
    for label in np.unique(labels):
        rows = draw.permutation(np.flatnonzero(labels == label))
        held[rows[: round(share * len(rows))]] = True
    return held


def _weights(labels: NDArray[np.int64]) -> torch.Tensor:
    classes, where, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return torch.tensor((len(labels) / (len(classes) * counts))[where], dtype=torch.float32)


def _batches(count: int, size: int, seed: int) -> Iterator[torch.Tensor]:
    """Yield batches of row numbers, epoch after epoch, each epoch in a new order."""
    shuffle = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(count, generator=shuffle)
        yield from (order[start : start + size] for start in range(0, count, size))
