"""Federations of every strategy are replayed; one with state and a Gram matrix hands its state on."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from math import isqrt
from typing import Any

import numpy as np
import pytest
from simulation import momentum
from unit.replica.adding import START, Adding

from fedchain.core.errors import FormatError, PlanError, Unavailable
from fedchain.core.formats.modelfile import read_model
from fedchain.core.ledger.content import Content
from fedchain.core.ledger.records import Version
from fedchain.core.rules.manifest import Manifest
from fedchain.core.rules.policy import preset
from fedchain.core.strategies.registry import PRESETS
from fedchain.core.strategies.statefile import StateFile
from fedchain.replica.follower import Follower
from fedchain.replica.recompute import needed, plan_again

Make = Callable[..., Any]
NAMES = [*PRESETS, "momentum"]


@pytest.fixture(autouse=True)
def _momentum() -> Iterator[None]:
    with momentum.registered():
        yield


async def round_of(federation: Adding, *adds: float, base: int) -> Manifest:
    """Let each site add something to a version, and publish what they make."""
    for site, add in enumerate(adds, start=1):
        federation.add(site, add, base)
    await federation.publish()
    await federation.follower.advance()
    return federation.follower.manifests[federation.follower.history.applied - 1]


def left(follower: Follower, strategy: str) -> Mapping[str, Content]:
    """What the version applied last left to a strategy."""
    return follower.history.state_left(follower.history.last, strategy)


@pytest.mark.parametrize("name", NAMES)
async def test_a_federation_of_every_preset_is_replayed(begin_real: Make, name: str) -> None:
    size = 1 if PRESETS[name].size == 1 else 3
    federation = begin_real(name, size=size)
    for version in range(4):
        await round_of(federation, *[1.0, -0.5, 0.25][:size], base=version)
    assert federation.follower.history.applied == 5
    assert await federation.faults() == []


# A strategy with state and a Gram matrix


def f32(value: float) -> float:
    return float(np.float32(value))


class Oracle:
    """Server momentum from its formulas, one element at a time."""

    def __init__(self) -> None:
        self.x = [f32(value) for value in START["w"]]
        self.velocity, self.mean = [0.0] * len(self.x), [0] * len(self.x)

    def step(self, *adds: float) -> tuple[list[int], list[list[int]]]:
        """Return weights and Gram matrix of sites that add something to every parameter."""
        qs = [[round((f32(x + add) - x) * 2**24) for x in self.x] for add in adds]
        rows = [[sum(map(operator.mul, a, b)) << 12 for b in (*qs, self.mean)] for a in (*qs, self.mean)]
        norms = [max(1, isqrt(rows[i][i])) for i in range(len(qs))]
        weights = [65536 * min(norms) // norm for norm in norms]
        weights = [w // 2 if rows[i][-1] < 0 else w for i, w in enumerate(weights)]
        sums = [sum(map(operator.mul, weights, column)) for column in zip(*qs, strict=True)]
        divisor = sum(weights)
        changes = [total / (divisor * 2**24) for total in sums]
        self.velocity = [f32(v * 0.5 + change) for v, change in zip(self.velocity, changes, strict=True)]
        self.mean = [total // divisor for total in sums]
        self.x = [f32(x + v) for x, v in zip(self.x, self.velocity, strict=True)]
        return weights, rows


def read_state(federation: Adding, manifest: Manifest, name: str) -> list[float]:
    dtype = momentum.STRATEGY.state[name]
    assert manifest.state is not None
    file = StateFile(federation.blobs.open(manifest.state[name].content), federation.layout, "momentum", name, dtype)
    values = np.empty(federation.layout.elements, np.float32 if dtype == "F32" else np.int32)
    file.read_into(0, values)
    return list(values.tolist())


async def test_state_goes_from_version_to_version(begin_real: Make) -> None:
    federation, oracle = begin_real("momentum"), Oracle()
    for version, adds in enumerate([(1.0, 0.5), (-0.25, 0.75), (2.0, -2.0)]):
        weights, rows = oracle.step(*adds)
        manifest = await round_of(federation, *adds, base=version)
        assert [line.weights for line in manifest.updates] == [(w,) for w in weights]
        assert manifest.gram_matrix == tuple(map(tuple, rows))
        assert (manifest.divisors, manifest.integers) == (
            (sum(weights),),
            {"shortest": str(isqrt(min(rows[0][0], rows[1][1])))},
        )
        assert read_state(federation, manifest, "velocity") == oracle.velocity
        assert read_state(federation, manifest, "mean") == oracle.mean
        model = read_model(federation.layout, federation.blobs.open(federation.model(version + 1)))
        assert model["w"].tolist() == oracle.x
    assert await federation.faults() == []


async def test_a_plan_with_state_is_read_back(begin_real: Make) -> None:
    federation = begin_real("momentum")
    first = await round_of(federation, 1.0, 0.5, base=0)
    federation.add(1, 1.0, 1)
    federation.add(2, 2.0, 1)
    plan = await federation.plan()
    assert plan.state == {name: blob.content for name, blob in first.state.items()}
    assert {f"the state {name} of version 1" for name in plan.state} <= set(needed(plan).values())
    await federation.publish()
    await federation.follower.advance()
    manifests, history = federation.follower.manifests, federation.follower.history
    again = plan_again(manifests[2], manifests[1], history)
    assert again == plan
    made = await federation.recompute(again)
    assert made.manifest(history.federation) == manifests[2]
    assert plan_again(manifests[1], manifests[0], history).state == {}


async def test_state_is_zeros_after_another_strategy(begin_real: Make) -> None:
    federation = begin_real("momentum")
    assert (await round_of(federation, 1.0, 0.5, base=0)).state is not None
    for name in ("fedbuff", "momentum"):
        federation.set_policy(preset(name, size=2, timeout_s=60))
        federation.add(1, 1.0, federation.follower.history.applied - 1)
        federation.add(2, 1.0, federation.follower.history.applied - 1)
        await federation.publish()  # the buffer that was open when the policy was set
        await federation.follower.advance()
        await round_of(federation, 1.0, 1.0, base=federation.follower.history.applied - 1)
    manifests = federation.follower.manifests
    assert [manifests[version].state is not None for version in range(1, 6)] == [True, True, False, False, True]
    assert read_state(federation, manifests[5], "velocity") == [1.0] * 3
    assert read_state(federation, manifests[2], "velocity") != [1.0] * 3
    assert await federation.faults() == []


async def test_state_goes_on_under_another_policy_of_the_same_strategy(begin_real: Make) -> None:
    federation = begin_real("momentum")
    await round_of(federation, 1.0, 1.0, base=0)
    federation.set_policy(preset("momentum", size=2, timeout_s=60, beta=0.0))
    await round_of(federation, 1.0, 1.0, base=1)
    manifest = await round_of(federation, 1.0, 1.0, base=2)
    assert read_state(federation, federation.follower.manifests[2], "velocity") == [1.5] * 3
    assert read_state(federation, manifest, "velocity") == [1.0] * 3
    assert left(federation.follower, "momentum").keys() == {"velocity", "mean"}
    assert await federation.faults() == []


def lies(manifest: Manifest, other: Content) -> dict[str, dict[str, Any]]:
    """Ways to lie about state and Gram matrix."""
    assert manifest.state is not None
    assert manifest.gram is not None
    wrong = {"cid": other.cid, "size": other.size}
    blob = type(manifest.result)(**wrong)
    (a, b, c), *rest = manifest.gram
    return {
        "another state": {"state": manifest.state | {"velocity": blob}},
        "a state too many": {"state": manifest.state | {"acceleration": blob}},
        "a state too few": {"state": {"velocity": manifest.state["velocity"]}},
        "no state": {"state": None},
        "another gram": {"gram": ((str(int(a) + 1), b, c), *rest)},
        "a row too many": {"gram": (*manifest.gram, (a, b, c))},
        "no gram": {"gram": None},
        "a gram of no vectors": {"gram": ((a, a + "0", c), (a + "0", rest[0][1], c), (c, c, rest[1][2]))},
        "a negative norm": {"gram": (("-1", b, c), *rest)},
        "not symmetric": {"gram": ((a, str(int(b) + 1), c), *rest)},
    }


KINDS = [
    "another state", "a state too many", "a state too few", "no state", "another gram", "a row too many", "no gram",
    "a gram of no vectors", "a negative norm", "not symmetric",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
async def test_a_wrong_state_or_gram_is_found_by_replay(begin_real: Make, kind: str) -> None:
    federation = begin_real("momentum")
    await round_of(federation, 1.0, 0.5, base=0)
    federation.add(1, 1.0, 1)
    federation.add(2, 0.25, 1)
    plan = await federation.plan()
    model, manifest = await federation.make(plan)
    change = lies(manifest, federation.model(0))[kind]
    federation.publish_as(plan.through, model, manifest.model_copy(update=change))
    departures = await federation.faults()
    (key,) = change
    assert key in [where for where, _, _ in departures]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("another state", "another gram")])
async def test_what_no_contents_could_give_is_found_from_the_records_alone(begin_real: Make, kind: str) -> None:
    federation = begin_real("momentum")
    await round_of(federation, 1.0, 0.5, base=0)
    federation.add(1, 1.0, 1)
    federation.add(2, 0.25, 1)
    plan = await federation.plan()
    model, manifest = await federation.make(plan)
    federation.publish_as(plan.through, model, manifest.model_copy(update=lies(manifest, federation.model(0))[kind]))
    follower = federation.new_follower()
    await follower.advance()
    assert [fault.version.version for fault in follower.faults] == [2]
    federation.add(1, 1.0, 2)  # and whoever goes on knows only the vectors that there are
    state = left(follower, "momentum")
    assert state.keys() <= momentum.STRATEGY.state.keys()


@pytest.mark.parametrize(("key", "value"), [("gram", (("1",),)), ("state", {"velocity": None})], ids=["gram", "state"])
async def test_a_strategy_without_them_states_neither(begin_real: Make, key: str, value: Any) -> None:
    federation = begin_real()
    federation.add(1, 1.0)
    federation.add(2, 2.0)
    plan = await federation.plan()
    model, manifest = await federation.make(plan)
    given = {"velocity": manifest.result} if key == "state" else value
    federation.publish_as(plan.through, model, manifest.model_copy(update={key: given}))
    follower = federation.new_follower()
    await follower.advance()
    (fault,) = follower.faults
    assert [one.where for one in fault.discrepancies] == [key]
    assert left(follower, "mean") == {}


async def test_a_missing_state_is_named(begin_real: Make) -> None:
    federation = begin_real("momentum")
    first = await round_of(federation, 1.0, 0.5, base=0)
    federation.add(1, 1.0, 1)
    federation.add(2, 0.25, 1)
    plan = await federation.plan()
    lost = first.state["velocity"].content
    federation.network.lose(lost)
    with pytest.raises(Unavailable, match=lost.cid):
        await federation.recompute(plan)


@pytest.mark.parametrize("what", ["the model of version 0", "the update of record 5"])
async def test_recomputing_names_what_is_missing(begin_real: Make, what: str) -> None:
    federation = begin_real()
    seq, _ = federation.add(1, 1.0)
    federation.add(2, 2.0)
    plan = await federation.plan()
    names = {what: content for content, what in needed(plan).items()}
    missing = names[what.replace("5", str(seq))]
    federation.network.lose(missing)
    with pytest.raises(Unavailable, match=missing.cid):
        await federation.recompute(plan)


async def test_a_base_is_needed_where_the_strategy_mixes(begin_real: Make) -> None:
    federation = begin_real("fedasync", size=1)
    await round_of(federation, 1.0, base=0)
    federation.add(2, 1.0, 0)
    plan = await federation.plan()
    assert needed(plan)[federation.model(0)] == "the model of version 0"
    federation.network.lose(federation.model(0))
    with pytest.raises(Unavailable, match=federation.model(0).cid):
        await federation.recompute(plan)


async def test_bytes_that_are_not_the_state_are_refused(begin_real: Make) -> None:
    federation = begin_real("momentum")
    first = await round_of(federation, 1.0, 0.5, base=0)
    federation.add(1, 1.0, 1)
    federation.add(2, 0.25, 1)
    plan = await federation.plan()
    swapped = {"velocity": first.state["mean"].content, "mean": first.state["velocity"].content}
    with pytest.raises(FormatError, match="are not the state vector"):
        await federation.recompute(replace(plan, state=swapped))


async def test_a_plan_is_not_weighed_by_what_nobody_measured(begin_real: Make) -> None:
    federation = begin_real("momentum")
    federation.add(1, 1.0)
    federation.add(2, 0.25)
    plan = await federation.plan()
    gram = (await federation.recompute(plan)).gram
    assert plan.weigh(gram).rows
    first, *rest = plan.updates
    with pytest.raises(PlanError, match=f"update {first.seq} is merged, but nothing is stated of its size"):
        replace(plan, updates=(replace(first, inspection=None), *rest)).weigh(gram)
    for wrong in (None, (), gram[:2], ((1,),)):
        with pytest.raises(PlanError, match="strategy momentum weighs by the Gram matrix of 3 vectors"):
            plan.weigh(wrong)
    assert plan.version == Version(1)
