"""Admission: the rules that an update must pass to be merged, in their order (DESIGN 6).

Each rule has a reason code; the first one that fails decides. The codes stand in manifests: they never change.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from fedchain.core.formats.layout import MAX_BITS
from fedchain.core.rules.judged import Decision, Inspection
from fedchain.core.rules.policy import AdmissionRules

NORM2_BITS: Final = 2 * MAX_BITS
"""Squared norms are whole numbers of 2^-60, so that every layout's b ≤ 30 gives an integer."""


def judge_records(
    rules: AdmissionRules,
    per_site: int,
    *,
    is_trainer: bool,
    staleness: int | None,
    in_buffer: int,
    ever: int,
    is_duplicate: bool,
) -> Decision | None:
    """Apply the rules that records decide; returns None when the content has to be inspected.

    `staleness` is None where the base is unknown; `in_buffer` and `ever` count the site's updates admitted so far.
    """
    if not is_trainer:
        return Decision.NOT_TRAINER
    if staleness is None:
        return Decision.UNKNOWN_BASE
    if staleness > rules.max_staleness:
        return Decision.TOO_STALE
    if in_buffer >= per_site:
        return Decision.OVER_QUOTA
    if rules.updates_per_site is not None and ever >= rules.updates_per_site:
        return Decision.PRIVACY_BUDGET
    return Decision.DUPLICATE if is_duplicate else None


def judge_content(found: Inspection, rules: AdmissionRules) -> Decision:
    """Apply the rules that the content decides. Bounds are compared as exact rationals."""
    if found.failure is not None:
        return found.failure
    if not _within(found.max_abs, rules.max_change, MAX_BITS, power=1):
        return Decision.OUT_OF_RANGE
    if not _within(found.norm2, rules.max_norm, NORM2_BITS, power=2):
        return Decision.NORM_BOUND
    return Decision.MERGED


def _within(value: int | None, bound: float | None, bits: int, power: int) -> bool:
    return bound is None or (value is not None and value <= Fraction(bound) ** power * 2**bits)
