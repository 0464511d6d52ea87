"""The merge by hand, across blocks, and where it must stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedchain.core.errors import Corrupt, PlanError
from fedchain.core.formats.layout import Rule
from fedchain.core.formats.modelfile import read_model, write_model
from fedchain.core.ledger.content import Content, Digest
from fedchain.core.ledger.records import Version
from fedchain.core.rules.policy import fedasync, fedavg, fedbuff
from fedchain.core.strategies.mean import Mean
from fedchain.core.strategies.merge import Merge, MergeInputs
from fedchain.core.strategies.registry import STRATEGIES
from fedchain.core.strategies.strategy import Weights
from fedchain.core.updates.fixed_point import BLOCK
from fedchain.replica.recompute import recompute, run_merge
from fedchain.store.alone import LoneStore

Make = Callable[..., Any]


def f32(*values: float) -> Any:
    return np.array(values, np.float32)


def i32(*values: int) -> Any:
    return np.array(values, np.int32)


# By hand


def test_fedbuff_by_hand(bench: Make, weigh: Make) -> None:
    """Two updates of +1 and -½, the second one version late: x + (1 - 46340/65536/2) / 2."""
    table = bench({"w": f32(0, 10)})
    weights = weigh(fedbuff(size=2), [(0, 1), (1, 1)])
    assert weights == Weights(((65536, 46340),), (131072,))
    one, half = 2**24, -(2**23)
    updates = [table.update([i32(one, one)]), table.update([i32(half, half)], site=2)]
    parent = table.model({"w": f32(0, 10)})
    data = table.merge("mean", weights, 1.0, MergeInputs(parent, updates, updates[0]))
    change = (65536 - 46340 / 2) / 131072
    assert np.frombuffer(data[-8:], np.float32).tolist() == [np.float32(change), np.float32(10 + change)]
    assert data[:-8] == table.layout.model_header


def test_fedavg_by_hand(bench: Make, weigh: Make) -> None:
    """Sites with 1 and 4 samples change a parameter by 5 and 0: the mean is 1."""
    table = bench({"w": f32(5)})
    weights = weigh(fedavg(), [(0, 1), (0, 4)])
    assert weights == Weights(((16384, 65536),), (81920,))
    updates = [table.update([i32(5 * 2**24)]), table.update([i32(0)], site=2)]
    data = table.merge("mean", weights, 1.0, MergeInputs(table.model({"w": f32(5)}), updates, updates[0]))
    assert np.frombuffer(data[-4:], np.float32).tolist() == [6]


def test_fedasync_mixes_with_the_site_and_not_with_its_change(bench: Make) -> None:
    """A site went from its base 2 to 3; the global model is at 10 by now: ½ · 10 + ½ · 3."""
    table = bench({"w": f32(0)})
    update = table.update([i32(2**24)])
    sources = MergeInputs(table.model({"w": f32(10)}), [update], update, bases=[table.model({"w": f32(2)})])
    data = table.merge("mixing", Weights(((65536,),), (65536,)), 0.5, sources)
    assert np.frombuffer(data[-4:], np.float32).tolist() == [6.5]


# Blocks, chunks, threads


@pytest.mark.parametrize("size", [1, 7, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 12345])
def test_every_element_of_odd_sizes_is_merged_once(bench: Make, size: int) -> None:
    x = np.arange(size, dtype=np.float32)
    table = bench({"w": x})
    updates = [table.update([np.full(size, 2**24, np.int32)], site) for site in (1, 2, 3)]
    sources = MergeInputs(table.model({"w": x}), updates, updates[0])
    merged = table.merge("mean", Weights(((65536,) * 3,), (3 * 65536,)), 1.0, sources)
    assert np.array_equal(np.frombuffer(merged[-4 * size :], np.float32), x + 1)


def test_chunks_threads_and_order_change_no_byte(bench: Make) -> None:
    random = np.random.default_rng(5)
    size = 2 * BLOCK + 777
    model = {"a": random.normal(size=size).astype(np.float32), "b": random.normal(size=999).astype(np.float32)}
    table = bench(model | {"n": np.arange(300)}, {"b": 12})
    updates = [
        table.update(
            [random.integers(-(2**31) + 1, 2**31, n, np.int32) for n in (size, 999)] + [np.arange(300) + site], site
        )
        for site in (1, 2, 3, 4)
    ]
    parent = table.model(model | {"n": np.arange(300)})
    each = (65536, 46340, 1, 37837)
    sources = MergeInputs(parent, updates, updates[2])
    expected = table.merge("mean", Weights((each,), (sum(each),)), 0.7, sources)
    reverse = MergeInputs(parent, updates[::-1], updates[2])
    assert table.merge("mean", Weights((each[::-1],), (sum(each),)), 0.7, reverse) == expected
    for threads, chunk in [(1, 999), (3, 1000), (2, 1 << 10), (4, 4 * BLOCK + 4), (7, 1 << 30)]:
        weights = Weights((each,), (sum(each),))
        assert table.merge("mean", weights, 0.7, sources, threads=threads, chunk=chunk) == expected


# What is not merged


def test_freshest_and_kept_tensors_come_through(bench: Make) -> None:
    model = {
        "w": f32(1, 2),
        "count": np.array(5),
        "seen": np.array([1, 2], np.uint8),
        "mask": np.array([True, False]),
    }
    table = bench(model, {"mask": Rule.KEPT})
    updates = [
        table.update([i32(0, 0), np.array(6), np.array([7, 8], np.uint8)], site=1),
        table.update([i32(0, 0), np.array(9), np.array([0, 255], np.uint8)], site=2),
    ]
    weights = Weights(((1, 1),), (2,))
    data = table.merge("mean", weights, 1.0, MergeInputs(table.model(model), updates, updates[1]), chunk=5)
    writer = table.blobs.create()
    writer.write(data)
    merged = read_model(table.layout, table.blobs.open(writer.commit()))
    assert merged["count"] == 9
    assert merged["seen"].tolist() == [0, 255]
    assert merged["mask"].tolist() == [True, False]
    assert merged["w"].tolist() == [1, 2]


def test_the_freshest_update_has_the_newest_base_and_of_equals_comes_last(begin: Make, policy: Make) -> None:
    story = begin(policy(size=1, per_site=9))
    story.update(1)
    assert story.publish() == []
    story.set_policy(policy(size=4, per_site=9))
    story.update(1)
    assert story.publish() == []
    seqs = [story.update(site, base=base) for site, base in [(1, 0), (2, 1), (3, 1), (1, 0)]]
    plan = story.plan()
    assert [entry.base for entry in plan.merged] == [0, 1, 1, 0]
    assert plan.freshest.seq == seqs[2]


def test_nothing_moves_where_every_weight_is_nought(bench: Make) -> None:
    x = f32(-(2.0**-126), 2.0**-126, 3.25)
    table = bench({"w": x})
    update = table.update([i32(5, 5, 5)])
    merged = table.merge("mean", Weights(((0,),), (0,)), 1.0, MergeInputs(table.model({"w": x}), [update], update))
    assert merged[-12:] == x.tobytes()


def test_a_model_with_nothing_to_merge(bench: Make) -> None:
    table = bench({"n": np.array(1), "empty": np.zeros((0, 2), np.float32)})
    update = table.update([np.zeros((0, 2), np.int32), np.array(2)])
    merged = table.merge(
        "mean",
        Weights(((1,),), (1,)),
        1.0,
        MergeInputs(table.model({"n": np.array(1), "empty": np.zeros((0, 2), np.float32)}), [update], update),
    )
    assert merged == table.layout.model_header + (2).to_bytes(8, "little")


# Bounds and faults


def test_the_largest_sums_are_exact(bench: Make, weigh: Make) -> None:
    """32,767 updates of weight 2^16 and the largest |q|: the most that a policy allows."""
    policy = fedbuff(size=2**15 - 1)
    weights = weigh(policy, [(0, 1)] * (2**15 - 1))
    (row,) = weights.rows
    assert sum(row) * (2**31 - 1) < 2**63
    table = bench({"w": f32(0)})
    update = table.update([i32(-(2**31) + 1)])
    sources = MergeInputs(table.model({"w": f32(0)}), [update] * len(row), update)
    merged = table.merge("mean", weights, 1.0, sources)
    assert merged[-4:] == f32(-(2**31 - 1) / 2**24).tobytes()


def test_weights_that_a_64_bit_sum_cannot_carry_are_refused(weigh: Make) -> None:
    with pytest.raises(PlanError, match="65537 updates with weights up to 65536 overflow a 64-bit sum"):
        weigh(fedavg(), [(0, 1)] * 65537)


def test_mixing_takes_one_update(weigh: Make) -> None:
    with pytest.raises(PlanError, match="mixing takes one update at a time, not 2"):
        weigh(fedasync(), [(0, 1)] * 2)


def test_a_damaged_file_leaves_nothing(bench: Make) -> None:
    table = bench({"w": np.zeros(3 * BLOCK, np.float32)})
    parent = table.model({"w": np.zeros(3 * BLOCK, np.float32)})
    whole = table.update([np.zeros(3 * BLOCK, np.int32)])

    class Short:
        """A file that ends early."""

        size = whole.blob.size

        def read_into(self, offset: int, out: memoryview) -> None:
            if offset > 2 * BLOCK * 4:
                raise Corrupt("the bytes end early")
            whole.blob.read_into(offset, out)

        def read(self, offset: int, size: int) -> bytes:
            return whole.blob.read(offset, size)

    class Watched:
        """A writer that tells what became of it."""

        def __init__(self) -> None:
            self.ended: list[str] = []

        def write(self, data: Any) -> None:
            pass

        def commit(self) -> Content:
            self.ended.append("committed")
            return Content(Digest(bytes(32)), 0)

        def abort(self) -> None:
            self.ended.append("aborted")

    weights, inputs = Weights(((1,),), (1,)), MergeInputs(parent, [replace(whole, blob=Short())], whole)
    merge = Merge(table.layout, STRATEGIES["mean"], Mean(), weights, inputs)
    for threads in (1, 2):
        out = Watched()
        with pytest.raises(Corrupt, match="the bytes end early"):
            run_merge(merge, lambda out=out: out, threads, chunk=BLOCK)  # type: ignore[misc]
        assert out.ended == ["aborted"]
    out = Watched()
    with pytest.raises(Corrupt, match="the bytes end early"):
        merge.run(lambda: out, chunk=BLOCK)
    assert out.ended == ["aborted"]


@pytest.mark.parametrize("rows", [((1,),), ((1, 1, 1),), ((1, 1), (1,))])
def test_weights_for_other_updates_are_refused(bench: Make, rows: tuple[tuple[int, ...], ...]) -> None:
    table = bench({"w": f32(1)})
    updates = [table.update([i32(2)], site) for site in (1, 2)]
    merge = MergeInputs(table.model({"w": f32(1)}), updates, updates[0])
    with pytest.raises(PlanError, match=f"weights for {len(rows[-1])} updates, but 2 are given"):
        table.merge("mean", Weights(rows, (1,) * len(rows)), 1.0, merge)


async def test_a_plan_becomes_a_merge(begin: Make, bench: Make) -> None:
    story = begin()
    table = bench({"w": f32(1)})
    parent = write_model(table.layout, {"w": f32(1)}, table.blobs.create())
    for site in (1, 2):
        story.update(site, content=table.put([i32(2**24)], site, parent))
    plan = story.plan()
    plan = replace(plan, parent=parent, bases={Version(0): parent})
    made = await recompute(plan, table.layout, LoneStore(table.blobs), table.blobs.create)
    assert plan.weigh(made.gram) == Weights(((65536, 65536),), (131072,))
    assert (made.plan, made.gram, made.merged.state) == (plan, None, {})
    assert read_model(table.layout, table.blobs.open(made.merged.model))["w"].tolist() == [2]
