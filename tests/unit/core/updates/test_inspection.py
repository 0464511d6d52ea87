from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from fedchain.core.errors import Corrupt
from fedchain.core.formats.modelfile import layout_of
from fedchain.core.rules.judged import Decision, Inspection
from fedchain.core.updates.fixed_point import BLOCK
from fedchain.core.updates.inspection import MALFORMED, gram, inspect

Make = Callable[..., Any]
MODEL = {"w": np.zeros(3, np.float32), "v": np.zeros(2, np.float32), "n": np.array(1)}
LAYOUT = layout_of(MODEL, {"v": 10})
Q = {"w": np.array([1, -5, 2], np.int32), "v": np.array([3, -1], np.int32), "n": np.array(4)}


def look(table: Any, data: bytes) -> Inspection:
    return inspect(table.put(data), *table.whose, [table.encoding])


def test_an_update_by_hand(desk: Make) -> None:
    table = desk(LAYOUT)
    # w has 24 fraction bits, v has 10: the largest change is 3 · 2^-10
    norm2 = (1 + 25 + 4) * 2 ** (60 - 48) + (9 + 1) * 2 ** (60 - 20)
    assert look(table, table.write(Q)) == Inspection(None, max_abs=3 << 20, norm2=norm2)


values = st.integers(-(2**31) + 1, 2**31 - 1)


@given(
    arrays_of.arrays(np.int32, st.integers(0, 9), elements=values),
    arrays_of.arrays(np.int32, st.integers(0, 9), elements=values),
    st.integers(1, 30),
)
def test_numbers_are_exact(desk: Make, w: Any, v: Any, bits: int) -> None:
    table = desk(layout_of({"w": w.astype(np.float32), "v": v.astype(np.float32)}, {"v": bits}))
    found = look(table, table.write({"w": w, "v": v}))
    changes = [Fraction(int(q), 2**24) for q in w] + [Fraction(int(q), 2**bits) for q in v]
    assert found.failure is None
    assert found.max_abs == max(map(abs, changes), default=0) * 2**30
    assert found.norm2 == sum(change**2 for change in changes) * 2**60


@pytest.mark.parametrize("size", [BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 17])
def test_the_largest_numbers_of_many_blocks(desk: Make, size: int) -> None:
    table = desk(layout_of({"w": np.zeros(size, np.float32)}, {"w": 1}))
    largest = 2**31 - 1
    q = np.full(size, -largest, np.int32)
    assert look(table, table.write({"w": q})) == Inspection(None, largest << 29, size * largest**2 << 58)
    q = np.zeros(size, np.int32)
    q[-1] = 1
    assert look(table, table.write({"w": q})) == Inspection(None, 1 << 29, 1 << 58)


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_q_without_a_negative_is_malformed(desk: Make, at: int) -> None:
    table = desk(LAYOUT)
    file = table.write(Q)
    place = len(file) - 28 + 4 * at
    for q, failure in [(-(2**31), Decision.MALFORMED), (-(2**31) + 1, None)]:
        data = file[:place] + q.to_bytes(4, "little", signed=True) + file[place + 4 :]
        assert look(table, data).failure is failure


def test_what_is_not_an_update_is_malformed(desk: Make) -> None:
    table, other = desk(LAYOUT), desk(LAYOUT, site="0x" + "02" * 20)
    assert look(table, other.write(Q)) == MALFORMED
    assert look(table, b"") == MALFORMED
    assert look(table, table.write(Q)[:-1]) == MALFORMED


def test_freshest_tensors_are_not_looked_into(desk: Make) -> None:
    table = desk(LAYOUT)
    assert look(table, table.write(Q | {"n": np.array(-(2**63))})) == look(table, table.write(Q))


def test_a_model_with_nothing_to_merge_has_updates_too(desk: Make) -> None:
    table = desk(layout_of({"n": np.array(1), "empty": np.zeros((0, 3), np.float32)}))
    data = table.write({"empty": np.zeros((0, 3), np.int32), "n": np.array(2)})
    assert look(table, data) == Inspection(None, 0, 0)
    assert gram([table.open(data)] * 2, table.layout) == ((0, 0), (0, 0))


# Products


def test_the_gram_matrix_by_hand(desk: Make) -> None:
    table = desk(LAYOUT)
    updates = [table.open(table.write(q)) for q in (Q, Q | {"w": np.array([1, 1, 0], np.int32)})]
    shared = (9 + 1) << (60 - 20)
    assert gram(updates, LAYOUT) == (
        ((30 << 12) + shared, (-4 << 12) + shared),
        ((-4 << 12) + shared, (2 << 12) + shared),
    )
    assert gram([], LAYOUT) == ()


@given(st.lists(arrays_of.arrays(np.int32, (2, 7), elements=values), min_size=1, max_size=4), st.integers(1, 30))
def test_the_gram_matrix_is_exact(desk: Make, some: list[Any], bits: int) -> None:
    zeros = np.zeros(7, np.float32)
    table = desk(layout_of({"w": zeros, "v": zeros}, {"v": bits}))
    updates = [table.open(table.write({"w": one[0], "v": one[1]})) for one in some]
    exact = [[Fraction(int(q), 2**24) for q in one[0]] + [Fraction(int(q), 2**bits) for q in one[1]] for one in some]
    found = gram(updates, table.layout)
    for i, a in enumerate(exact):
        for j, b in enumerate(exact):
            assert found[i][j] == sum(x * y for x, y in zip(a, b, strict=True)) * 2**60
        assert found[i][i] == inspect(updates[i].blob, *table.whose, [table.encoding]).norm2


@pytest.mark.parametrize("count", [1, 3, 20])
def test_the_gram_matrix_of_the_largest_numbers_across_blocks(desk: Make, count: int) -> None:
    size, largest = BLOCK + 5, 2**31 - 1
    table = desk(layout_of({"w": np.zeros(size, np.float32)}, {"w": 1}))
    signs = [(-1) ** number for number in range(count)]
    updates = [table.open(table.write({"w": np.full(size, sign * largest, np.int32)})) for sign in signs]
    assert gram(updates, table.layout) == tuple(
        tuple((one * other * size * largest**2) << 58 for other in signs) for one in signs
    )


def test_a_damaged_update_is_an_error_of_its_blob(desk: Make) -> None:
    table = desk(layout_of({"w": np.zeros(2, np.float32)}))
    update = table.open(table.write({"w": np.zeros(2, np.int32)}))

    class Short:
        size = update.blob.size

        def read_into(self, offset: int, out: memoryview) -> None:
            raise Corrupt("the bytes end early")

        read = update.blob.read

    for look_at in (
        lambda: gram([replace(update, blob=Short())], table.layout),
        lambda: inspect(Short(), *table.whose, [table.encoding]),
    ):
        with pytest.raises(Corrupt):
            look_at()
