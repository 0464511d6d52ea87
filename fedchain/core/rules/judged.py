"""A judged update: what records and content say of one update, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fedchain.core.ledger.content import Content
from fedchain.core.ledger.records import Address, Seq, Version


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
    """No peer had the content: the one fact that records do not hold."""
    MALFORMED = "malformed"
    """The content is not an update of this site to this base in the model's layout."""
    OUT_OF_RANGE = "out_of_range"
    """A change beyond the policy's max_change."""
    NORM_BOUND = "norm_bound"
    """The whole change is longer than the policy's max_norm."""


BY_CONTENT: Final = frozenset({Decision.UNAVAILABLE, Decision.MALFORMED, Decision.OUT_OF_RANGE, Decision.NORM_BOUND})
"""Rejections that rest on what a content is, not on records."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found in an update's content."""

    failure: Decision | None
    """UNAVAILABLE or MALFORMED; None where the content is an update."""
    max_abs: int | None = None
    """Largest |q|, scaled to units of 2^-30 so that tensors with different bits compare; None on failure."""
    norm2: int | None = None
    """Σ q² scaled to units of 2^-60; None on failure."""


@dataclass(frozen=True, slots=True)
class JudgedUpdate:
    """One update of a buffer."""

    seq: Seq
    site: Address
    content: Content
    base: Version
    samples: int
    decision: Decision
    staleness: int | None
    """τ; None where the base is unknown."""
    inspection: Inspection | None
    """None where the records already decided."""
