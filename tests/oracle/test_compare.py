"""The oracle against the package on federations made at random: same versions, same manifests, byte for byte."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from oracle.compare import agree
from simulation.federation import AGGREGATOR, GOVERNOR, STANDBY, Simulation

from fedchain.core.errors import LedgerRefused
from fedchain.core.formats.modelfile import read_model
from fedchain.core.ledger.content import Content, Digest
from fedchain.core.ledger.records import (
    BufferClosed,
    MemberSet,
    ModelPublished,
    PolicySet,
    Role,
    Seq,
    UpdateSubmitted,
    Version,
)
from fedchain.core.rules.policy import AdmissionRules, BufferRules, Policy
from fedchain.core.strategies.registry import STRATEGIES
from fedchain.core.strategies.staleness import Constant, Hinge, Polynomial
from fedchain.core.updates.encodings.int8 import Int8
from fedchain.core.updates.encodings.q24 import Q24
from fedchain.core.updates.encodings.registry import ENCODINGS
from fedchain.core.updates.updatefile import write_update
from fedchain.replica.inspector import Inspector, decide

FOLDER = Path(__file__).parent
STALENESS = [
    Constant(),
    Hinge(function="hinge", a=3, b=1),
    Polynomial(function="polynomial", exponent="1/2"),
    Polynomial(function="polynomial", exponent="1"),
    Polynomial(function="polynomial", exponent="2"),
]


def test_every_strategy_and_encoding_has_its_file() -> None:
    assert {path.stem for path in (FOLDER / "strategies").glob("*.py")} == set(STRATEGIES)
    assert {path.stem for path in (FOLDER / "encodings").glob("*.py")} == set(ENCODINGS)


class Walk:
    """A federation in which sites, governor and aggregator do whatever a seed says."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.claims: list[ModelPublished] = []
        self.simulation = Simulation(sites=3, seed=seed, policy=self.policy(), elements=20)
        self.lost: dict[Seq, Content] = {}

    def policy(self) -> Policy:
        choose = self.random.choice
        name = choose([*STRATEGIES, "mean"])
        values: dict[str, Any] = {"rate": choose([1, 0.7, 0.3])}
        if name in ("mean", "mixing"):
            values["staleness"] = choose(STALENESS).model_dump()
        if name == "mean":
            weighting, normalise = choose([("uniform", "count"), ("uniform", "weights"), ("samples", "weights")])
            values |= {"weighting": weighting, "normalise": normalise}
        size = 1 if name == "mixing" else choose([1, 2, 3, 4, "all"])
        return Policy(
            buffer=BufferRules(size=size, timeout_s=20, per_site=choose([1, 2, 9])),
            admission=AdmissionRules(
                max_staleness=choose([0, 2, 16]),
                max_change=choose([None, None, 0.3]),
                max_norm=choose([None, None, 0.6]),
                updates_per_site=choose([None, None, 8]),
            ),
            strategy=STRATEGIES[name].parameters.model_validate(values),
            encodings=choose([(Q24(),), (Int8(block=16),), (Int8(block=32), Q24()), (Q24(), Int8(block=16))]),
        )

    async def run(self, actions: int) -> None:
        await self.simulation.found()
        self.claims = [self.simulation.chain.records[-1].payload]
        for _ in range(actions):
            action = self.random.choices(
                [self.submit, self.spoil, self.close, self.govern, self.lie, self.publish], [10, 3, 2, 1, 1, 6]
            )[0]
            with suppress(LedgerRefused):  # a role that was taken
                await action()

    async def submit(self) -> None:
        """Send an update to one of the last versions, in one encoding or another."""
        made, number = self.simulation, self.random.randrange(self.simulation.sites)
        base = max(0, len(self.claims) - 1 - self.random.choice([0, 0, 0, 1, 2]))
        old = read_model(made.layout, made.blobs.open(self.claims[base].model))
        floats = {"weight", "bias"}
        new = {
            name: values + made.random.normal(0, 0.1, values.shape).astype(np.float32) if name in floats else values
            for name, values in old.items()
        }
        new["steps"] = old["steps"] + self.random.randrange(100)
        encoding = self.random.choice([Q24(), Int8(block=16), Int8(block=32)])
        whose = made.layout, made.site(number), self.claims[base].model
        provenance = self.random.choice([None, bytes([number + 1] * 32)])
        content = write_update(*whose, new, old, encoding, made.blobs.create(), provenance)
        samples = self.random.choice([1, 100, 2**60])
        made.act(made.site(number), UpdateSubmitted(Version(base), samples, content))

    async def spoil(self) -> None:
        """Send again what was sent, somebody else's, a wrong size, what nobody has, or what is not an update."""
        made = self.simulation
        sent = [record for record in made.chain.records if isinstance(record.payload, UpdateSubmitted)]
        if not sent:
            return
        record = self.random.choice(sent)
        content = record.payload.content
        content = self.random.choice([
            content,
            content,
            Content(content.digest, content.size + 1),
            Content(Digest(self.random.randbytes(32)), content.size),
            made.put(self.random.randbytes(content.size)),
        ])  # fmt: skip
        actor = self.random.choice([record.actor, made.site(0), made.site(1)])
        base = self.random.choice([record.payload.base, Version(len(self.claims) - 1)])
        made.act(actor, UpdateSubmitted(base, record.payload.samples, content))

    async def close(self) -> None:
        self.simulation.now += self.random.choice([0, 5, 25])
        self.simulation.act(self.simulation.site(0), BufferClosed(certificate=self.random.choice([b"", b"\1" * 121])))

    async def govern(self) -> None:
        """Set a policy or one that is none, take or give a role, restart without effect."""
        made = self.simulation
        made.act(GOVERNOR, self.random.choice([
            PolicySet(self.policy().canonical()),
            PolicySet(self.policy().canonical()),
            PolicySet(b'{"format":"fedchain/policy/2"}'),
            MemberSet(made.site(2), self.random.choice([Role.NONE, Role.TRAINER, Role.TRAINER | Role.AUDITOR])),
            BufferClosed(restart_from=Seq(8)),
        ]))  # fmt: skip

    async def lie(self) -> None:
        """Claim a version by numbers or heads that make it void."""
        made, model = self.simulation, self.claims[-1].model
        through = Seq(self.random.randrange(len(made.chain.records)))
        head = self.random.choice([made.chain.heads[through], made.chain.heads[0]])
        version = Version(self.random.choice([0, len(self.claims) - 1, len(self.claims)]))
        made.act(STANDBY, ModelPublished(version, through, head, model, model))

    async def publish(self) -> None:
        """Publish honestly, if the buffer has closed."""
        made = self.simulation
        await made.follower.advance()
        history = made.follower.history
        inspector = Inspector(history, made.layout, made.store)
        state = await decide(history.open_buffer(), inspector.inspect, {}, Seq(history.length))
        if state.plan is not None:
            record = await made.publish(state.plan, actor=AGGREGATOR)
            assert isinstance(record.payload, ModelPublished)
            self.claims.append(record.payload)


@pytest.mark.parametrize("seed", range(12))
async def test_a_federation_made_at_random(seed: int) -> None:
    walk = Walk(seed)
    await walk.run(80)
    made = walk.simulation
    versions = agree(made.chain.federation, made.chain.records, made.blobs)
    assert len(versions) == len(walk.claims)


async def test_a_wrong_manifest_is_found() -> None:
    made = Simulation()
    await made.found()
    await made.round()
    manifest = await made.manifest(await _next(made))
    await made.publish(manifest=manifest.model_copy(update={"divisors": (1,)}))
    with pytest.raises(AssertionError, match="the manifest of version 2"):
        agree(made.chain.federation, made.chain.records, made.blobs)


async def test_a_wrong_model_is_found() -> None:
    made = Simulation()
    await made.found()
    await made.round()
    plan = await _next(made)
    await made.publish(plan, model=made.model(1), manifest=await made.manifest(plan))
    with pytest.raises(AssertionError, match="the model of version 2"):
        agree(made.chain.federation, made.chain.records, made.blobs)


async def _next(made: Simulation) -> Any:
    made.submit(0)
    made.submit(1)
    return await made.plan()
