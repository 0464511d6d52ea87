from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.errors import FormatError
from fedchain.core.updates.fixed_point import BLOCK, Q_LIMIT, encode

floats = st.floats(-100, 100, width=32)


def f32(*values: float) -> Any:
    return np.array(values, np.float32)


def test_a_change_by_hand() -> None:
    q = encode(f32(1.5, 1, -0.25), f32(1, 1, 0), 24)
    assert q.dtype == np.int32
    assert q.tolist() == [2**23, 0, -(2**22)]


@pytest.mark.parametrize(
    ("change", "q"),
    [(0.5, 0), (1.5, 2), (2.5, 2), (-0.5, 0), (-1.5, -2), (-2.5, -2), (0.75, 1), (0.25, 0), (-0.75, -1)],
)
def test_ties_go_to_even(change: float, q: int) -> None:
    assert encode(f32(change * 2.0**-24), f32(0), 24).tolist() == [q]


@given(st.lists(st.tuples(floats, floats), min_size=1, max_size=20), st.integers(1, 30))
def test_q_is_the_nearest_integer_of_the_exact_change(pairs: list[tuple[float, float]], bits: int) -> None:
    exact = [(Fraction(new) - Fraction(base)) * 2**bits for new, base in pairs]
    # Python rounds a Fraction half to even. The one rounding before that, new - base in float64, is exact for
    # changes that are not far below their operands.
    expected = [round(Fraction(float(Fraction(new) - Fraction(base))) * 2**bits) for new, base in pairs]
    new, base = (f32(*column) for column in zip(*pairs, strict=True))
    if max(map(abs, expected)) > Q_LIMIT:
        with pytest.raises(FormatError, match="does not fit int32"):
            encode(new, base, bits)
    else:
        q = encode(new, base, bits)
        assert q.tolist() == expected
        assert all(
            abs(Fraction(int(one)) - want) <= Fraction(1, 2) + abs(want) / 2**52
            for one, want in zip(q, exact, strict=True)
        )


@given(st.lists(st.integers(-(2**24), 2**24), min_size=1, max_size=20), st.integers(1, 24))
def test_changes_on_the_grid_come_back_bit_for_bit(values: list[int], bits: int) -> None:
    base = np.zeros(len(values), np.float32)
    change = np.array(values, np.float32) * np.float32(2.0**-bits)
    q = encode(change, base, bits)
    assert np.array_equal((q * 2.0**-bits).astype(np.float32), change)


@pytest.mark.parametrize("bits", [1, 24, 30])
def test_the_range_is_symmetric_and_its_ends_are_in_it(bits: int) -> None:
    unit = 2.0**-bits
    largest = np.float32((2**31 - 128) * unit)  # the largest float32 below 2^31 units
    assert encode(f32(largest, -largest), f32(0, 0), bits).tolist() == [2**31 - 128, -(2**31 - 128)]
    assert encode(f32(2**30 * unit), f32(np.float32(-(2**30 - 64) * unit)), bits).tolist() == [2**31 - 64]
    for out in (2.0**31 * unit, -(2.0**31) * unit):
        with pytest.raises(FormatError, match=f"with {bits} fraction bits"):
            encode(f32(out), f32(0), bits)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38])
@pytest.mark.parametrize("at", [0, BLOCK - 1, BLOCK, 2 * BLOCK + 4])
def test_what_is_not_finite_or_too_large_is_found_wherever_it_is(value: float, at: int) -> None:
    new = np.zeros(2 * BLOCK + 5, np.float32)
    new[at] = value
    with pytest.raises(FormatError, match="does not fit int32 with 24 fraction bits"):
        encode(new, np.zeros_like(new), 24)


def test_the_difference_of_infinities_is_an_error_and_not_a_warning() -> None:
    with pytest.raises(FormatError, match="does not fit int32"):
        encode(f32(np.inf), f32(np.inf), 24)


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1])
def test_sizes_across_blocks(size: int) -> None:
    new = np.arange(size, dtype=np.float32)
    assert np.array_equal(encode(new, np.ones_like(new), 8), (np.arange(size) - 1) * 256)


def test_arrays_may_be_of_any_order() -> None:
    new = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert np.array_equal(encode(new.T, np.zeros((4, 3), np.float32), 4), new.T.ravel() * 16)
