from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.backoff import Backoff


def test_waits_double_up_to_the_cap_and_begin_anew_after_a_success() -> None:
    backoff = Backoff(1.0, 5.0, lambda: 1.0)
    assert [backoff.failed() for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    backoff.succeeded()
    assert backoff.failed() == 1.0


def test_half_of_a_wait_is_jitter() -> None:
    draws = iter([0.0, 0.5, 0.75])
    backoff = Backoff(8.0, 100.0, lambda: next(draws), factor=1.0)
    assert [backoff.failed() for _ in range(3)] == [4.0, 6.0, 7.0]


@given(
    st.floats(1e-3, 10), st.floats(1, 100), st.floats(1, 10), st.floats(0, 1, exclude_max=True), st.integers(1, 2000)
)
def test_a_wait_is_never_above_the_cap_nor_below_half_of_the_base(
    base: float, above: float, factor: float, draw: float, failures: int
) -> None:
    cap = base * above
    backoff = Backoff(base, cap, lambda: draw, factor)
    for _ in range(failures):
        wait = backoff.failed()
    assert base / 2 <= wait <= cap
