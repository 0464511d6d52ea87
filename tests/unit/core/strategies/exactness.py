"""Encode, inspect and merge in every way that must not matter; print one digest for each as JSON.

A program, not a test: test_exactness.py runs it under different settings of the environment. All numbers are made
with integers, so that nothing but what is under test decides a bit.
"""

from __future__ import annotations

import json
import sys
from hashlib import sha256

import numpy as np
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__  # type: ignore[attr-defined]

from fedchain.core.formats.modelfile import layout_of, write_model
from fedchain.core.ledger.content import Content, Digest
from fedchain.core.ledger.records import Address, Seq, Version
from fedchain.core.rules.judged import Decision, JudgedUpdate
from fedchain.core.strategies.merge import Merge, MergeInputs
from fedchain.core.strategies.registry import STRATEGIES
from fedchain.core.strategies.strategy import Cohort
from fedchain.core.updates.encodings.q24 import Q24
from fedchain.core.updates.fixed_point import encode
from fedchain.core.updates.inspection import gram, inspect
from fedchain.core.updates.updatefile import UpdateFile, write_integers
from fedchain.replica.recompute import run_merge
from fedchain.store.memory import MemoryBlobs

SIZES = {"a": 150_001, "b": 1, "c": 65_537, "d": 12_345}
BITS = {"a": 24, "b": 30, "c": 1, "d": 13}
UPDATES = 6
SITE, BASE = Address("0x" + "01" * 20), Content(Digest(bytes(32)), 1)


def noise(seed: int, size: int) -> np.ndarray:
    """Spread numbers over all of int32 but -2^31: an affine map modulo 2^32."""
    values = (np.arange(size, dtype=np.uint64) * np.uint64(2654435761) + np.uint64(seed * 40503)) % np.uint64(2**32)
    return np.maximum(values.astype(np.int64) - 2**31, -(2**31) + 1).astype(np.int32)


def floats(seed: int, size: int) -> np.ndarray:
    """Spread float32 over many magnitudes, subnormal ones too."""
    shift = (np.arange(size) * 7 + seed) % 180
    return np.ldexp(noise(seed, size).astype(np.float32), -shift).astype(np.float32)


def main() -> None:
    """Print the digests."""
    blobs = MemoryBlobs()
    model = {name: floats(seed, size) for seed, (name, size) in enumerate(SIZES.items())}
    base = {name: floats(seed + 50, size) for seed, (name, size) in enumerate(SIZES.items())}
    layout = layout_of(model | {"n": np.arange(3)}, BITS)
    parent = blobs.open(write_model(layout, model | {"n": np.arange(3)}, blobs.create()))
    other = blobs.open(write_model(layout, base | {"n": np.arange(3)}, blobs.create()))
    whose, updates = (layout, SITE, BASE), []
    for number in range(UPDATES):
        arrays = {name: noise(100 * number + seed, size) for seed, (name, size) in enumerate(SIZES.items())}
        content = write_integers(*whose, arrays | {"n": np.arange(3) + number}, Q24(), blobs.create())
        updates.append(UpdateFile.open(blobs.open(content), *whose, [Q24()]))

    found: dict[str, str] = {}
    changes = [np.ldexp(floats(9, size), -90).astype(np.float32) for size in SIZES.values()]
    for name, change in zip(SIZES, changes, strict=True):
        found[f"encode {name}"] = sha256(encode(change, change[::-1], BITS[name]).tobytes()).hexdigest()
    inspections = [inspect(update.blob, *whose, [Q24()]) for update in updates]
    found["inspect"], found["gram"] = str(inspections), str(gram(updates, layout))
    judged = [
        JudgedUpdate(Seq(7 + number), SITE, BASE, Version(0), 100, Decision.MERGED, number, inspection)
        for number, inspection in enumerate(inspections)
    ]

    def merged(name: str, order: slice, threads: int, chunk: int) -> str:
        strategy, (preset, *_) = STRATEGIES[name], STRATEGIES[name].presets.values()
        some = order if preset.parameters.conflict(len(updates)) is None else slice(0, 1)
        files = updates[some]
        measured = gram(files, layout) if strategy.needs_gram else None
        weights = strategy.weigh(Cohort(tuple(judged[some]), measured), preset.parameters)
        inputs = MergeInputs(parent, files, updates[2], [other] * len(files))
        merge = Merge(layout, strategy, preset.parameters, weights, inputs)
        return run_merge(merge, blobs.create, threads, chunk).model.cid

    forward, backward = slice(None), slice(None, None, -1)
    for name in STRATEGIES:
        for threads, chunk in [(1, 1 << 30), (2, 1 << 30), (1, 1 << 10), (2, 1 << 16), (3, 999)]:
            for order in (forward, backward):
                key = f"{name}, {threads} threads, chunks of {chunk}, {'backward' if order.step else 'forward'}"
                found[key] = merged(name, order, threads, chunk)
    features = [name for name in __cpu_dispatch__ if __cpu_features__[name]]
    json.dump({"features": features, "found": found}, sys.stdout)


if __name__ == "__main__":
    main()
