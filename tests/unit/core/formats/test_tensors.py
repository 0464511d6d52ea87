"""The safetensors header: what we write, others read; what others write otherwise, we refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.errors import FormatError
from fedchain.core.formats.tensors import ITEM_SIZE, MAX_HEADER, Tensor, decode_header, encode_header, read_header
from fedchain.store.memory import MemoryBlobs

Make = Callable[..., Any]


def blob(data: bytes) -> Any:
    blobs = MemoryBlobs()
    writer = blobs.create()
    writer.write(data)
    return blobs.open(writer.commit())


def framed(text: bytes) -> bytes:
    """A header around any text, padded as ours are."""
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def spelt(document: object) -> bytes:
    return framed(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())


def entry(start: int, stop: int, dtype: Any = "F32", shape: Any = (1,)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def test_a_header_by_hand() -> None:
    header = encode_header([Tensor("w", "F32", (2, 1)), Tensor("a", "U8", ())], {"k": "v"})
    text = (
        b'{"__metadata__":{"k":"v"},"a":{"data_offsets":[8,9],"dtype":"U8","shape":[]},'
        b'"w":{"data_offsets":[0,8],"dtype":"F32","shape":[2,1]}}'
    )
    assert header == (136).to_bytes(8, "little") + text.ljust(136)


names = st.text(min_size=1, max_size=12).filter(lambda name: name != "__metadata__")
tensors = st.builds(
    Tensor, names, st.sampled_from(sorted(ITEM_SIZE)), st.lists(st.integers(0, 5), max_size=3).map(tuple)
)


@given(st.lists(tensors, unique_by=lambda tensor: tensor.name), st.dictionaries(st.text(), st.text(), max_size=3))
def test_what_is_encoded_is_decoded(some: list[Tensor], metadata: dict[str, str]) -> None:
    header = encode_header(some, metadata)
    assert len(header) % 8 == 0
    decoded, found = decode_header(header)
    # an empty tensor has no place of its own among others: only the order of the data is the file's
    assert [tensor for tensor in decoded if tensor.nbytes] == [tensor for tensor in some if tensor.nbytes]
    assert set(decoded) == set(some)
    assert found == metadata
    assert encode_header(decoded, found) == header


@given(st.lists(tensors, unique_by=lambda tensor: tensor.name, max_size=5))
def test_the_safetensors_package_opens_our_files(some: list[Tensor]) -> None:
    size = sum(tensor.nbytes for tensor in some)
    found = safetensors.deserialize(encode_header(some, {"format": "x"}) + bytes(size))
    assert {(name, view["dtype"], tuple(view["shape"])) for name, view in found} == {
        (tensor.name, tensor.dtype, tensor.shape) for tensor in some
    }


def test_what_the_safetensors_package_writes_is_refused_unless_canonical() -> None:
    arrays = {"b": np.ones(3, np.float32), "a": np.ones(2, np.float64)}
    data = safetensors.numpy.save(arrays, {"k": "v"})
    with pytest.raises(FormatError, match="not in canonical form"):
        decode_header(read_header(blob(data)))


@pytest.mark.parametrize("size", [0, 1, 7])
def test_a_file_too_short_for_a_length(size: int) -> None:
    with pytest.raises(FormatError, match=f"{size} bytes are not a safetensors file"):
        read_header(blob(bytes(size)))


@pytest.mark.parametrize("length", [9, MAX_HEADER + 1, 2**63, 2**64 - 1])
def test_a_length_beyond_the_file(length: int) -> None:
    with pytest.raises(FormatError, match=f"header of {length} bytes does not fit: the file has 16 bytes"):
        read_header(blob(length.to_bytes(8, "little") + bytes(8)))


@pytest.mark.parametrize(
    "document",
    [
        {"a": entry(0, 4), "b": entry(0, 4)},  # overlap
        {"a": entry(0, 4), "b": entry(2, 6)},
        {"a": entry(4, 8)},  # hole
        {"a": entry(0, 4), "b": entry(8, 12)},
        {"a": entry(0, 8)},  # longer than its shape
        {"a": entry(0, 0)},
        {"a": entry(4, 0)},
        {"a": entry(0, 4, "F31")},
        {"a": entry(0, 4, 7)},
        {"a": entry(0, 4, None)},
        {"a": entry(0, 4, ["F32"])},
        {"a": entry(0, 4, shape=[True])},
        {"a": entry(0, 4, shape=["1"])},
        {"a": entry(0, 4, shape=[-1, -1])},
        {"a": entry(0, 4, shape=1)},
        {"a": entry(0, 4, shape=None)},
        {"a": entry(0, 4 * 2**60, shape=[2**30, 2**30])},
        {"a": {"dtype": "F32", "shape": [1]}},
        {"a": entry(0, 4) | {"more": 1}},
        {"a": 5},
        {"a": []},
        {"__metadata__": 5},
        {"__metadata__": {"k": 5}},
        {"__metadata__": {"k": None}},
        {"__metadata__": []},
        [],
        "text",
        None,
        5,
    ],
    ids=str,
)
def test_headers_that_mean_something_else_or_nothing(document: object) -> None:
    if isinstance(document, dict):
        document = {"__metadata__": {}} | document
    with pytest.raises(FormatError, match="the safetensors header"):
        decode_header(spelt(document))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"__metadata__":{},"\\ud800":5}',
        b'{"__metadata__":{},"a":NaN}',
        b'{"__metadata__":{},"a":' + b"1" * 5000 + b"}",
        b'{"__metadata__":{"k":"v","k":"v"}}',
        b'{"__metadata__": {}}',
        b'{"__metadata__":{}}\n',
        '{"__metadata__":{}}'.encode("utf-16"),
    ],
    ids=lambda text: repr(text[:40]),
)
def test_texts_that_are_no_header(text: bytes) -> None:
    with pytest.raises(FormatError, match="the safetensors header"):
        decode_header(framed(text))


def test_padding_and_length_are_part_of_the_form() -> None:
    header = encode_header([Tensor("a", "F32", (1,))], {})
    text = header[8:].rstrip()
    for other in (
        len(text).to_bytes(8, "little") + text,
        (len(text) + 8).to_bytes(8, "little") + text + b" " * 8,
        bytes(8) + header[8:],
        header + b" ",
    ):
        if other != header:
            with pytest.raises(FormatError, match="canonical"):
                decode_header(other)


def test_no_tensor_may_be_called_as_the_metadata_is() -> None:
    with pytest.raises(FormatError, match="__metadata__"):
        encode_header([Tensor("__metadata__", "F32", (1,))], {})


def test_two_tensors_of_one_name_have_no_header() -> None:
    with pytest.raises(FormatError, match="two tensors of one file are called a"):
        encode_header([Tensor("a", "F32", (1,)), Tensor("a", "U8", (1,))], {})
