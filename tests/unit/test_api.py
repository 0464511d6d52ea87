"""The library on a simulated federation: ledger and blobs in memory, or a mirror and folders on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from simulation.mirrors import save_mirror

import fedchain
from fedchain.api import Connection
from fedchain.audit.contents import Contents
from fedchain.audit.findings import Findings
from fedchain.audit.sources import LocalSource
from fedchain.core.ledger.records import ModelPublished
from fedchain.simulation.federation import Simulation
from fedchain.simulation.world import STANDBY
from fedchain.store.alone import LoneStore
from fedchain.store.files import FileBlobs
from fedchain.store.memory import MemoryBlobs


async def played(simulation: Simulation) -> Simulation:
    """Publish two versions after genesis."""
    await simulation.deploy()
    await simulation.round()
    await simulation.round(1, 2)
    return simulation


def connected(simulation: Simulation) -> Connection:
    sources = [LocalSource("heap", simulation.blobs)]
    return Connection(simulation.ledger, Contents(sources, LoneStore(MemoryBlobs()), Findings()))


async def test_a_version_is_its_arrays_by_name() -> None:
    simulation = await played(Simulation())
    federation = connected(simulation)
    genesis = await federation.version(0)
    assert list(genesis) == ["weight", "bias", "steps", "mask"]
    for name, array in simulation.start.items():
        np.testing.assert_array_equal(genesis[name], array)
    newest = await federation.newest()
    assert newest == 2
    model = await federation.version(newest)
    assert (model["weight"].dtype, model["weight"].shape) == (np.float32, (12,))
    assert not np.array_equal(model["weight"], genesis["weight"])


async def test_records_and_policy() -> None:
    simulation = await played(Simulation())
    federation = connected(simulation)
    assert list(await federation.records()) == simulation.chain.records
    assert await federation.policy() == simulation.policy


async def test_what_is_published_later_is_seen() -> None:
    simulation = Simulation()
    federation = connected(simulation)
    assert await federation.newest() is None
    with pytest.raises(fedchain.ParameterError, match="number 0: there is no such version, not even genesis"):
        await federation.version(0)
    await played(simulation)
    assert await federation.newest() == 2


@pytest.mark.parametrize("number", [3, -1])
async def test_a_version_that_is_not_there(number: int) -> None:
    federation = connected(await played(Simulation()))
    with pytest.raises(fedchain.ParameterError, match=f"number {number}: there is no such version, the newest is 2"):
        await federation.version(number)


async def test_a_version_that_does_not_follow_from_the_ledger() -> None:
    simulation = await played(Simulation())
    simulation.submit(0)
    simulation.submit(1)
    plan = await simulation.plan()
    honest = await simulation.manifest(plan)
    await simulation.publish(plan, manifest=honest.model_copy(update={"through": 5}), actor=STANDBY)
    federation = connected(simulation)
    assert await federation.version(2)
    with pytest.raises(fedchain.VersionRefuted, match="version 3 does not follow from the ledger: ") as caught:
        await federation.version(3)
    assert caught.value.version == 3
    assert caught.value.problems


async def test_bytes_that_are_not_those_of_the_ledger_are_not_handed_out(tmp_path: Path) -> None:
    simulation = await played(Simulation(heap=FileBlobs(tmp_path)))
    model = next(r.payload.model for r in reversed(simulation.chain.records) if isinstance(r.payload, ModelPublished))
    path = tmp_path / model.cid
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(fedchain.Unavailable) as caught:
        await connected(simulation).version(2)
    assert caught.value.content == model


async def test_verify(tmp_path: Path) -> None:
    simulation = await played(Simulation(heap=FileBlobs(tmp_path / "blobs")))
    mirror = save_mirror(tmp_path / "ledger.sqlite", simulation.chain)
    head = f"0x{simulation.chain.head.hex()}"
    steps: set[str] = set()
    report = await fedchain.verify(
        mirror=mirror,
        head=head,
        offline=True,
        blobs=[str(tmp_path / "blobs")],
        threads=2,
        progress=lambda step, done, total: steps.add(step),
    )
    assert (report.exit_code, report.recomputed, report.proof) == (0, 2, "the head given")
    assert "blobs" in steps
    without = await fedchain.verify(mirror=mirror, head=head, offline=True)
    assert without.exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "parameter", "message"),
    [
        ({}, "federation", "no ledger is named: give federation, or rpc and contract, or mirror and offline"),
        ({"offline": True}, "mirror", "offline needs the records from somewhere: give mirror"),
        ({"head": "0x12"}, "head", "head 0x12: a head is 0x and 64 hexadecimal digits"),
        ({"blobs": ["nowhere"]}, "blobs", "blobs nowhere: no such folder; name a daemon's blob folder"),
        ({"blobs": "nowhere"}, "blobs", "blobs nowhere: expected a list, as in [one]"),
        ({"peers": "http://a"}, "peers", "peers http://a: expected a list, as in [one]"),
    ],
)
async def test_arguments_are_named_as_the_caller_names_them(
    arguments: dict[str, object], parameter: str, message: str
) -> None:
    with pytest.raises(fedchain.ParameterError) as caught:
        await fedchain.verify(**arguments)  # type: ignore[arg-type]
    assert (caught.value.parameter, str(caught.value)) == (parameter, message)


async def test_connect_needs_a_ledger(tmp_path: Path) -> None:
    with pytest.raises(fedchain.ConfigError, match=r"missing\.toml: there is no such file"):
        async with fedchain.connect(tmp_path / "missing.toml"):
            pass
