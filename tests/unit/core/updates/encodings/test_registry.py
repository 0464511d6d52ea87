"""What every encoding must do; an encoding is tested by being registered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from fedchain.core.errors import FormatError
from fedchain.core.formats.document import Document
from fedchain.core.formats.layout import Layout
from fedchain.core.formats.modelfile import layout_of
from fedchain.core.updates.encodings.registry import ENCODINGS, AnyEncoding
from fedchain.core.updates.fixed_point import BLOCK, Q_LIMIT
from fedchain.core.updates.inspection import MALFORMED, inspect
from fedchain.core.updates.updatefile import update_size

Make = Callable[..., Any]
MERGED = ("w", "empty", "scalar", "v")

values = st.integers(0, 30).flatmap(lambda bits: st.integers(-(2**bits), 2**bits))
"""Integers that every encoding must carry, of all magnitudes."""


@st.composite
def models(draw: st.DrawFn) -> tuple[Layout, dict[str, Any]]:
    """Merged tensors of many shapes, one without elements, and freshest ones; the integers of an update."""
    shapes = {"w": (draw(st.integers(0, 9)), 7), "empty": (0, 3), "scalar": (), "v": (draw(st.integers(1, 80)),)}
    arrays = {name: draw(arrays_of.arrays(np.int32, shape, elements=values)) for name, shape in shapes.items()}
    model = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    arrays |= {"n": np.array(draw(st.integers(0, 9))), "m": np.arange(3, dtype=np.uint8)}
    return layout_of(model | {"n": arrays["n"], "m": arrays["m"]}, {"v": 10}), arrays


def large(size: int, seed: int = 0) -> Any:
    """Integers of all magnitudes, made by a formula."""
    wide = (np.arange(size, dtype=np.uint64) * np.uint64(2654435761) + np.uint64(seed)) % np.uint64(2**31)
    return (wide.astype(np.int64) - 2**30 >> (np.arange(size) // 1000 % 30)).astype(np.int32)


class Holder(Document):
    encodings: tuple[AnyEncoding, ...]


def test_an_encoding_is_registered_under_its_name() -> None:
    for name, encoding in ENCODINGS.items():
        assert encoding.parameters.model_fields["name"].default == name


@given(data=st.data())
def test_parameters_are_documents(parameters: Any, data: st.DataObject) -> None:
    holder = Holder(encodings=(data.draw(parameters),))
    assert Holder.parse(holder.canonical()) == holder
    assert hash(holder.encodings) == hash(Holder.parse(holder.canonical()).encodings)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b'{"encodings":[{"name":"q25"}]}', "'q25' found using 'name' does not match any of the expected tags"),
        (b'{"encodings":[{}]}', "unable to extract tag using discriminator 'name'"),
        (b'{"encodings":[{"more":1,"name":"q24"}]}', "more is not a known key"),
    ],
)
def test_what_is_not_an_encoding(document: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        Holder.parse(document)


@given(models(), st.data())
def test_what_is_written_is_read_and_has_one_form(
    desk: Make, parameters: Any, model: tuple[Layout, dict[str, Any]], data: st.DataObject
) -> None:
    layout, arrays = model
    table = desk(layout, data.draw(parameters))
    file = table.write(arrays)
    assert len(file) == update_size(*table.whose, table.encoding)
    q = table.read(file)
    assert q.min(initial=0) >= -Q_LIMIT
    # what was decoded encodes to the same bytes: nothing is lost twice, and one update has one file
    sizes = np.cumsum([arrays[name].size for name in MERGED])[:-1]
    again = {name: part.reshape(arrays[name].shape) for name, part in zip(MERGED, np.split(q, sizes), strict=True)}
    assert table.write(arrays | again) == file
    assert b"".join(table.open(file).freshest(5)) == arrays["n"].tobytes() + arrays["m"].tobytes()


@given(models(), st.data())
def test_any_run_decodes_as_the_whole(
    desk: Make, parameters: Any, model: tuple[Layout, dict[str, Any]], data: st.DataObject
) -> None:
    layout, arrays = model
    table = desk(layout, data.draw(parameters))
    file = table.write(arrays)
    start = data.draw(st.integers(0, layout.elements))
    stop = data.draw(st.integers(start, layout.elements))
    run = np.empty(stop - start, np.int32)
    table.open(file).read_into(start, run)
    assert np.array_equal(run, table.read(file)[start:stop])


@given(data=st.data())
def test_runs_across_blocks(desk: Make, parameters: Any, data: st.DataObject) -> None:
    sizes = {"a": 2 * BLOCK + 1, "b": 5, "c": BLOCK - 3}
    table = desk(layout_of({name: np.zeros(size, np.float32) for name, size in sizes.items()}), data.draw(parameters))
    file = table.write({name: large(size) for name, size in sizes.items()})
    whole, update = table.read(file), table.open(file)
    step = data.draw(st.integers(1000, BLOCK + 7))
    for start in range(0, whole.size, step):
        run = np.empty(min(step, whole.size - start), np.int32)
        update.read_into(start, run)
        assert np.array_equal(run, whole[start : start + step])


@given(data=st.data())
def test_an_update_opens_with_the_safetensors_package(desk: Make, parameters: Any, data: st.DataObject) -> None:
    table = desk(layout_of({"w": np.zeros((2, 3), np.float32), "n": np.array(0)}), data.draw(parameters))
    loaded = safetensors.numpy.load(table.write({"w": np.ones((2, 3), np.int32), "n": np.array(8)}))
    assert loaded["w"].shape == (2, 3)
    assert loaded["n"] == 8


@given(models(), st.data())
def test_whatever_is_stored_is_inspected_or_malformed(
    desk: Make, parameters: Any, model: tuple[Layout, dict[str, Any]], data: st.DataObject
) -> None:
    """Any bytes after a good header: numbers within bounds, or a rejection; never an error of another kind."""
    layout, arrays = model
    table = desk(layout, data.draw(parameters))
    file = table.write(arrays)
    length = 8 + int.from_bytes(file[:8], "little")
    noise = data.draw(st.binary(min_size=len(file) - length, max_size=len(file) - length))
    found = inspect(table.put(file[:length] + noise), *table.whose, [table.encoding])
    if found != MALFORMED:
        q = table.read(file[:length] + noise).astype(object)
        assert max(map(abs, q), default=0) <= Q_LIMIT
        assert found.failure is None


@given(data=st.data())
def test_an_update_in_another_encoding_is_malformed(
    desk: Make, parameters: Any, any_parameters: Any, data: st.DataObject
) -> None:
    one, other = data.draw(parameters), data.draw(any_parameters)
    layout = layout_of({"w": np.zeros(4, np.float32)})
    file = desk(layout, one).write({"w": np.arange(4, dtype=np.int32)})
    table = desk(layout, other)
    assert (inspect(table.put(file), *table.whose, [other]) == MALFORMED) is (one != other)
    assert inspect(table.put(file), *table.whose, [other, one]).failure is None
