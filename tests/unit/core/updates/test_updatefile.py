"""Update files, in the encoding q24: what is written, and what is opened."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from threading import Thread
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from fedchain.core.errors import FormatError
from fedchain.core.formats.layout import Rule
from fedchain.core.formats.modelfile import layout_of
from fedchain.core.formats.tensors import Tensor, decode_header
from fedchain.core.ledger.content import Content, Digest
from fedchain.core.updates.encodings.encoding import Encoding, EncodingParameters
from fedchain.core.updates.encodings.q24 import Q24
from fedchain.core.updates.encodings.registry import ENCODINGS
from fedchain.core.updates.fixed_point import Q_LIMIT
from fedchain.core.updates.updatefile import (
    UpdateFile,
    update_header,
    update_size,
    update_sizes,
    write_integers,
    write_update,
)
from fedchain.store.memory import MemoryBlobs

Make = Callable[..., Any]
SITE, OTHER_SITE = "0x" + "01" * 20, "0x" + "02" * 20
BASE, OTHER_BASE = Content(Digest(bytes(range(32))), 99), Content(Digest(bytes(32)), 2**30)
PROVENANCE = sha256(b"document").digest()


def f32(*values: float) -> Any:
    return np.array(values, np.float32)


MODEL = {"w": f32(1, 2), "n": np.array(7), "c": np.array([True]), "v": f32(3)}
RULES: dict[str, int | Rule] = {"c": Rule.KEPT, "v": 8}
LAYOUT = layout_of(MODEL, RULES)
WHOSE: Any = (LAYOUT, SITE, BASE)
TRAINED = {"w": f32(1.5, 2), "n": np.array(9), "c": np.array([False]), "v": f32(4)}
INTEGERS = {"w": np.array([2**23, 0], np.int32), "v": np.array([2**8], np.int32), "n": np.array(9)}


def written(blobs: MemoryBlobs, content: Content) -> bytes:
    return blobs.open(content).read(0, content.size)


def write(new: Any = None, old: Any = None, provenance: bytes | None = None) -> bytes:
    blobs = MemoryBlobs()
    return written(blobs, write_update(*WHOSE, new or TRAINED, old or MODEL, Q24(), blobs.create(), provenance))


def put(data: bytes) -> Any:
    blobs = MemoryBlobs()
    writer = blobs.create()
    writer.write(data)
    return blobs.open(writer.commit())


def test_an_update_holds_merged_and_then_freshest_tensors() -> None:
    data = write()
    loaded = safetensors.numpy.load(data)
    assert {name: (array.dtype, array.tolist()) for name, array in loaded.items()} == {
        "w": (np.int32, [2**23, 0]),
        "v": (np.int32, [2**8]),
        "n": (np.int64, 9),
    }
    assert len(data) == update_size(*WHOSE, Q24())
    update = UpdateFile.open(put(data), *WHOSE, [Q24()])
    q = np.empty(3, np.int32)
    update.read_into(0, q)
    assert q.tolist() == [2**23, 0, 2**8]
    assert list(update.freshest(100)) == [(9).to_bytes(8, "little")]
    assert list(update.freshest(5)) == [bytes((9, 0, 0, 0, 0)), bytes(3)]


def test_integers_and_arrays_make_the_same_file() -> None:
    blobs = MemoryBlobs()
    assert written(blobs, write_integers(*WHOSE, INTEGERS, Q24(), blobs.create())) == write()


def test_an_update_says_whose_change_to_what_it_is() -> None:
    expected = {
        "format": "fedchain/update/2",
        "encoding": '{"name":"q24"}',
        "sealing": "none",
        "layout": sha256(LAYOUT.model_header).hexdigest(),
        "site": SITE,
        "base": BASE.cid,
        "provenance": "00" * 32,
    }
    tensors, metadata = decode_header(update_header(*WHOSE, Q24()))
    assert metadata == expected
    assert tensors == (Tensor("w", "I32", (2,)), Tensor("v", "I32", (1,)), Tensor("n", "I64", ()))
    assert decode_header(update_header(*WHOSE, Q24(), PROVENANCE))[1] == expected | {"provenance": PROVENANCE.hex()}
    assert update_header(LAYOUT, OTHER_SITE, OTHER_BASE, Q24()).count(OTHER_BASE.cid.encode()) == 1


def test_names_that_look_like_the_words_of_the_header() -> None:
    name = '"provenance":"' + "0" * 64 + '"'
    layout = layout_of({name: f32(1), "site": f32(2), "A": f32(3)})
    header = update_header(layout, SITE, BASE, Q24(), PROVENANCE)
    tensors, metadata = decode_header(header)
    assert {tensor.name for tensor in tensors} == {name, "site", "A"}
    assert (metadata["provenance"], metadata["site"]) == (PROVENANCE.hex(), SITE)
    data = header + bytes(12)
    assert UpdateFile.open(put(data), layout, SITE, BASE, [Q24()]).provenance == PROVENANCE


# Provenance


def test_provenance_is_a_digest_or_nothing() -> None:
    with_one, without = write(provenance=PROVENANCE), write()
    assert len(with_one) == len(without)
    assert UpdateFile.open(put(with_one), *WHOSE, [Q24()]).provenance == PROVENANCE
    assert UpdateFile.open(put(without), *WHOSE, [Q24()]).provenance is None
    assert write(provenance=bytes(32)) == without
    with pytest.raises(FormatError, match="a provenance of 31 bytes is not a sha2-256 digest"):
        write(provenance=bytes(31))


@pytest.mark.parametrize("word", [b"G" * 64, b"A" * 64, b" " * 64, b"\0" * 64, b"\xff" * 64])
def test_a_provenance_in_another_form_is_refused(word: bytes) -> None:
    data = write(provenance=PROVENANCE)
    with pytest.raises(FormatError, match="are not the update of"):
        UpdateFile.open(put(data.replace(PROVENANCE.hex().encode(), word)), *WHOSE, [Q24()])


# What is refused


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("w", f32(1, np.nan), "tensor w: a change between nan and nan does not fit int32 with 24 fraction bits"),
        ("v", f32(2**23 + 3), "tensor v: a change between .* with 8 fraction bits .range ±8.38861e.06"),
        ("w", f32(1), r"tensor w: the layout has shape \(2,\), the update shape \(1,\)"),
        ("n", np.array([7]), r"tensor n: the layout has shape \(\), the update shape \(1,\)"),
        ("n", np.array(7, np.int32), "tensor n: the layout has I64, the update int32"),
    ],
)
def test_what_does_not_fit_names_its_tensor(name: str, value: Any, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        write(MODEL | {name: value})


def test_a_missing_tensor_is_named() -> None:
    with pytest.raises(FormatError, match=r"tensor v: .* the update nothing"):
        write({name: MODEL[name] for name in "wnc"})


@pytest.mark.parametrize(
    "q", [np.array([0, -(2**31)], np.int32), np.zeros(2, np.int64), np.zeros(2, np.float32), np.zeros(3, np.int32)]
)
def test_integers_that_cannot_be_merged(q: Any) -> None:
    with pytest.raises(FormatError, match=f"int32 within ±{Q_LIMIT} can be merged|has shape"):
        write_integers(*WHOSE, INTEGERS | {"w": q}, Q24(), MemoryBlobs().create())


def test_an_error_leaves_nothing() -> None:
    blobs = MemoryBlobs()
    with pytest.raises(FormatError):
        write_integers(*WHOSE, INTEGERS | {"n": np.array(1.0)}, Q24(), blobs.create())
    assert not blobs._held


def test_what_is_not_this_sites_change_to_this_base_is_not_opened() -> None:
    data = write()
    header = update_header(*WHOSE, Q24())
    rest = data[len(header) :]
    other_bits = layout_of(MODEL, RULES | {"v": 9})
    kept = layout_of(MODEL | {"k": np.array(1)}, RULES | {"k": Rule.KEPT})
    refused = {
        "another site": update_header(LAYOUT, OTHER_SITE, BASE, Q24()) + rest,
        "another base": update_header(LAYOUT, SITE, OTHER_BASE, Q24()) + rest,
        "another layout": update_header(other_bits, SITE, BASE, Q24()) + rest,
        "another layout of equal tensors": update_header(kept, SITE, BASE, Q24()) + rest,
        "the format before": data.replace(b"update/2", b"update/1"),
        "sealed": data.replace(b'"sealing":"none"', b'"sealing":"hpke"'),
        "a byte short": data[:-1],
        "a byte long": data + b"\0",
        "cut in its header": data[:20],
        "empty": b"",
        "all zeros": bytes(len(data)),
        "one space less": data[: len(header) - 1] + b"\t" + rest,
    }
    UpdateFile.open(put(data), *WHOSE, [Q24()])
    for what, wrong in refused.items():
        with pytest.raises(FormatError, match=f"{len(wrong)} bytes are not the update of {SITE}"):
            raise AssertionError(what, UpdateFile.open(put(wrong), *WHOSE, [Q24()]))
    with pytest.raises(FormatError):
        UpdateFile.open(put(data), *WHOSE, [])


def test_a_site_of_another_length_has_no_header() -> None:
    with pytest.raises(FormatError, match="an update's header has fixed lengths"):
        update_header(LAYOUT, SITE[:-2], BASE, Q24())  # type: ignore[arg-type]


class Twice(EncodingParameters):
    """Stores a tensor twice, under one more name."""

    name: str = "twice"


@pytest.fixture
def twice(monkeypatch: pytest.MonkeyPatch) -> Twice:
    def tensors(_: Twice, tensor: Tensor) -> tuple[Tensor, ...]:
        return (Tensor(tensor.name, "I32", tensor.shape), Tensor(f"{tensor.name}:again", "I32", tensor.shape))

    monkeypatch.setitem(
        ENCODINGS, "twice", Encoding(Twice, tensors, lambda _, q: iter((q, q)), ENCODINGS["q24"].decode)
    )
    return Twice()


def test_an_encoding_that_cannot_hold_the_layout_has_no_update(twice: Twice) -> None:
    layout = layout_of({"w": f32(1), "w:again": f32(1)})
    with pytest.raises(FormatError, match="two tensors of one file are called w:again"):
        update_size(layout, SITE, BASE, twice)
    assert update_sizes(layout, SITE, BASE, [twice, Q24()]) == {update_size(layout, SITE, BASE, Q24())}
    data = update_header(layout, SITE, BASE, Q24()) + bytes(8)
    assert UpdateFile.open(put(data), layout, SITE, BASE, [twice, Q24()]).encoding == Q24()


def test_tensors_that_are_not_joined_are_decoded_one_by_one(twice: Twice) -> None:
    layout = layout_of({"w": f32(1, 2), "v": f32(1, 2, 3), "n": np.array(1)})
    blobs = MemoryBlobs()
    arrays = {"w": np.array([1, 2], np.int32), "v": np.array([3, 4, 5], np.int32), "n": np.array(6)}
    data = written(blobs, write_integers(layout, SITE, BASE, arrays, twice, blobs.create()))
    update = UpdateFile.open(put(data), layout, SITE, BASE, [Q24(), twice])
    q = np.empty(3, np.int32)
    update.read_into(1, q)
    assert q.tolist() == [2, 3, 4]
    assert b"".join(update.freshest(9)) == (6).to_bytes(8, "little")


def test_threads_read_one_file(desk: Make) -> None:
    size = 300_000
    table = desk(layout_of({"w": np.zeros(size, np.float32)}))
    update = table.open(table.write({"w": np.arange(size, dtype=np.int32)}))
    out = np.empty(size, np.int32)
    step = size // 6
    threads = [Thread(target=update.read_into, args=(at, out[at : at + step])) for at in range(0, size, step)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert np.array_equal(out, np.arange(size))
