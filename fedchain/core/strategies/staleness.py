"""Staleness functions, in integers: s(τ) scaled by 2^16 and rounded down.

A fresh update has τ = 0 and s(0) = 1. MergeInputs: FedAsync (Xie, Koyejo, Gupta 2019, section 5.2: constant,
hinge, polynomial), FedBuff (Nguyen et al. 2022, section 3.1: 1/√(1+τ)).
"""

from __future__ import annotations

from math import isqrt
from typing import Annotated, Final, Literal

from pydantic import Field

from fedchain.core.formats.document import Document

ONE: Final = 1 << 16
"""The weight of a fresh update: s = 1."""


class Constant(Document):
    """s(τ) = 1."""

    function: Literal["constant"] = "constant"

    def weight(self, staleness: int) -> int:
        """Return ⌊2^16 · s(τ)⌋."""
        del staleness
        return ONE


class Hinge(Document):
    """s(τ) = 1 up to τ = b, then 1 / (a(τ - b) + 1)."""

    function: Literal["hinge"]
    a: Annotated[int, Field(ge=1, le=ONE)]
    b: Annotated[int, Field(ge=0, le=ONE)]

    def weight(self, staleness: int) -> int:
        """Return ⌊2^16 · s(τ)⌋."""
        return ONE // (self.a * max(0, staleness - self.b) + 1)


class Polynomial(Document):
    """s(τ) = (1 + τ)^-exponent, with exponent ½, 1 or 2."""

    function: Literal["polynomial"]
    exponent: Literal["1/2", "1", "2"]

    def weight(self, staleness: int) -> int:
        """Return ⌊2^16 · s(τ)⌋; for ½ by integer square root: ⌊2^16/√n⌋ = isqrt(⌊2^32/n⌋)."""
        n = 1 + staleness
        match self.exponent:
            case "1/2":
                return isqrt(ONE * ONE // n)
            case "1":
                return ONE // n
            case "2":
                return ONE // (n * n)


Staleness = Annotated[Constant | Hinge | Polynomial, Field(discriminator="function")]
"""What a policy's `staleness` may be."""
