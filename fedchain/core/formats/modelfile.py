"""Model files: arrays in, bytes out, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedchain.core.errors import FormatError
from fedchain.core.formats.layout import Layout, Rule, Slot, plan_layout
from fedchain.core.formats.tensors import Tensor
from fedchain.core.ledger.content import Content
from fedchain.core.ports import BlobReader, BlobWriter

Arrays = Mapping[str, NDArray[Any]]
"""A model: one array per tensor name."""

DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "BOOL": np.dtype("?"), "U8": np.dtype("u1"), "I8": np.dtype("i1"), "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"), "F16": np.dtype("<f2"), "U32": np.dtype("<u4"), "I32": np.dtype("<i4"),
    "F32": np.dtype("<f4"), "U64": np.dtype("<u8"), "I64": np.dtype("<i8"), "F64": np.dtype("<f8"),
}  # fmt: skip
"""numpy's dtype for each name that safetensors has and numpy knows."""

_NAMES: Final = {dtype: name for name, dtype in DTYPES.items()}


def layout_of(arrays: Arrays, rules: Mapping[str, int | Rule] | None = None) -> Layout:
    """Lay out a model from its arrays (see `plan_layout`); raises FormatError for a dtype that has no name."""
    return plan_layout([Tensor(name, _dtype_name(name, array), array.shape) for name, array in arrays.items()], rules)


def write_model(layout: Layout, arrays: Arrays, out: BlobWriter) -> Content:
    """Write a model file; raises FormatError when the arrays are not the layout's."""
    unknown = arrays.keys() - {slot.tensor.name for slot in layout.slots}
    if unknown:
        raise FormatError(f"the layout has no tensors {', '.join(sorted(unknown))}")
    fitting = [_fitting(slot, arrays) for slot in layout.slots]
    try:
        out.write(layout.model_header)
        for array in fitting:
            out.write(data_of(array))
        return out.commit()
    finally:
        out.abort()


def read_model(layout: Layout, model: BlobReader) -> dict[str, NDArray[Any]]:
    """Read all arrays of a version; raises FormatError when the file is not of this layout."""
    header = layout.model_header
    if model.size != layout.model_size or model.read(0, len(header)) != header:
        raise FormatError(f"a model of {model.size} bytes is not of the federation's layout {layout.digest}")
    arrays, offset = {}, len(header)
    for slot in layout.slots:
        tensor = slot.tensor
        array = np.empty(tensor.shape, _dtype(tensor))
        if tensor.nbytes:
            model.read_into(offset, array.reshape(-1).view(np.uint8).data)
        arrays[tensor.name] = array
        offset += tensor.nbytes
    return arrays


def data_of(array: NDArray[Any]) -> memoryview:
    """Return an array's bytes, row by row."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _fitting(slot: Slot, arrays: Arrays) -> NDArray[Any]:
    array = arrays.get(slot.tensor.name)
    if array is None:
        raise FormatError(f"tensor {slot.tensor.name} is missing: the layout says {slot.tensor}")
    if array.shape != slot.tensor.shape or array.dtype != _dtype(slot.tensor):
        raise FormatError(f"tensor {slot.tensor.name} is {array.dtype}{array.shape}, the layout says {slot.tensor}")
    return array


def _dtype(tensor: Tensor) -> np.dtype[Any]:
    if tensor.dtype not in DTYPES:
        raise FormatError(f"tensor {tensor.name} is {tensor.dtype}, which numpy does not know: use float32")
    return DTYPES[tensor.dtype]


def _dtype_name(name: str, array: NDArray[Any]) -> str:
    if array.dtype not in _NAMES:
        raise FormatError(f"tensor {name} is {array.dtype}: use float32, or an integer type for counters")
    return _NAMES[array.dtype]
