from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.strategies.strategy import Gram, is_gram

vectors = st.integers(0, 5).flatmap(
    lambda n: st.lists(st.lists(st.integers(-(2**31), 2**31), min_size=n, max_size=n), max_size=6)
)


@given(vectors)
def test_products_of_vectors_are_a_gram_matrix(rows: list[list[int]]) -> None:
    gram = [[sum(a * b for a, b in zip(one, other, strict=True)) for other in rows] for one in rows]
    assert is_gram(gram, len(rows))
    assert not is_gram(gram, len(rows) + 1)


@pytest.mark.parametrize(
    "rows",
    [
        ((1, 0),),
        ((1,), (0,)),
        ((1, 2), (2, 3)),
        ((1, 0), (1, 1)),
        ((-1, 0), (0, 1)),
        ((0, 1), (1, 5)),
        ((4, 0, 0), (0, 4, 5), (0, 5, 4)),
    ],
)
def test_what_no_vectors_have_as_products(rows: Gram) -> None:
    assert not is_gram(rows, len(rows))
