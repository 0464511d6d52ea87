"""What every strategy that is registered must be: a new one is tested by its line in the registry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation import momentum

from fedchain.core.errors import FormatError
from fedchain.core.ledger.content import Content, Digest
from fedchain.core.ledger.records import Address, Seq, Version
from fedchain.core.rules.judged import Decision, Inspection, JudgedUpdate
from fedchain.core.rules.policy import Policy, preset
from fedchain.core.strategies.merge import TINY, Merge, Merged, MergeInputs
from fedchain.core.strategies.registry import PRESETS, STRATEGIES
from fedchain.core.strategies.staleness import ONE
from fedchain.core.strategies.statefile import ZEROS, StateFile
from fedchain.core.strategies.strategy import Block, Cohort, Step, Strategy, Takes, Weights
from fedchain.core.updates.fixed_point import BLOCK, Q_LIMIT
from fedchain.core.updates.inspection import gram
from fedchain.replica.recompute import run_merge

Make = Callable[..., Any]

NAMES = [*PRESETS, "momentum"]
K = 4
SIZES = {"a": BLOCK + 777, "b": 999}


@pytest.fixture(autouse=True, scope="module")
def _momentum() -> Iterator[None]:
    """One strategy more, with all that a strategy may ask for."""
    with momentum.registered():
        yield


def strategy_of(name: str) -> Strategy[Any]:
    return STRATEGIES[PRESETS[name].parameters.name]


def size_of(name: str) -> int:
    """As many updates as the strategy takes, up to K."""
    return K if PRESETS[name].parameters.conflict(K) is None else 1


def judged(number: int, *, staleness: int = 0, samples: int = 1, norm2: int = 25) -> JudgedUpdate:
    content = Content(Digest(number.to_bytes(32, "big")), 9)
    found = Inspection(None, 5, norm2)
    site = Address("0x" + f"{number + 1:02x}" * 20)
    return JudgedUpdate(Seq(number), site, content, Version(0), samples, Decision.MERGED, staleness, found)


class Table:
    """One merge of a strategy's, to be run in many ways."""

    def __init__(self, bench: Make, name: str) -> None:
        random = np.random.default_rng(11)

        def model() -> dict[str, Any]:
            floats = {key: random.normal(size=n).astype(np.float32) for key, n in SIZES.items()}
            return floats | {"n": np.arange(300)}

        parent = model()
        self.bench = bench(parent, {"b": 12})
        self.name, self.strategy = name, strategy_of(name)
        self.layout = self.bench.layout
        self.parent = self.bench.model(parent)
        self.updates = [
            self.bench.update(
                [random.integers(-(2**22), 2**22, n, np.int32) for n in SIZES.values()] + [np.arange(300) + site], site
            )
            for site in range(1, size_of(name) + 1)
        ]
        self.bases = [self.bench.model(model()) for _ in self.updates] if self.strategy.needs_bases else []
        self.state: dict[str, StateFile] = {}
        if self.strategy.state:  # that which a first merge leaves
            self.state = self.opened(self.run(range(len(self.updates))))

    def opened(self, merged: Merged) -> dict[str, StateFile]:
        blobs = self.bench.blobs
        return {
            key: StateFile(blobs.open(merged.state[key]), self.layout, self.strategy.name, key, dtype)
            for key, dtype in self.strategy.state.items()
        }

    def run(self, order: Any, *, parts: int = 1, threads: int = 0, chunk: int = 1 << 30) -> Merged:
        """Merge, reading the updates in an order."""
        files = [self.updates[index] for index in order]
        measured = None
        if self.strategy.needs_gram:
            vectors = [self.state.get(key, ZEROS) for key in self.strategy.gram_state]
            measured = gram([*files, *vectors], self.layout)
        cohort = Cohort(tuple(judged(index, staleness=index, samples=100 + index) for index in order), measured)
        parameters = PRESETS[self.name].parameters
        bases = [self.bases[index] for index in order] if self.bases else ()
        inputs = MergeInputs(self.parent, files, self.updates[-1], bases, self.state)
        merge = Merge(self.layout, self.strategy, parameters, self.strategy.weigh(cohort, parameters), inputs)
        if threads:
            return run_merge(merge, self.bench.blobs.create, threads, chunk)
        return merge.run(self.bench.blobs.create, parts=parts, chunk=chunk)


