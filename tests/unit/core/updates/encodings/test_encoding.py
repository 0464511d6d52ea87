from __future__ import annotations

import numpy as np
import pytest

from fedchain.core.errors import Corrupt
from fedchain.core.formats.tensors import Tensor
from fedchain.core.updates.encodings.encoding import Stored
from fedchain.store.memory import MemoryBlobs


def test_a_stored_tensor_is_read_from_any_element_on() -> None:
    blobs = MemoryBlobs()
    writer = blobs.create()
    writer.write(b"header" + np.arange(5, dtype="<i2").tobytes())
    blob = blobs.open(writer.commit())
    out = np.empty(2, "<i2")
    stored = Stored(Tensor("t", "I16", (5,)), 6)
    stored.read_into(blob, 3, out)
    assert out.tolist() == [3, 4]
    with pytest.raises(Corrupt):
        stored.read_into(blob, 4, out)
