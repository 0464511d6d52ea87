"""The merge against a slow oracle: exact rationals, rounded where IEEE 754 rounds, one element at a time."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from fedchain.core.rules.policy import fedasync, fedbuff, preset
from fedchain.core.strategies.mean import Mean
from fedchain.core.strategies.merge import TINY, MergeInputs
from fedchain.core.strategies.mixing import Mixing
from fedchain.core.strategies.registry import STRATEGIES
from fedchain.core.strategies.staleness import Hinge
from fedchain.core.strategies.strategy import Block, Weights

Make = Callable[..., Any]


def float64(value: Fraction) -> Fraction:
    """Round to the nearest float64, ties to even: what one IEEE operation does to its exact result."""
    return Fraction(float(value))


def float32(value: Fraction) -> float:
    return float(struct.unpack("<f", struct.pack("<f", float(value)))[0])


def kept(x: float, result: float) -> float:
    """What is written of a result: the parent's value where it is not finite, +0 where it is subnormal."""
    value = result if math.isfinite(result) else x
    return value if abs(value) >= TINY else 0.0


def mean(x: float, qs: list[int], weights: list[int], divisor: int, bits: int, rate: float) -> float:
    """x' = float32(x + (Σ w q / (W · 2^b)) · η)."""
    if divisor == 0:
        return x
    acc = float64(Fraction(sum(w * q for w, q in zip(weights, qs, strict=True))))
    change = float64(float64(acc / float64(Fraction(divisor * 2**bits))) * Fraction(rate))
    return float32(float64(Fraction(x) + change))


def mixing(x: float, base: float, q: int, weight: int, bits: int, rate: float) -> float:
    """x' = float32(x + α · (s (x_base - x) + s q / 2^b)), s = w / 2^16."""
    step = float64(float64(Fraction(base) - Fraction(x)) * Fraction(weight, 65536))
    step = float64(step + float64(float64(Fraction(weight * q)) / (65536 * 2**bits)))
    return float32(float64(Fraction(x) + float64(step * Fraction(rate))))


def f32(*values: float) -> Any:
    return np.array(values, np.float32)


def i32(*values: int) -> Any:
    return np.array(values, np.int32)


q31 = st.integers(-(2**31) + 1, 2**31 - 1)
reals = st.floats(-1e6, 1e6, width=32)
rates = st.floats(0.001, 4)


@given(
    st.integers(1, 6).flatmap(
        lambda n: st.tuples(
            arrays_of.arrays(np.float32, n, elements=reals),
            st.lists(arrays_of.arrays(np.int32, n, elements=q31), min_size=1, max_size=5),
        )
    ),
    st.data(),
)
def test_the_mean_is_the_oracles_bit_for_bit(
    bench: Make, weigh: Make, arrays: tuple[Any, list[Any]], data: st.DataObject
) -> None:
    x, updates = arrays
    bits, rate = data.draw(st.integers(1, 30)), data.draw(rates)
    policy = data.draw(
        st.sampled_from([
            fedbuff(size=len(updates), rate=rate),
            preset("fedavg", rate=rate),
            preset("fedbuff", rate=rate, normalise="weights"),
            preset("fedbuff", rate=rate, staleness=Hinge(function="hinge", a=60_000, b=2)),
        ])
    )  # fmt: skip
    weights = weigh(policy, [(data.draw(st.integers(0, 9)), data.draw(st.integers(1, 2**64 - 1))) for _ in updates])
    table = bench({"w": x}, {"w": bits})
    files = [table.update([q], site) for site, q in enumerate(updates, start=1)]
    merged = table.merge("mean", weights, rate, MergeInputs(table.model({"w": x}), files, files[0]))
    expected = [
        kept(
            float(x[i]),
            mean(float(x[i]), [int(q[i]) for q in updates], list(weights.rows[0]), weights.divisors[0], bits, rate),
        )
        for i in range(len(x))
    ]
    assert np.frombuffer(merged[-4 * len(x) :], np.float32).tobytes() == f32(*expected).tobytes()


@given(reals, reals, q31, st.integers(0, 300), st.integers(1, 30), rates)
def test_mixing_is_the_oracles_bit_for_bit(
    bench: Make, weigh: Make, x: float, base: float, q: int, staleness: int, bits: int, rate: float
) -> None:
    weights = weigh(fedasync(alpha=rate), [(staleness, 1)])
    table = bench({"w": f32(x)}, {"w": bits})
    update = table.update([i32(q)])
    sources = MergeInputs(table.model({"w": f32(x)}), [update], update, bases=[table.model({"w": f32(base)})])
    merged = table.merge("mixing", weights, rate, sources)
    assert merged[-4:] == f32(kept(x, mixing(x, base, q, weights.rows[0][0], bits, rate))).tobytes()


@given(st.lists(st.integers(1, 2**64 - 1), min_size=1, max_size=8), st.lists(st.integers(0, 50), min_size=8))
def test_weights_by_samples_are_at_most_one(weigh: Make, samples: list[int], staleness: list[int]) -> None:
    policy = preset("fedavg", staleness=fedbuff().strategy.staleness)
    weights = weigh(policy, list(zip(staleness, samples, strict=False)))
    products = [policy.strategy.staleness.weight(tau) * n for n, tau in zip(samples, staleness, strict=False)]
    shrink = math.ceil(Fraction(max(products), 65536))
    (row,) = weights.rows
    assert row == tuple(math.floor(Fraction(product, shrink)) for product in products)
    assert 32768 <= max(row) <= 65536 or shrink == 1
    assert weights.divisors == (sum(row),)


def block(x: float, total: int, base: float, bits: int) -> Block:
    return Block(
        x=f32(x),
        sums=np.array([[total]], np.int64),
        updates=np.empty((0, 1), np.int32),
        bases=f32(base).reshape(1, 1),
        state={},
        bits=bits,
        scratch=np.empty(1, np.float64),
    )


def test_every_rounding_step_of_the_mean_shows() -> None:
    """Rates that bring the change next to a tie of float32, where the last bit of each float64 step decides."""
    weights, bits, teeth = Weights(((65536,) * 3,), (3 * 65536,)), 24, 0
    for number in range(1, 2000):
        total, tie = 2**40 + 987_654_321 * number, Fraction(2**24 + 2 * number + 1, 2**25)
        rate = float(tie / Fraction(total, weights.divisors[0] * 2**bits))
        result = float(STRATEGIES["mean"].step(block(0, total, 0, bits), weights, Mean(rate=rate))[0][0])
        assert result == mean(0.0, [total], [1], weights.divisors[0], bits, rate)
        teeth += result != float(np.float32(total * (rate / (weights.divisors[0] * 2**bits))))
    assert teeth > 100


def test_every_rounding_step_of_mixing_shows() -> None:
    weights, bits, teeth = Weights(((46340,),), (65536,)), 24, 0
    for number in range(1, 2000):
        q, base, tie = 12_345_677 * number % 2**31, 1 + number / 4096, Fraction(2**24 + 2 * number + 1, 2**25)
        exact = (Fraction(base) + Fraction(q, 2**bits)) * Fraction(46340, 65536)
        rate = float(tie / exact)
        result = float(STRATEGIES["mixing"].step(block(0, 46340 * q, base, bits), weights, Mixing(rate=rate))[0][0])
        assert result == mixing(0.0, base, q, 46340, bits, rate)
        teeth += result != float(np.float32((base + q / 2**bits) * (46340 / 65536 * rate)))
    assert teeth > 100
