from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from fedchain.core.formats.layout import Layout, Rule
from fedchain.core.formats.modelfile import layout_of, write_update
from fedchain.core.ledger.content import Content, Digest
from fedchain.core.rules.judged import Decision, Inspection
from fedchain.core.updates.fixed_point import BLOCK
from fedchain.core.updates.inspection import inspect
from fedchain.store.memory import MemoryBlobs

Make = Callable[..., Any]
BASE = Content(Digest(bytes(range(32))), 99)
OTHER_BASE = Content(Digest(bytes(32)), 99)
SITE, OTHER_SITE = "0x" + "01" * 20, "0x" + "02" * 20
MODEL = {"w": np.zeros(3, np.float32), "v": np.zeros(2, np.float32), "n": np.array(1)}
LAYOUT = layout_of(MODEL, {"v": 10})
Q = [np.array([1, -5, 2], np.int32), np.array([3, -1], np.int32), np.array(4)]


def put(data: bytes) -> Any:
    blobs = MemoryBlobs()
    writer = blobs.create()
    writer.write(data)
    return blobs.open(writer.commit())


def spelt(arrays: list[Any], layout: Layout = LAYOUT, header: bytes | None = None) -> bytes:
    blobs = MemoryBlobs()
    header = layout.update_header(SITE, BASE) if header is None else header
    content = write_update(header, arrays, blobs.create())
    return blobs.open(content).read(0, content.size)


def look(data: bytes, layout: Layout = LAYOUT, *, norm: bool = True) -> Inspection:
    return inspect(put(data), layout, SITE, BASE, norm=norm)


def test_an_update_by_hand() -> None:
    found = look(spelt(Q))
    # w has 24 fraction bits, v has 10: the largest change is 3 · 2^-10
    assert found == Inspection(None, max_abs=3 << 20, norm2=(1 + 25 + 4) * 2 ** (60 - 48) + (9 + 1) * 2 ** (60 - 20))
    assert look(spelt(Q), norm=False) == Inspection(None, max_abs=3 << 20)


values = st.integers(-(2**31) + 1, 2**31 - 1)


@given(
    arrays_of.arrays(np.int32, st.integers(0, 9), elements=values),
    arrays_of.arrays(np.int32, st.integers(0, 9), elements=values),
    st.integers(1, 30),
)
def test_numbers_are_exact(w: Any, v: Any, bits: int) -> None:
    layout = layout_of({"w": w.astype(np.float32), "v": v.astype(np.float32)}, {"v": bits})
    found = look(spelt([w, v], layout), layout)
    changes = [Fraction(int(q), 2**24) for q in w] + [Fraction(int(q), 2**bits) for q in v]
    assert found.failure is None
    assert found.max_abs == max(map(abs, changes), default=0) * 2**30
    assert found.norm2 == sum(change**2 for change in changes) * 2**60


@pytest.mark.parametrize("size", [BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 17])
def test_the_largest_numbers_of_many_blocks(size: int) -> None:
    layout = layout_of({"w": np.zeros(size, np.float32)}, {"w": 1})
    largest = 2**31 - 1
    q = np.full(size, -largest, np.int32)
    assert look(spelt([q], layout), layout) == Inspection(None, largest << 29, size * largest**2 << 58)
    q = np.zeros(size, np.int32)
    q[-1] = 1
    assert look(spelt([q], layout), layout) == Inspection(None, 1 << 29, 1 << 58)


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_q_without_a_negative_is_malformed(at: int) -> None:
    q = Q[0].copy()
    q[at] = -(2**31)
    assert look(spelt([q, *Q[1:]])).failure is Decision.MALFORMED
    q[at] = -(2**31) + 1
    assert look(spelt([q, *Q[1:]])).failure is None


def test_what_is_not_this_sites_change_to_this_base_is_malformed() -> None:
    good = spelt(Q)
    header = LAYOUT.update_header(SITE, BASE)
    other_bits = layout_of(MODEL, {"v": 11})
    kept = layout_of(MODEL | {"k": np.array(1)}, {"v": 10, "k": Rule.KEPT})
    malformed = {
        "another site": spelt(Q, header=LAYOUT.update_header(OTHER_SITE, BASE)),
        "another base": spelt(Q, header=LAYOUT.update_header(SITE, OTHER_BASE)),
        "another layout": spelt(Q, header=other_bits.update_header(SITE, BASE)),
        "another layout of equal tensors": spelt(Q, header=kept.update_header(SITE, BASE)),
        "sealed": spelt(Q, header=LAYOUT.update_header(SITE, BASE, sealing="hpke")),
        "a byte short": good[:-1],
        "a byte long": good + b"\0",
        "cut in its header": good[:20],
        "empty": b"",
        "all zeros": bytes(len(good)),
        "one space less": good[: len(header) - 1] + b"\t" + good[len(header) :],
    }
    assert look(good).failure is None
    for what, data in malformed.items():
        assert look(data) == Inspection(Decision.MALFORMED), what


def test_freshest_tensors_are_not_looked_into() -> None:
    assert look(spelt([*Q[:2], np.array(-(2**63))])) == look(spelt(Q))


def test_a_model_with_nothing_to_merge_has_updates_too() -> None:
    layout = layout_of({"n": np.array(1), "empty": np.zeros((0, 3), np.float32)})
    assert look(spelt([np.zeros((0, 3), np.int32), np.array(2)], layout), layout) == Inspection(None, 0, 0)
