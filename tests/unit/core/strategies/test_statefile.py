"""State files: one vector each, whose header and size follow from layout, strategy and name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load

from fedchain.core.errors import FormatError
from fedchain.core.formats.layout import Layout
from fedchain.core.formats.modelfile import layout_of
from fedchain.core.ports import BlobReader
from fedchain.core.strategies.statefile import ZEROS, StateFile, state_header
from fedchain.store.memory import MemoryBlobs

VALUES = np.array([1, -2, 3.5, 4, 5], np.float32)


@pytest.fixture(scope="module")
def layout() -> Layout:
    return layout_of({"a": np.zeros((2, 2), np.float32), "b": np.zeros(1, np.float32), "n": np.array(0)})


def blob(data: bytes) -> BlobReader:
    blobs = MemoryBlobs()
    writer = blobs.create()
    writer.write(data)
    return blobs.open(writer.commit())


def test_a_state_is_a_safetensors_file_of_the_merged_elements(layout: Layout) -> None:
    data = state_header(layout, "momentum", "velocity", "F32") + VALUES.tobytes()
    (name, values), *rest = load(data).items()
    assert (name, values.tolist(), rest) == ("velocity", VALUES.tolist(), [])
    assert b'"format":"fedchain/state/1"' in data
    assert layout.digest.encode() in data


@pytest.mark.parametrize(("start", "stop"), [(0, 5), (0, 1), (2, 4), (4, 5)])
def test_any_run_is_read(layout: Layout, start: int, stop: int) -> None:
    data = state_header(layout, "momentum", "velocity", "F32") + VALUES.tobytes()
    out = np.empty(stop - start, np.float32)
    StateFile(blob(data), layout, "momentum", "velocity", "F32").read_into(start, out)
    assert out.tolist() == VALUES[start:stop].tolist()


def test_integers_of_eight_bytes(layout: Layout) -> None:
    values = np.array([2**62, -1, 0, 7, -(2**63)], np.int64)
    data = state_header(layout, "momentum", "sums", "I64") + values.tobytes()
    out = np.empty(3, np.int64)
    StateFile(blob(data), layout, "momentum", "sums", "I64").read_into(1, out)
    assert out.tolist() == [-1, 0, 7]


@pytest.mark.parametrize(
    "other", [("momentum", "mean", "F32"), ("fedadam", "velocity", "F32"), ("momentum", "velocity", "I32")]
)
def test_another_vector_is_refused(layout: Layout, other: tuple[str, str, str]) -> None:
    data = state_header(layout, "momentum", "velocity", "F32") + VALUES.tobytes()
    with pytest.raises(FormatError, match=f"bytes are not the state vector {other[1]} of {other[0]}: expected"):
        StateFile(blob(data), layout, *other)


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x", lambda data: b"", bytes.swapcase])
def test_other_bytes_are_refused(layout: Layout, change: Any) -> None:
    data = state_header(layout, "momentum", "velocity", "F32") + VALUES.tobytes()
    with pytest.raises(FormatError):
        StateFile(blob(change(data)), layout, "momentum", "velocity", "F32")


def test_before_any_version_left_one_it_is_zeros() -> None:
    out = np.ones(3, np.int32)
    ZEROS.read_into(7, out)
    assert out.tolist() == [0, 0, 0]
