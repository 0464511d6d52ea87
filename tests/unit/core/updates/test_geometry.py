from __future__ import annotations

import numpy as np

from fedchain.core.formats.layout import Rule
from fedchain.core.formats.modelfile import layout_of
from fedchain.core.formats.tensors import Tensor
from fedchain.core.ledger.content import Content, Digest
from fedchain.core.ledger.records import Address
from fedchain.core.updates.encodings.encoding import Stored
from fedchain.core.updates.encodings.q24 import Q24
from fedchain.core.updates.geometry import Part, geometry_of

MODEL = {
    "empty": np.zeros((0, 2), np.float32),
    "w": np.zeros((2, 3), np.float32),
    "v": np.zeros(1, np.float32),
    "n": np.array(1),
    "k": np.array(1),
}


def test_where_everything_stands() -> None:
    geometry = geometry_of(layout_of(MODEL, {"k": Rule.KEPT}), Q24())
    data = len(geometry.template)
    # q24 joins neighbours: all merged elements are read as one tensor
    assert geometry.parts == (Part(0, 7, (Stored(Tensor("w", "I32", (2, 3)), data),)),)
    assert geometry.freshest == data + 7 * 4
    assert geometry.size == geometry.freshest + 8


def test_a_model_with_nothing_to_merge() -> None:
    geometry = geometry_of(layout_of({"n": np.array(1)}), Q24())
    assert geometry.parts == ()
    assert geometry.size == len(geometry.template) + 8


def test_a_header_is_worked_out_once_for_all_sites_and_bases() -> None:
    layout = layout_of(MODEL)
    geometry = geometry_of(layout, Q24())
    assert geometry_of(layout_of(MODEL), Q24()) is geometry
    headers = {
        geometry.header(Address("0x" + site * 20), Content(Digest(bytes(32)), size), provenance)
        for site in ("01", "02")
        for size in (1, 2**30)
        for provenance in (None, b"p" * 32)
    }
    assert len(headers) == 8
    assert {len(header) for header in headers} == {len(geometry.template)}