@pytest.fixture(scope="module", params=NAMES)
def table(request: pytest.FixtureRequest, bench: Make) -> Table:
    return Table(bench, request.param)


# Merging


@settings(max_examples=25)
@given(st.permutations(range(K)), st.integers(1, 9), st.integers(0, 3), st.integers(2**12, 2**21))
def test_chunks_parts_threads_and_order_change_no_byte(
    table: Table, order: list[int], parts: int, threads: int, chunk: int
) -> None:
    few = [index for index in order if index < len(table.updates)]
    expected = table.run(range(len(table.updates)))
    assert table.run(few, parts=parts, threads=threads, chunk=chunk) == expected
    assert expected.state.keys() == table.strategy.state.keys()


def test_every_strategy_moves_the_model(table: Table) -> None:
    merged = table.run(range(len(table.updates)))
    data = table.bench.blobs.open(merged.model).read(0, merged.model.size)
    parent = table.parent.read(0, table.parent.size)
    start, stop = len(table.layout.model_header), len(table.layout.model_header) + 4 * table.layout.elements
    x, y = (np.frombuffer(one[start:stop], np.float32) for one in (parent, data))
    assert (x != y).mean() > 0.9
    assert np.isfinite(y).all()
    assert data[stop:] == table.updates[-1].blob.read(table.updates[-1].blob.size - 2400, 2400)


ODD = np.array([np.nan, np.inf, -np.inf, 1e-45, -1e-45, -0.0, TINY, -TINY, 2.0**-127, 7], np.float32)


def test_what_is_not_finite_stays_and_what_is_subnormal_becomes_zero(bench: Make) -> None:
    """For every strategy: a parent with such values, and updates that change nothing."""
    for name in NAMES:
        strategy, parameters = strategy_of(name), PRESETS[name].parameters
        odd = bench({"w": ODD})
        updates = [odd.update([np.zeros(ODD.size, np.int32)], site) for site in range(1, size_of(name) + 1)]
        parent = odd.model({"w": ODD})
        measured = gram([*updates, *[ZEROS] * len(strategy.gram_state)], odd.layout) if strategy.needs_gram else None
        weights = strategy.weigh(Cohort(tuple(map(judged, range(len(updates)))), measured), parameters)
        inputs = MergeInputs(parent, updates, updates[0], [parent] * len(updates))
        merged = Merge(odd.layout, strategy, parameters, weights, inputs).run(odd.blobs.create)
        result = np.frombuffer(odd.blobs.open(merged.model).read(0, merged.model.size)[-4 * ODD.size :], np.float32)
        expected = np.array([np.nan, np.inf, -np.inf, 0, 0, 0, TINY, -TINY, 0, 7], np.float32)
        assert result.tobytes() == expected.tobytes(), name


def test_what_a_step_makes_is_written_so_whatever_the_step(bench: Make) -> None:
    """The model and every F32 vector of the state alike; integers as they are."""

    def step(block: Block, weights: Weights, parameters: Any) -> Step:
        n = len(block.x)
        return np.resize(ODD, n), {"f": np.resize(ODD, n), "i": np.arange(n, dtype=np.int32)}

    made = bench({"w": ODD})
    parent = made.model({"w": np.full(ODD.size, 3, np.float32)})
    update = made.update([np.zeros(ODD.size, np.int32)])
    strategy = replace(STRATEGIES["mean"], step=step, state={"f": "F32", "i": "I32"})
    parameters = PRESETS["fedbuff"].parameters
    inputs = MergeInputs(parent, [update], update)
    merged = Merge(made.layout, strategy, parameters, Weights(((1,),), (1,)), inputs).run(made.blobs.create)

    def written(content: Content, dtype: type) -> list[float]:
        data = made.blobs.open(content).read(0, content.size)
        return list(np.frombuffer(data[-4 * ODD.size :], dtype).tolist())

    assert written(merged.model, np.float32) == [3, 3, 3, 0, 0, 0, TINY, -TINY, 0, 7]
    assert written(merged.state["f"], np.float32) == [0, 0, 0, 0, 0, 0, TINY, -TINY, 0, 7]
    assert written(merged.state["i"], np.int32) == list(range(ODD.size))
    assert np.signbit(written(merged.model, np.float32)[3:6]).sum() == 0


