from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
from pydantic import TypeAdapter, ValidationError

from fedchain.core.strategies.staleness import ONE, Constant, Hinge, Polynomial, Staleness

TAUS = [*range(2000), 1023, 1024, 65534, 65535, 65536, 10**6, 2**32 - 2, 2**32 - 1, 2**32, 2**52]


def is_floor_of(weight: int, s: Fraction) -> bool:
    return weight <= ONE * s < weight + 1


@pytest.mark.parametrize(
    ("function", "exact"),
    [
        (Constant(), lambda _: Fraction(1)),
        (Hinge(function="hinge", a=1, b=0), lambda tau: Fraction(1, tau + 1)),
        (Hinge(function="hinge", a=10, b=4), lambda tau: Fraction(1, 10 * (tau - 4) + 1) if tau > 4 else Fraction(1)),
        (Polynomial(function="polynomial", exponent="1"), lambda tau: Fraction(1, 1 + tau)),
        (Polynomial(function="polynomial", exponent="2"), lambda tau: Fraction(1, (1 + tau) ** 2)),
    ],
    ids=["constant", "hinge 1 0", "hinge 10 4", "1", "2"],
)
def test_weights_are_the_function_rounded_down(
    function: Constant | Hinge | Polynomial, exact: Callable[[int], Fraction]
) -> None:
    for tau in TAUS:
        assert is_floor_of(function.weight(tau), exact(tau)), tau


def test_the_square_root_is_exact_too() -> None:
    for tau in TAUS:
        weight = Polynomial(function="polynomial", exponent="1/2").weight(tau)
        # w ≤ 2^16/√n < w + 1, squared to stay rational
        assert weight**2 <= Fraction(ONE**2, 1 + tau) < (weight + 1) ** 2, tau


def test_known_weights() -> None:
    def table(function: Constant | Hinge | Polynomial) -> list[int]:
        return [function.weight(tau) for tau in (0, 1, 2, 3, 8)]

    assert table(Constant()) == [65536] * 5
    assert table(Polynomial(function="polynomial", exponent="1/2")) == [65536, 46340, 37837, 32768, 21845]
    assert table(Polynomial(function="polynomial", exponent="1")) == [65536, 32768, 21845, 16384, 7281]
    assert table(Polynomial(function="polynomial", exponent="2")) == [65536, 16384, 7281, 4096, 809]
    assert table(Hinge(function="hinge", a=2, b=1)) == [65536, 65536, 21845, 13107, 4369]


@pytest.mark.parametrize(
    "document",
    [
        {"function": "hinge", "a": 0, "b": 0},
        {"function": "hinge", "a": 1.5, "b": 0},
        {"function": "hinge", "a": 1, "b": -1},
        {"function": "hinge", "a": 1},
        {"function": "polynomial", "exponent": 0.5},
        {"function": "polynomial", "exponent": "3"},
        {"function": "cosine"},
        {"function": "constant", "a": 1},
        {},
    ],
)
def test_other_functions_are_refused(document: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Staleness).validate_python(document)
