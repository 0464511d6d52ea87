"""A model as numpy arrays by name, in state_dict order, and back."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

import torch
from numpy.typing import NDArray

from fedchain.core.errors import TaskError

Arrays = dict[str, NDArray[Any]]
"""A model's parameters and persistent buffers by name, in state_dict order."""

_DTYPES: Final = frozenset({torch.float32, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool})


def arrays_of(model: torch.nn.Module) -> Arrays:
    """Return the model's tensors as contiguous arrays on the host.

    A model on the CPU shares its memory with them. Raises TaskError as `tensors_of` does.
    """
    return {name: tensor.cpu().contiguous().numpy() for name, tensor in tensors_of(model).items()}


def load_arrays(model: torch.nn.Module, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Copy arrays into the model, all or none; raises TaskError unless names, shapes and dtypes agree."""
    tensors = tensors_of(model)
    missing, unknown = tensors.keys() - arrays.keys(), arrays.keys() - tensors.keys()
    if missing or unknown:
        raise TaskError(
            f"the task's model is not the federation's: "
            f"only the task has {sorted(missing)}, only the federation has {sorted(unknown)}"
        )
    for name, tensor in tensors.items():
        own = f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
        given = f"{arrays[name].dtype} {arrays[name].shape}"
        if own != given:
            raise TaskError(f"tensor {name}: the task's model has {own}, the federation's has {given}")
    for name, tensor in tensors.items():
        tensor.copy_(torch.tensor(arrays[name]))


def tensors_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the model's parameters and persistent buffers, detached, by name.

    Raises TaskError on what cannot travel: tensors that share memory, dtypes other than float32, integers and
    bool, sparse tensors, parameters without a shape yet, extra state that is no tensor.
    """
    tensors: dict[str, torch.Tensor] = {}
    for name, value in model.state_dict(keep_vars=True).items():
        if not isinstance(value, torch.Tensor):
            raise TaskError(f"{name} of the model is {type(value).__name__}: only tensors travel")
        if torch.nn.parameter.is_lazy(value) or value.is_meta:
            raise TaskError(f"tensor {name} has no values yet: model() must return a model ready to run")
        if value.layout != torch.strided or value.dtype not in _DTYPES:
            raise TaskError(
                f"tensor {name} is {value.dtype}, {value.layout}: build it as dense float32 or integers"
                " (the node's option bf16 trains in bfloat16 without changing the model)"
            )
        tensors[name] = value.detach()
    _refuse_shared(tensors)
    return tensors


def _refuse_shared(tensors: Mapping[str, torch.Tensor]) -> None:
    """Raise TaskError where two names cover the same bytes: a merge would count such a tensor twice."""
    spans = sorted((*_span(tensor), name) for name, tensor in tensors.items() if tensor.numel())
    for (_, end, first), (start, _, second) in pairwise(spans):
        if start < end:
            raise TaskError(
                f"tensors {first} and {second} share memory: a tied tensor would be merged twice;"
                " keep one of them and use it in both places of forward()"
            )


def _span(tensor: torch.Tensor) -> tuple[int, int]:
    """Return the first address of the tensor's elements and the one after its last."""
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + (last + 1) * tensor.element_size()
