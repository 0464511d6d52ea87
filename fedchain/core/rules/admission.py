"""Admission: the rules that an update must pass to be merged, in their order (DESIGN 6).

Each rule has a reason code; the first one that fails decides. The codes stand in manifests: they never change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Final

from fedchain.core.formats.layout import MAX_BITS
from fedchain.core.rules.policy import AdmissionRules

NORM2_BITS: Final = 2 * MAX_BITS
"""Squared norms are whole numbers of 2^-60, so that every layout's b ≤ 30 gives an integer."""


class Decision(StrEnum):
    """What becomes of an update: merged, or rejected by the rule of this name."""

    MERGED = "merged"
    NOT_TRAINER = "not_trainer"
    """The site had no TRAINER role at the update's seq."""
    UNKNOWN_BASE = "unknown_base"
    """The base was not published before the update."""
    TOO_STALE = "too_stale"
    """τ is above the policy's max_staleness."""
    OVER_QUOTA = "over_quota"
    """The site has its per_site updates in this buffer."""
    PRIVACY_BUDGET = "privacy_budget"
    """The site has its updates_per_site in the federation."""
    DUPLICATE = "duplicate"
    """A content that was admitted before."""
    UNAVAILABLE = "unavailable"
    """Nobody gave the content: the one fact that records do not hold."""
    MALFORMED = "malformed"
    """The content is not an update of this site to this base in the model's layout."""
    OUT_OF_RANGE = "out_of_range"
    """A change beyond the policy's max_change."""
    NORM_BOUND = "norm_bound"
    """The whole change is longer than the policy's max_norm."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found in an update's content."""

    failure: Decision | None
    """UNAVAILABLE or MALFORMED; None where the content is an update."""
    max_abs: int | None = None
    """Largest |q|, scaled to MAX_BITS fraction bits so that tensors with different bits compare."""
    norm2: int | None = None
    """Σ q² scaled to units of 2^-60; None where no policy asked for it."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the records say of an update when its turn comes."""

    is_trainer: bool
    base_known: bool
    staleness: int
    admitted_in_buffer: int
    """Updates of its site admitted into the open buffer so far."""
    admitted_ever: int
    """Updates of its site admitted so far."""
    is_duplicate: bool


def judge_records(candidate: Candidate, rules: AdmissionRules, per_site: int) -> Decision | None:
    """Apply the rules that records decide; returns None when the content has to be inspected."""
    budget = rules.updates_per_site
    checks: tuple[tuple[Decision, bool], ...] = (
        (Decision.NOT_TRAINER, candidate.is_trainer),
        (Decision.UNKNOWN_BASE, candidate.base_known),
        (Decision.TOO_STALE, candidate.staleness <= rules.max_staleness),
        (Decision.OVER_QUOTA, candidate.admitted_in_buffer < per_site),
        (Decision.PRIVACY_BUDGET, budget is None or candidate.admitted_ever < budget),
        (Decision.DUPLICATE, not candidate.is_duplicate),
    )
    return next((decision for decision, holds in checks if not holds), None)


def judge_content(found: Inspection, rules: AdmissionRules) -> Decision:
    """Apply the rules that the content decides. Bounds are compared as exact rationals."""
    if found.failure is not None:
        return found.failure
    checks: tuple[tuple[Decision, Callable[[], bool]], ...] = (
        (Decision.OUT_OF_RANGE, lambda: _within(found.max_abs, rules.max_change, MAX_BITS, power=1)),
        (Decision.NORM_BOUND, lambda: _within(found.norm2, rules.max_norm, NORM2_BITS, power=2)),
    )
    return next((decision for decision, holds in checks if not holds()), Decision.MERGED)


def _within(value: int | None, bound: float | None, bits: int, power: int) -> bool:
    return bound is None or (value is not None and value <= Fraction(bound) ** power * 2**bits)
