from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.errors import FormatError
from fedchain.core.formats.modelfile import layout_of
from fedchain.core.formats.tensors import Tensor, decode_header
from fedchain.core.updates.encodings.int8 import Int8
from fedchain.core.updates.inspection import MALFORMED, inspect
from fedchain.core.updates.updatefile import update_header

Make = Callable[..., Any]

TOO_LARGE = 255 * 2**23
"""127.5 · 2^24: the first magnitude that would round to 128 · 2^24."""


def table_for(desk: Make, size: int, block: int = 16) -> Any:
    return desk(layout_of({"w": np.zeros(size, np.float32)}), Int8(block=block))


def stored(file: bytes) -> tuple[list[int], list[int]]:
    """Values and exponents, as the safetensors package reads them."""
    loaded = safetensors.numpy.load(file)
    return loaded["w"].tolist(), loaded["w:exponents"].tolist()


def write(table: Any, *q: int) -> bytes:
    file: bytes = table.write({"w": np.array(q, np.int32)})
    return file


def test_blocks_by_hand(desk: Make) -> None:
    table = table_for(desk, 18)
    # the first block's 255 needs e = 2: 255 / 2 = 127.5 goes to 128, 255 / 4 = 63.75; 2 and 6 are ties and go to even
    file = write(table, 255, -254, 2, 6, -6, 1, 3, *[0] * 9, 127, -127)
    assert stored(file) == ([64, -64, 0, 2, -2, 0, 1, *[0] * 9, 127, -127], [2, 0])
    assert table.read(file).tolist() == [256, -256, 0, 8, -8, 0, 4, *[0] * 9, 127, -127]


def test_values_come_first_and_exponents_directly_after_them(desk: Make) -> None:
    layout = layout_of({"w": np.zeros((5, 7), np.float32), "v": np.zeros(16, np.float32), "n": np.array(1)})
    table = desk(layout, Int8(block=16))
    tensors, metadata = decode_header(update_header(*table.whose, table.encoding))
    assert metadata["encoding"] == '{"block":16,"name":"int8"}'
    assert tensors == (
        Tensor("w", "I8", (5, 7)),
        Tensor("w:exponents", "U8", (3,)),
        Tensor("v", "I8", (16,)),
        Tensor("v:exponents", "U8", (1,)),
        Tensor("n", "I64", ()),
    )


@pytest.mark.parametrize(
    ("largest", "value", "exponent"),
    [
        (0, 0, 0), (1, 1, 0), (127, 127, 0), (128, 64, 1), (254, 127, 1), (255, 64, 2), (509, 127, 2), (510, 64, 3),
        (TOO_LARGE // 2 - 1, 127, 23), (TOO_LARGE // 2, 64, 24), (TOO_LARGE - 1, 127, 24),
    ],
)  # fmt: skip
@pytest.mark.parametrize("sign", [1, -1])
def test_the_smallest_exponent_that_will_do(desk: Make, largest: int, value: int, exponent: int, sign: int) -> None:
    assert stored(write(table_for(desk, 1), sign * largest)) == ([sign * value], [exponent])


@pytest.mark.parametrize("q", [TOO_LARGE, -TOO_LARGE, 2**31 - 1, -(2**31) + 1])
@pytest.mark.parametrize("at", [0, 70_000])
def test_a_change_beyond_the_largest_is_an_error_that_names_its_tensor(desk: Make, q: int, at: int) -> None:
    integers = [0] * 70_001
    integers[at] = q
    with pytest.raises(FormatError, match=rf"tensor w: a change of {abs(q)} units does not fit int8"):
        write(table_for(desk, 70_001), *integers)


def by_definition(q: list[int], block: int) -> tuple[list[int], list[int]]:
    """Values and exponents in exact rationals."""
    values, exponents = [], []
    for start in range(0, len(q), block):
        part, e = q[start : start + block], 0
        while max(abs(round(Fraction(one, 2**e))) for one in part) > 127:
            e += 1
        values += [round(Fraction(one, 2**e)) for one in part]  # Python rounds a Fraction half to even
        exponents.append(e)
    return values, exponents


magnitudes = st.integers(0, 31).map(lambda bits: min(2**bits, TOO_LARGE - 1))
integers = st.lists(
    magnitudes.flatmap(lambda most: st.lists(st.integers(-most, most), min_size=1, max_size=40)), min_size=1, max_size=4
).map(lambda parts: [one for part in parts for one in part])


@given(integers, st.integers(16, 50))
def test_what_is_stored_is_the_definition(desk: Make, q: list[int], block: int) -> None:
    table = table_for(desk, len(q), block)
    file = write(table, *q)
    values, exponents = by_definition(q, block)
    assert stored(file) == (values, exponents)
    decoded = table.read(file).tolist()
    assert decoded == [value << exponents[at // block] for at, value in enumerate(values)]
    for at, (one, found) in enumerate(zip(q, decoded, strict=True)):
        e = exponents[at // block]
        assert abs(one - found) <= (2**e >> 1)
        largest = max(map(abs, q[at // block * block :][:block]))
        assert abs(one - found) * 127 <= largest


def spoilt(table: Any, values: list[int], exponents: list[int]) -> bytes:
    """A file with whatever is given behind its header."""
    data = np.array(values, np.int8).tobytes() + np.array(exponents, np.uint8).tobytes()
    return bytes(update_header(*table.whose, table.encoding)) + data


@pytest.mark.parametrize("at", [0, 15, 16, 19])
def test_a_value_without_a_negative_is_malformed(desk: Make, at: int) -> None:
    table = table_for(desk, 20)
    values = [1] * 20
    for value, good in [(-127, True), (127, True), (-128, False)]:
        values[at] = value
        file = spoilt(table, values, [24, 24])
        assert (inspect(table.put(file), *table.whose, [table.encoding]) != MALFORMED) is good
    with pytest.raises(FormatError, match="int8 stores -128 and an exponent of 24"):
        table.read(file)


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("value", [0, 1])
def test_an_exponent_beyond_24_is_malformed_whatever_it_scales(desk: Make, at: int, value: int) -> None:
    table = table_for(desk, 20)
    for exponent, good in [(24, True), (25, False), (31, False), (32, False), (255, False)]:
        exponents = [0, 0]
        exponents[at] = exponent
        file = spoilt(table, [value] * 20, exponents)
        assert (inspect(table.put(file), *table.whose, [table.encoding]) != MALFORMED) is good


def test_the_largest_stored_value_is_within_31_bits(desk: Make) -> None:
    table = table_for(desk, 2)
    assert table.read(spoilt(table, [127, -127], [24])).tolist() == [127 << 24, -127 << 24]


@pytest.mark.parametrize("block", [0, 15, 2**16 + 1, -16])
def test_blocks_that_cannot_be(block: int) -> None:
    with pytest.raises(FormatError, match="block = "):
        Int8.parse(b'{"block":%d,"name":"int8"}' % block)
