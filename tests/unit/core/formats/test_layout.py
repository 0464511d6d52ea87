"""Layouts and the files that follow them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import rfc8785
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from fedchain.core.errors import FormatError
from fedchain.core.formats.layout import Layout, Rule, Slot, Span, plan_layout, read_layout
from fedchain.core.formats.modelfile import DTYPES, layout_of, read_model, write_model
from fedchain.core.formats.tensors import Tensor, encode_header
from fedchain.store.memory import MemoryBlobs

MODEL: dict[str, Any] = {
    "steps": np.array(7, np.int64),
    "mask": np.array([True, False, True]),
    "w": np.arange(6, dtype=np.float32).reshape(2, 3),
    "running": np.ones(3, np.int32),
    "b": np.array([-1.5], np.float32),
}
RULES: dict[str, int | Rule] = {"mask": Rule.KEPT, "running": Rule.FRESHEST, "b": 30}


def put(data: bytes) -> Any:
    blobs = MemoryBlobs()
    writer = blobs.create()
    writer.write(data)
    return blobs.open(writer.commit())


def whole(arrays: dict[str, Any], layout: Layout) -> bytes:
    blobs = MemoryBlobs()
    content = write_model(layout, arrays, blobs.create())
    return blobs.open(content).read(0, content.size)


def test_merged_comes_first_then_freshest_then_kept() -> None:
    layout = layout_of(MODEL, RULES)
    assert [(slot.tensor.name, slot.rule, slot.bits) for slot in layout.slots] == [
        ("w", Rule.MERGED, 24),
        ("b", Rule.MERGED, 30),
        ("steps", Rule.FRESHEST, 0),
        ("running", Rule.FRESHEST, 0),
        ("mask", Rule.KEPT, 0),
    ]
    assert layout.elements == 7
    assert layout.spans == (Span(0, 6, 24), Span(6, 7, 30))
    assert layout.freshest_bytes == 8 + 12


def test_neighbours_with_equal_bits_are_one_span() -> None:
    tensors = [Tensor(name, "F32", (2,)) for name in "abcd"]
    assert plan_layout(tensors, {"c": 8}).spans == (Span(0, 4, 24), Span(4, 6, 8), Span(6, 8, 24))
    assert plan_layout([]).spans == ()
    assert plan_layout([Tensor("empty", "F32", (0, 3)), *tensors], {"empty": 1}).spans == (Span(0, 8, 24),)


def test_the_header_of_a_model_by_hand() -> None:
    header = layout_of({"w": np.zeros(2, np.float32), "n": np.zeros((), np.int8)}, {"n": Rule.KEPT}).model_header
    text = (
        b'{"__metadata__":{"format":"fedchain/model/1","layout":"{\\"n\\":\\"kept\\",\\"w\\":24}"},'
        b'"n":{"data_offsets":[8,9],"dtype":"I8","shape":[]},"w":{"data_offsets":[0,8],"dtype":"F32","shape":[2]}}'
    )
    assert header == (192).to_bytes(8, "little") + text.ljust(192)


def test_a_model_file_opens_with_the_safetensors_package() -> None:
    layout = layout_of(MODEL, RULES)
    data = whole(MODEL, layout)
    assert len(data) == layout.model_size
    loaded = safetensors.numpy.load(data)
    assert loaded.keys() == MODEL.keys()
    for name, array in MODEL.items():
        assert loaded[name].dtype == array.dtype
        assert np.array_equal(loaded[name], array)


shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
models = st.dictionaries(
    st.text(max_size=8).filter(lambda name: name != "__metadata__"),
    st.sampled_from(sorted(DTYPES)).flatmap(lambda dtype: arrays_of.arrays(DTYPES[dtype], shapes)),
    max_size=6,
)
rules = st.sampled_from([None, 1, 30, Rule.FRESHEST, Rule.KEPT])


@given(models, st.data())
def test_models_come_back_bit_for_bit(model: dict[str, Any], data: st.DataObject) -> None:
    chosen: dict[str, int | Rule] = {}
    for name, array in model.items():
        rule = data.draw(rules)
        if array.dtype.kind == "f" and (array.dtype != np.float32 or rule is Rule.FRESHEST):
            rule = Rule.KEPT
        if rule is not None and (isinstance(rule, Rule) or array.dtype == np.float32):
            chosen[name] = rule
    layout = layout_of(model, chosen)
    file = put(whole(model, layout))
    found = read_layout(file)
    assert found.model_header == layout.model_header
    assert found.spans == layout.spans
    assert set(found.slots) == set(layout.slots)
    for one in (layout, found):
        back = read_model(one, file)
        assert {name: (a.dtype, a.shape, a.tobytes()) for name, a in back.items()} == {
            name: (a.dtype, a.shape, a.tobytes()) for name, a in model.items()
        }


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_no_fraction_is_taken_as_it_is(dtype: type) -> None:
    with pytest.raises(FormatError, match=r"tensor mean is F.*: only whole numbers can be taken as they are"):
        layout_of({"mean": np.ones(2, dtype)}, {"mean": Rule.FRESHEST})


def test_arrays_of_any_order_are_written_row_by_row() -> None:
    model = {"w": np.arange(6, dtype=np.float32).reshape(2, 3).T}
    layout = layout_of(model)
    assert np.array_equal(read_model(layout, put(whole(model, layout)))["w"], model["w"])


# What is refused


@pytest.mark.parametrize(
    ("arrays", "chosen", "message"),
    [
        ({"w": np.zeros(1)}, {"w": 24}, "tensor w is F64: only F32 can be merged"),
        ({"w": np.zeros(1, np.float32)}, {"w": 0}, "tensor w has 0 fraction bits: 1 to 30 are allowed"),
        ({"w": np.zeros(1, np.float32)}, {"w": 31}, "tensor w has 31 fraction bits"),
        ({"w": np.zeros(1, np.float32)}, {"v": 24, "u": 3}, "tensors that the model does not have: u, v"),
        ({"w": np.zeros(1, np.complex64)}, {}, "tensor w is complex64"),
        ({"w": np.zeros(1, ">f4")}, {}, "tensor w is >f4"),
        ({"w": np.zeros(1, object)}, {}, "tensor w is object"),
    ],
)
def test_layouts_that_cannot_be(arrays: dict[str, Any], chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        layout_of(arrays, chosen)


def test_slots_out_of_order() -> None:
    kept, merged = Slot(Tensor("a", "I8", ()), Rule.KEPT), Slot(Tensor("b", "F32", ()), Rule.MERGED, 24)
    with pytest.raises(FormatError, match="merged first, then freshest, then kept"):
        Layout((kept, merged))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"w": MODEL["w"].astype(np.float64)}, r"tensor w is float64\(2, 3\)"),
        ({"w": MODEL["w"].T}, r"tensor w is float32\(3, 2\)"),
        ({"w": None}, "tensor w is missing"),
        ({"new": MODEL["w"]}, "the layout has no tensors new"),
    ],
)
def test_arrays_that_are_not_the_layouts(changes: dict[str, Any], message: str) -> None:
    arrays = {name: array for name, array in (MODEL | changes).items() if array is not None}
    with pytest.raises(FormatError, match=message):
        whole(arrays, layout_of(MODEL, RULES))


def spoilt(**changes: object) -> bytes:
    """The model's file with another layout text or format in a canonical header."""
    layout = layout_of(MODEL, RULES)
    metadata = {"format": "fedchain/model/1", "layout": rfc8785.dumps({"w": 24}).decode()} | changes
    return encode_header([slot.tensor for slot in layout.slots], metadata)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("", "layout cannot be read"),
        ("5", "layout cannot be read"),
        ("[]", "layout cannot be read"),
        ("[" * 100_000, "layout cannot be read"),
        ('{"w":"mixed"}', "layout cannot be read"),
        ('{"w":null}', "layout cannot be read"),
        ('{"w":true}', "layout cannot be read"),
        ('{"w":[1]}', "layout cannot be read"),
        ('{"w":1.5}', "layout cannot be read"),
        ('{"w":"merged"}', "0 fraction bits"),
        ('{"w":99}', "99 fraction bits"),
        ('{"w":24}', "not the one that its own layout implies"),  # rules are spelt for every tensor
        ('{"nobody":24}', "tensors that the model does not have: nobody"),
    ],
)
def test_layout_texts_that_are_none(layout: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read_layout(put(spoilt(layout=layout) + bytes(64)))


def test_files_that_are_no_model() -> None:
    layout = layout_of(MODEL, RULES)
    data = whole(MODEL, layout)
    for other, message in [
        (data[:-1], "47 bytes|bytes where its header promises"),
        (data + b"\0", "bytes where its header promises"),
        (data[:100], "does not fit"),
        (spoilt(format="fedchain/model/2"), "its format is 'fedchain/model/2'"),
        (spoilt(format="fedchain/update/2"), "its format is 'fedchain/update/2'"),
        (encode_header([], {}), "its format is None"),
    ]:
        with pytest.raises(FormatError, match=message):
            read_layout(put(other))


def test_a_model_of_another_layout_is_not_read() -> None:
    other = layout_of(MODEL, RULES | {"b": 29})
    with pytest.raises(FormatError, match=f"is not of the federation's layout {other.digest}"):
        read_model(other, put(whole(MODEL, layout_of(MODEL, RULES))))


def test_tensors_out_of_their_ranks_are_no_layout() -> None:
    """A canonical safetensors header whose kept tensor comes before a merged one."""
    text = json.dumps({"a": "kept", "w": 24}, separators=(",", ":"))
    tensors = [Tensor("a", "U8", (8,)), Tensor("w", "F32", (2,))]
    header = encode_header(tensors, {"format": "fedchain/model/1", "layout": text})
    with pytest.raises(FormatError, match="not the one that its own layout implies"):
        read_layout(put(header + bytes(16)))
