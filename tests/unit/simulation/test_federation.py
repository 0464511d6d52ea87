"""Whole federations at work in virtual time, each audited and recomputed by the oracle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from simulation.audits import audit, clean

from fedchain.core.errors import LedgerRefused
from fedchain.core.formats.modelfile import read_model
from fedchain.core.ledger.records import (
    Attested,
    BufferClosed,
    EvaluationReported,
    ModelPublished,
    UpdateSubmitted,
    Version,
)
from fedchain.core.rules.policy import Policy, fedasync, fedavg, fedbuff, preset
from fedchain.core.strategies.registry import PRESETS
from fedchain.core.updates.encodings.registry import ENCODINGS
from fedchain.crypto.eip712 import sign_update
from fedchain.node.options import NodeOptions
from fedchain.simulation.clock import DAY, running_clock
from fedchain.simulation.federation import Simulation
from fedchain.simulation.members import Services
from fedchain.simulation.training import SimulatedTraining
from fedchain.simulation.world import AGGREGATOR, AUDITOR, FIRST_SITE, GOVERNOR, STANDBY, key


async def deployed(**how: Any) -> Simulation:
    simulation = Simulation(**how)
    await simulation.deploy()
    return simulation


def start(services: Services, seconds: float = 60.0, *, slow: float = 1.0) -> None:
    """Start an aggregator and all nodes, which train so many seconds, the first one `slow` times as long."""
    services.start_aggregator()
    for number in range(len(services.simulation.sites)):
        services.start_node(number, seconds=seconds if number else seconds * slow)


def updates_of(simulation: Simulation, number: int) -> int:
    return len(simulation.records_of(UpdateSubmitted, simulation.site(number)))


async def test_a_slow_site_keeps_nobody_waiting() -> None:
    simulation = await deployed(sites=5, policy=fedbuff(size=3))
    async with Services(simulation) as services:
        start(services, slow=10.0)
        await services.until(lambda: simulation.versions > 30)
    report = await clean(simulation)
    assert updates_of(simulation, 0) * 5 < updates_of(simulation, 1)
    assert simulation.clock.monotonic() < 31 * 120
    slow = [line for n in range(1, 31) for line in simulation.manifest_of(n).updates if line.site == simulation.site(0)]
    assert [line.decision for line in slow] == ["merged"] * len(slow)
    assert max(line.staleness or 0 for line in slow) >= 5
    assert report.decisions == {"merged": 90}


async def test_a_standby_takes_over_from_an_aggregator_that_was_killed() -> None:
    simulation = await deployed(sites=3, policy=fedbuff(size=2))
    async with Services(simulation) as services:
        start(services)
        await services.until(lambda: simulation.versions > 5)
        await services.kill(AGGREGATOR)
        for one in simulation.published:  # its disk is gone with it
            for content in (one.claim.model, one.claim.manifest):
                if simulation.network.link(AGGREGATOR).blobs.has(content) and one.version:
                    simulation.network.link(AGGREGATOR).blobs.forget(content)
        services.start_aggregator(STANDBY)
        await services.until(lambda: simulation.versions > 10)
    makers = [one.record.actor for one in simulation.published]
    assert set(makers[:6]) == {AGGREGATOR}
    assert set(makers[6:]) == {STANDBY}
    await clean(simulation)


async def test_two_aggregators_make_the_same_versions() -> None:
    simulation = await deployed(sites=3, policy=fedbuff(size=2))
    async with Services(simulation) as services:
        start(services)
        services.start_aggregator(STANDBY)
        await services.until(lambda: simulation.versions > 10)
        assert [process.service.not_ready() for process in services.processes.values()] == [None] * 5
    await clean(simulation)


async def test_a_site_that_is_offline_for_a_day_goes_on_afterwards() -> None:
    simulation = await deployed(sites=3, policy=fedbuff(size=2))
    site = simulation.site(0)
    async with Services(simulation) as services:
        start(services, 1800.0)
        await services.until(lambda: updates_of(simulation, 0) == 3)
        simulation.cut(site)
        offline = services.processes[site].service
        await services.until(lambda: "is cut off" in str(offline.not_ready()))
        begun, before = simulation.clock.monotonic(), simulation.versions
        await services.until(lambda: simulation.clock.monotonic() > begun + DAY, 2 * DAY)
        assert simulation.versions > before + 40
        assert updates_of(simulation, 0) == 3
        simulation.heal(site)
        await services.until(lambda: updates_of(simulation, 0) >= 6)
        assert offline.not_ready() is None
    assert (await audit(simulation)).exit_code == 0


async def test_buffers_that_do_not_fill_are_closed_by_time() -> None:
    simulation = await deployed(sites=2, policy=fedbuff(size=5, timeout_s=900))
    async with Services(simulation) as services:
        start(services)
        await services.until(lambda: simulation.versions > 4)
    closings = simulation.records_of(BufferClosed)
    assert len(closings) == 4
    for number, closing in enumerate(closings, 1):
        manifest = simulation.manifest_of(number)
        assert manifest.through == closing.seq
        first = simulation.chain.records[manifest.updates[0].seq]
        assert 900 <= closing.time - first.time <= 900 + 15
    await clean(simulation)


async def test_a_policy_changes_while_everybody_works() -> None:
    simulation = await deployed(sites=3, policy=fedbuff(size=2))
    async with Services(simulation) as services:
        start(services)
        await services.until(lambda: simulation.versions > 3)
        for policy in (fedavg(), preset("median", size=3), fedasync()):
            seq, before = simulation.set_policy(policy).seq, simulation.versions
            await services.until(lambda before=before: simulation.versions > before + 3)
            assert simulation.manifest_of(simulation.versions - 1).policy == seq
    await clean(simulation)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", PRESETS)
async def test_every_preset_and_encoding(name: str, encoding: str) -> None:
    known = PRESETS[name].size
    policy = preset(name, size=3) if known != "all" and known > 3 else preset(name)
    policy = Policy(
        **{**dict(policy), "encodings": (ENCODINGS[encoding].parameters.model_validate({"name": encoding}),)}
    )
    simulation = await deployed(sites=3, policy=policy, elements=5000)
    async with Services(simulation) as services:
        start(services, slow=2.0)
        await services.until(lambda: simulation.versions > 5)
    await clean(simulation)


async def test_nodes_that_replay_attest_each_version_once_and_report() -> None:
    simulation = await deployed(sites=3, policy=fedbuff(size=2))
    async with Services(simulation) as services:
        services.start_aggregator()
        for number in range(2):
            services.start_node(number)
        services.start_node(2, options=NodeOptions(verify="replay", report=True))
        await services.until(lambda: simulation.versions > 4)
    seqs = [record.payload.seq for record in simulation.records_of(Attested)]  # type: ignore[attr-defined]
    assert seqs[:3] == [one.record.seq for one in simulation.published[1:4]]
    assert len(set(seqs)) == len(seqs)
    assert len(simulation.records_of(EvaluationReported)) >= 4
    await clean(simulation)


@pytest.mark.parametrize(
    "policy", [fedavg(), fedbuff(size=2), fedasync(alpha=1.0)], ids=["fedavg", "fedbuff", "fedasync"]
)
async def test_versions_grow_by_what_sites_add(policy: Policy) -> None:
    simulation = await deployed(sites=3, policy=policy)
    async with Services(simulation) as services:
        services.start_aggregator()
        for number in range(3):
            services.start_node(number, training=SimulatedTraining(simulation.clock, scale=0.0, shift=0.01))
        await services.until(lambda: simulation.versions >= 4)
    first, last = (read_model(simulation.layout, simulation.blobs.open(simulation.model(n))) for n in (0, 3))
    steps = [last[name] - first[name] for name in ("weight", "bias")]
    # FedAvg's sites are never stale, so each of 3 versions adds exactly one step; the others add at most that.
    assert all(step.min() > 0 and step.max() < 0.0301 for step in steps)
    if policy == fedavg():
        assert all(np.allclose(step, 0.03, atol=1e-6) for step in steps)
        assert last["steps"] == 3
    await clean(simulation)


async def test_what_a_lost_aggregator_alone_had_is_made_again(tmp_path: Path) -> None:
    simulation = await deployed(sites=3, policy=fedbuff(size=2))
    async with Services(simulation, folder=tmp_path) as services:
        start(services)
        await services.until(lambda: simulation.versions >= 4)
    versions = simulation.published[:]
    lost = [versions[-2].claim.model, versions[-1].claim.model, versions[-1].claim.manifest]
    for content in lost:
        simulation.network.lose(content)
    async with Services(simulation, folder=tmp_path) as services:
        start(services)
        await services.until(lambda: simulation.versions >= len(versions) + 2)
    for content in lost:
        simulation.blobs.check(content)
    await clean(simulation)


async def play(seed: int, versions: int) -> Simulation:
    """Five unequal sites, one far away, one that drops out for a while, and two aggregators of which one is killed."""
    simulation = Simulation(sites=5, policy=fedbuff(size=3, timeout_s=600), seed=seed)
    simulation.slow(simulation.site(1), 3.0)
    await simulation.deploy()
    async with Services(simulation) as services:
        start(services, slow=10.0)
        services.start_aggregator(STANDBY)
        await services.until(lambda: simulation.versions > versions // 3)
        simulation.cut(simulation.site(2))
        await services.kill(AGGREGATOR)
        await services.until(lambda: simulation.versions > 2 * versions // 3)
        simulation.heal(simulation.site(2))
        services.restart(AGGREGATOR)
        await services.until(lambda: simulation.versions > versions)
    return simulation


async def test_two_hundred_versions() -> None:
    simulation = await play(seed=3, versions=200)
    await clean(simulation)


SCRIPT = """
import sys
sys.path[:0] = sys.argv[1:]
from unit.simulation.test_federation import play
from fedchain.simulation.clock import run
print(run(play(seed=7, versions=9)).chain.head.hex())
"""


async def test_the_same_seed_gives_the_same_records() -> None:
    first = await play(seed=7, versions=9)
    folders = [path for path in sys.path if path.endswith("tests")]
    command = [sys.executable, "-c", SCRIPT, *folders]
    again = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: ASYNC221 - nothing else runs
    assert again.stdout.strip() == first.chain.head.hex()


async def test_another_seed_gives_other_records() -> None:
    heads = []
    for seed in (1, 2):
        simulation = Simulation(seed=seed)
        await simulation.deploy()
        simulation.submit(0)
        heads.append(simulation.chain.head)
    assert heads[0] != heads[1]


async def test_acts_of_any_member() -> None:
    simulation = await deployed()
    record = simulation.submit(0)
    simulation.attest(AUDITOR, record.seq)
    simulation.submit(1)
    await simulation.publish()
    simulation.erase(record)
    assert isinstance(record.payload, UpdateSubmitted)
    assert not simulation.blobs.has(record.payload.content)
    with pytest.raises(LedgerRefused, match="NoMeaning"):
        simulation.attest(AUDITOR, record.seq, 0)
    with pytest.raises(LedgerRefused):
        simulation.act(AUDITOR, simulation.claim(2, 0, simulation.model(0), simulation.model(0)))
    assert len(simulation.records_of(ModelPublished)) == 2


async def test_updates_are_relayed() -> None:
    simulation = await deployed()
    site, content = simulation.site(0), simulation.train(0, 0)
    update = UpdateSubmitted(Version(0), 5, content)
    deadline = int(running_clock().now()) + 60
    signed = sign_update(simulation.chain.federation, key(FIRST_SITE), update, 0, deadline)
    (record,) = await simulation.chain.ledger(GOVERNOR).relay([signed])
    assert (record.actor, record.payload) == (site, update)


def test_the_simulation_needs_neither_torch_nor_sockets() -> None:
    program = (
        "import sys, fedchain.simulation.members, fedchain.simulation.audit; "
        "print(*sorted({'torch', 'aiohttp', 'web3'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
