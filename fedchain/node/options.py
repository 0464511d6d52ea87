"""What a node is told besides who it is and where everything lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """How a node works; node.toml says the same in its own words (node/settings.py)."""

    verify: Literal["head", "replay"] = "head"
    """Believe a version whose manifest follows from the records, or recompute it first and attest it."""
    evaluate: bool = True
    """Evaluate each new version on data that the site holds back."""
    report: bool = False
    """Put the evaluations on the ledger."""
    seed: int = 0
    """Below 2^32; a training's seed is this one's 32 bits above the training's number."""
    steps: int | None = None
    """Optimiser steps per training; None leaves it to the task."""
    at_least_s: float = 0.0
    """Least seconds per training."""
