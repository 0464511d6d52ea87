"""What a strategy is: one rule for turning a buffer of updates into a version.

A strategy is a frozen record of two functions beside its parameters. `weigh` decides integers from what is known of
the updates; `step` is elementwise, block by block. Everything else - policy, help, merge, replay, audit - follows
from the record, so that a new strategy is one file and its line in the registry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from fedchain.core.formats.document import Document
from fedchain.core.rules.judged import JudgedUpdate

Size = int | Literal["all"]
"""K, the updates that close a buffer; "all": as many as there are trainers."""

Gram = Sequence[Sequence[int]]
"""Σ q_i q_j in units of 2^-60, exact: the updates in their order, then the strategy's state vectors that join them."""


def is_gram(rows: Gram, count: int) -> bool:
    """Tell whether rows may be a Gram matrix: square, symmetric, and G_ij² ≤ G_ii G_jj (Cauchy and Schwarz)."""
    if len(rows) != count or any(len(row) != count for row in rows):
        return False
    pairs = [(i, j) for i in range(count) for j in range(i + 1)]
    return all(
        rows[i][j] == rows[j][i] and rows[i][i] >= 0 and rows[i][j] ** 2 <= rows[i][i] * rows[j][j] for i, j in pairs
    )


class Parameters(Document):
    """What a policy says of its strategy; each strategy has a subclass with a name and fields of its own."""

    name: str

    def conflict(self, size: Size) -> str | None:
        """Say why the strategy cannot take buffers of this size; None when it can."""
        del size
        return None


P = TypeVar("P", bound=Parameters)


class Takes(StrEnum):
    """What a strategy is given of the updates."""

    SUMS = "sums"
    """Their exact weighted sums, one for each row of the weights."""
    UPDATES = "updates"
    """Every update's own integers."""


@dataclass(frozen=True, slots=True)
class Cohort:
    """The updates of one version, and what was measured of them."""

    updates: tuple[JudgedUpdate, ...]
    """The merged ones, in ledger order; each has its inspection."""
    gram: Gram | None = None
    """Only for a strategy that asks for it."""


@dataclass(frozen=True, slots=True)
class Weights:
    """The integers of a merge."""

    rows: tuple[tuple[int, ...], ...] = ()
    """w: each row mixes the updates into one vector Σ w_i q_i; a weight is at most 2^16."""
    divisors: tuple[int, ...] = ()
    """W: one for each row."""
    integers: Mapping[str, int] = field(default_factory=dict)
    """Whatever else `step` reads, by name."""


@dataclass(slots=True)
class Block:
    """A run of n neighbouring elements on its way from one version to the next; they share one b."""

    x: NDArray[np.float32]
    """The parent's values, (n,)."""
    sums: NDArray[np.int64]
    """Σ w_i q_i, (rows, n) for a strategy that takes sums, else (0, n): exact, so order and grouping are free."""
    updates: NDArray[np.int32]
    """q, (K, n) for a strategy that takes updates, else (0, n)."""
    bases: NDArray[np.float32]
    """What each update changed, (K, n) for a strategy that needs bases, else (0, n)."""
    state: Mapping[str, NDArray[Any]]
    """The state that the parent left, (n,) each; zeros at the start."""
    bits: int
    """b: an integer q stands for q · 2^-b."""
    scratch: NDArray[np.float64]
    """Room for the result, (n,)."""


Step = tuple[NDArray[np.float32], Mapping[str, NDArray[Any]]]
"""A block of the new model, (n,), and of the new state, (n,) each."""

NO_STATE: Final[Mapping[str, NDArray[Any]]] = {}


@dataclass(frozen=True, slots=True)
class Preset:
    """An algorithm by its name in the literature: parameters, and the buffer that it is known with."""

    summary: str
    """One line with its source."""
    parameters: Parameters
    size: Size
    max_staleness: int


@dataclass(frozen=True, slots=True)
class Strategy(Generic[P]):
    """One rule for turning a buffer into a version."""

    parameters: type[P]
    weigh: Callable[[Cohort, P], Weights]
    """Decide the integers of a merge; raises PlanError."""
    step: Callable[[Block, Weights, P], Step]
    """Compute a block: + - × ÷ √, comparison, selection and sort only, each a separate IEEE operation (DESIGN 4)."""
    presets: Mapping[str, Preset]
    takes: Takes = Takes.SUMS
    needs_bases: bool = False
    needs_gram: bool = False
    state: Mapping[str, str] = field(default_factory=dict)
    """Vectors as long as the model's merged elements that go from version to version: name → F32, I32 or I64."""
    gram_state: tuple[str, ...] = ()
    """I32 state vectors that join the updates in the Gram matrix."""

    @property
    def name(self) -> str:
        """What policies call it."""
        name: str = self.parameters.model_fields["name"].default
        return name