def test_a_strategy_that_takes_updates_is_given_no_sums(bench: Make) -> None:
    seen = []

    def step(block: Block, weights: Weights, parameters: Any) -> Step:
        seen.append((block.sums.shape, block.updates.copy()))
        return block.x, {}

    made = bench({"w": np.zeros(3, np.float32)})
    updates = [made.update([np.array([site, 0, -site], np.int32)], site) for site in (1, 2)]
    strategy = replace(STRATEGIES["mean"], step=step, takes=Takes.UPDATES)
    inputs = MergeInputs(made.model({"w": np.zeros(3, np.float32)}), updates, updates[0])
    merge = Merge(made.layout, strategy, PRESETS["fedbuff"].parameters, Weights(((1, 1),), (2,)), inputs)
    merge.run(made.blobs.create)
    ((shape, q),) = seen
    assert shape == (0, 3)
    assert q.tolist() == [[1, 0, -1], [2, 0, -2]]


# Weights


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_weights_are_within_their_bounds(name: str, data: st.DataObject) -> None:
    strategy, parameters = strategy_of(name), PRESETS[name].parameters
    count = data.draw(st.integers(1, 8)) if parameters.conflict(8) is None else 1
    norms = data.draw(st.lists(st.integers(0, 2**62), min_size=count, max_size=count))
    cohort = Cohort(
        tuple(
            judged(
                number,
                staleness=data.draw(st.integers(0, 50)),
                samples=data.draw(st.integers(1, 2**64 - 1)),
                norm2=norm**2,
            )
            for number, norm in enumerate(norms)
        ),
        # vectors along one line, and the last ones that the strategy keeps at nought
        tuple(
            tuple(a * b for b in (*norms, *[0] * len(strategy.gram_state)))
            for a in (*norms, *[0] * len(strategy.gram_state))
        )
        if strategy.needs_gram
        else None,
    )
    weights = strategy.weigh(cohort, parameters)
    assert all(len(row) == count for row in weights.rows)
    assert all(0 <= weight <= ONE for row in weights.rows for weight in row)
    assert all(sum(row) * Q_LIMIT < 2**63 for row in weights.rows)
    assert len(weights.divisors) == len(weights.rows)
    assert all(divisor >= 0 for divisor in weights.divisors)
    assert strategy.weigh(cohort, parameters) == weights
    if strategy.takes is Takes.UPDATES:
        assert weights.rows == ()


# Policies


@pytest.mark.parametrize("name", NAMES)
def test_a_policy_of_every_preset_is_read_back(name: str) -> None:
    policy = preset(name)
    again = Policy.parse(policy.canonical())
    assert again == policy
    assert type(again.strategy) is strategy_of(name).parameters
    assert strategy_of(name).presets[name].parameters == policy.strategy


def test_every_strategy_has_a_preset_and_says_what_its_parameters_are() -> None:
    for name, strategy in STRATEGIES.items():
        assert strategy.name == name
        assert strategy.presets.items() <= PRESETS.items()
        assert strategy.presets
        fields = strategy.parameters.model_fields
        assert all(field.description for key, field in fields.items() if key != "name")
        assert set(strategy.gram_state) <= {key for key, dtype in strategy.state.items() if dtype == "I32"}


def test_a_strategy_that_is_not_registered_is_no_policys() -> None:
    data = preset("momentum").canonical()
    assert Policy.parse(data).strategy == momentum.Momentum()
    with pytest.raises(FormatError, match="'krum'"):
        Policy.parse(data.replace(b'"momentum"', b'"krum"'))
