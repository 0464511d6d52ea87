from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import safetensors.numpy

from fedchain.core.formats.modelfile import layout_of
from fedchain.core.updates.fixed_point import Q_LIMIT

Make = Callable[..., Any]


def test_integers_as_they_are(desk: Make) -> None:
    table = desk(layout_of({"w": np.zeros((2, 2), np.float32), "v": np.zeros(3, np.float32)}))
    w, v = np.array([[1, -2], [Q_LIMIT, -Q_LIMIT]], np.int32), np.array([7, 8, 9], np.int32)
    file = table.write({"w": w, "v": v})
    assert file.endswith(w.tobytes() + v.tobytes())
    assert safetensors.numpy.load(file)["w"].tolist() == w.tolist()
    assert table.read(file).tolist() == [1, -2, Q_LIMIT, -Q_LIMIT, 7, 8, 9]


def test_a_run_across_tensors_is_one_read_into_the_callers_buffer(desk: Make) -> None:
    table = desk(layout_of({name: np.zeros(5, np.float32) for name in "abc"}))
    update = table.open(table.write({name: np.arange(5, dtype=np.int32) for name in "abc"}))
    reads: list[int] = []

    class Counted:
        size = update.blob.size

        def read_into(self, offset: int, out: memoryview) -> None:
            reads.append(len(out))
            update.blob.read_into(offset, out)

    out = np.empty(12, np.int32)
    type(update)(Counted(), update.encoding, None, update._geometry).read_into(2, out)
    assert out.tolist() == [2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2, 3]
    assert reads == [48]
