from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from fedchain.core.errors import TaskError
from fedchain.training.state import arrays_of, load_arrays

DTYPES = st.sampled_from([np.float32, np.int64, np.int32, np.int16, np.int8, np.uint8, np.bool_])
TENSORS = st.lists(DTYPES.flatmap(lambda d: hnp.arrays(d, hnp.array_shapes(min_dims=0, min_side=0))), max_size=5)


def module(*tensors: torch.Tensor) -> torch.nn.Module:
    made = torch.nn.Module()
    for number, tensor in enumerate(tensors):
        if tensor.is_floating_point():
            made.register_parameter(f"t{number}", torch.nn.Parameter(tensor))
        else:
            made.register_buffer(f"t{number}", tensor)
    return made


@given(TENSORS)
def test_arrays_go_into_a_model_and_come_back_bit_for_bit(arrays: list[NDArray[np.generic]]) -> None:
    model = module(*(torch.zeros_like(torch.tensor(array)) for array in arrays))
    names = list(model.state_dict())
    given_arrays = {f"t{number}": array for number, array in enumerate(arrays)}
    load_arrays(model, given_arrays)
    back = arrays_of(model)
    assert list(back) == names
    for name, array in given_arrays.items():
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape
        assert back[name].tobytes() == array.tobytes()


def test_arrays_stand_in_state_dict_order_with_buffers() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    arrays = arrays_of(model)
    assert list(arrays) == list(model.state_dict())
    assert arrays["1.num_batches_tracked"].dtype == np.int64
    assert arrays["1.num_batches_tracked"].shape == ()


def test_arrays_are_contiguous_whatever_the_models_strides() -> None:
    model = module(torch.arange(6.0).reshape(2, 3).T)
    array = arrays_of(model)["t0"]
    assert array.flags.c_contiguous
    assert array.tolist() == [[0, 3], [1, 4], [2, 5]]
    load_arrays(model, {"t0": array + 1})
    assert arrays_of(model)["t0"].tolist() == [[1, 4], [2, 5], [3, 6]]


def test_arrays_that_cannot_be_written_to_load() -> None:
    array = np.frombuffer(np.float32([1, 2]).tobytes(), np.float32)
    model = module(torch.zeros(2))
    load_arrays(model, {"t0": array})
    next(model.parameters()).data.add_(1)
    assert array.tolist() == [1, 2]
    assert arrays_of(model)["t0"].tolist() == [2, 3]


def test_tied_tensors_are_named() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    model[1].weight = model[0].weight
    with pytest.raises(TaskError, match=r"0\.weight and 1\.weight share memory"):
        arrays_of(model)


def test_overlapping_views_are_tied_and_neighbouring_ones_are_not() -> None:
    flat = torch.zeros(10)
    with pytest.raises(TaskError, match="t1 and t2 share memory"):
        arrays_of(module(flat[:3], flat[3:8], flat[7:]))
    assert len(arrays_of(module(flat[:3], flat[3:8], flat[8:]))) == 3


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (module(torch.zeros(2, dtype=torch.float64)), "tensor t0 is torch.float64"),
        (module(torch.zeros(2, dtype=torch.bfloat16)), "tensor t0 is torch.bfloat16"),
        (module(torch.zeros(2, 2).to_sparse()), "tensor t0 is torch.float32, torch.sparse_coo"),
        (torch.nn.LazyLinear(3), "tensor weight has no values yet"),
        (torch.nn.Linear(2, 2, device="meta"), "tensor weight has no values yet"),
    ],
)
def test_what_cannot_travel_is_named(model: torch.nn.Module, words: str) -> None:
    with pytest.raises(TaskError, match=words):
        arrays_of(model)


def test_extra_state_cannot_travel() -> None:
    class Noted(torch.nn.Linear):
        def get_extra_state(self) -> str:
            return "note"

        def set_extra_state(self, state: object) -> None: ...

    with pytest.raises(TaskError, match="_extra_state of the model is str"):
        arrays_of(Noted(1, 1))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bias": None}, r"only the task has \['bias'\]"),
        ({"scale": np.float32(1)}, r"only the federation has \['scale'\]"),
        ({"bias": np.zeros(3, np.float32)}, r"bias: the task's model has float32 \(2,\).* float32 \(3,\)"),
        ({"bias": np.zeros(2)}, r"bias: the task's model has float32 \(2,\).* float64 \(2,\)"),
    ],
)
def test_another_models_arrays_are_refused_whole(change: dict[str, NDArray[np.generic]], words: str) -> None:
    model = torch.nn.Linear(3, 2)
    before = {name: array.copy() for name, array in arrays_of(model).items()}
    given_arrays = {name: array + 1 for name, array in before.items()} | change
    with pytest.raises(TaskError, match=words):
        load_arrays(model, {name: array for name, array in given_arrays.items() if array is not None})
    assert all((arrays_of(model)[name] == before[name]).all() for name in before)
