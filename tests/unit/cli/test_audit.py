"""`fedchain audit` as it is typed, on a mirror and a blob folder, without a chain."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from pathlib import Path

import pytest
from simulation.mirrors import damage, save_mirror
from typer.testing import CliRunner, Result

from fedchain.cli.audit import app
from fedchain.config.federation import FederationFile, save_federation
from fedchain.core.errors import ConfigError
from fedchain.core.ledger.records import UpdateSubmitted
from fedchain.core.updates.inspection import UNAVAILABLE
from fedchain.simulation.federation import Simulation
from fedchain.store.files import FileBlobs


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Simulation, Path]:
    """A federation of two versions after genesis, one update rejected and one waiting."""
    folder = tmp_path_factory.mktemp("cli") / "blobs"

    async def make() -> Simulation:
        simulation = Simulation(heap=FileBlobs(folder))
        await simulation.deploy()
        await simulation.round()
        lost = simulation.submit(2)
        simulation.submit(0, base=0)
        simulation.submit(1)
        await simulation.publish(await simulation.plan({lost.seq: UNAVAILABLE}))
        simulation.submit(2)
        return simulation

    return asyncio.run(make()), folder


class Shell:
    """Types commands in a folder where the federation's mirror and blobs lie."""

    def __init__(self, simulation: Simulation, blobs: Path, mirror: Path) -> None:
        self.simulation = simulation
        self.blobs = blobs
        self.mirror = mirror

    def type(self, *words: str, code: int = 0) -> str:
        result: Result = CliRunner().invoke(
            app, [*words, "--offline", "--mirror", str(self.mirror), "--blobs", str(self.blobs)]
        )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result.stdout


@pytest.fixture
def shell(made: tuple[Simulation, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(*made, save_mirror(tmp_path / "ledger.sqlite", made[0].chain))


def test_verify_ends_with_the_verdict(shell: Shell) -> None:
    head = f"0x{shell.simulation.chain.head.hex()}"
    output = shell.type("verify", "--head", head)
    assert output.splitlines()[-1].startswith("CLEAN: 17 records proven by the head given; 2 of 2 versions")
    assert f"{head}, compared with the head given" in output
    assert "4 merged, 1 rejected (unavailable 1)" in output


def test_verify_in_json(shell: Shell) -> None:
    found = json.loads(shell.type("verify", "--json"))
    assert (found["exit_code"], found["recomputed"], found["findings"]) == (0, 2, [])
    assert found["head_compared_with"] is None


def test_verify_names_a_damaged_row_and_exits_with_1(shell: Shell) -> None:
    damage(shell.mirror, "UPDATE records SET time = time + 1 WHERE seq = 9")
    output = shell.type("verify", code=1)
    assert "FINDING  record 9:" in output
    assert "stored_head: 0x" in output
    assert output.splitlines()[-1].startswith("NOT CLEAN: 1 finding")
    found = json.loads(shell.type("verify", "--json", code=1))
    assert [finding["subject"] for finding in found["findings"]] == ["record 9"]
    rows = list(csv.DictReader(io.StringIO(shell.type("verify", "--csv", code=1))))
    assert (rows[0]["what"], rows[0]["rule"], rows[0]["subject"]) == ("finding", "record-changed", "record 9")


def test_verify_without_blobs_exits_with_2(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    empty = Shell(shell.simulation, tmp_path / "empty", shell.mirror)
    output = empty.type("verify", code=2)
    assert "NOT CHECKED  version 1" in output
    assert output.splitlines()[-1].startswith("NOT FULLY CHECKED")


def test_versions(shell: Shell) -> None:
    rows = json.loads(shell.type("versions", "--json"))
    assert [(row["version"], row["merged"], row["rejected"]) for row in rows] == [(0, 0, 0), (1, 2, 0), (2, 2, 1)]
    assert rows[2]["mean_staleness"] == 0.5
    assert rows[2]["model"] == shell.simulation.model(2).cid
    assert rows[2]["model"] in shell.type("versions")
    assert list(csv.DictReader(io.StringIO(shell.type("versions", "--csv"))))[2]["version"] == "2"


def test_versions_without_manifests(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    rows = json.loads(Shell(shell.simulation, tmp_path / "empty", shell.mirror).type("versions", "--json"))
    assert [(row["version"], row["merged"]) for row in rows] == [(0, None), (1, None), (2, None)]


def test_updates(shell: Shell) -> None:
    def seqs(*words: str) -> list[int]:
        return [row["seq"] for row in json.loads(shell.type("updates", "--json", *words))]

    records = [record for record in shell.simulation.chain.records if isinstance(record.payload, UpdateSubmitted)]
    every = [record.seq for record in records]
    assert seqs() == every
    assert seqs("--version", "2") == every[2:5]
    assert seqs("--decision", "unavailable") == [every[2]]
    assert seqs("--decision", "waiting") == [every[5]]
    assert seqs("--site", shell.simulation.site(0)) == [every[0], every[3]]
    assert "unavailable" in shell.type("updates")
    with pytest.raises(ConfigError, match="merged, not_trainer"):
        shell.type("updates", "--decision", "lost")


def test_show_a_record(shell: Shell) -> None:
    found = json.loads(shell.type("show", "9", "--json"))
    assert (found["kind"], found["in_version"], found["decision"]) == ("UpdateSubmitted", 1, "merged")
    assert found["transaction"] == f"0x7{9:063x}"
    assert "UpdateSubmitted" in shell.type("show", "9")
    with pytest.raises(ConfigError, match="there is no record 99"):
        shell.type("show", "99")


def test_show_a_version(shell: Shell) -> None:
    found = json.loads(shell.type("show", "v2", "--json"))
    assert (found["version"], found["divisors"], len(found["updates"])) == (2, [2 * 65536], 3)
    assert found["parent"] == shell.simulation.model(1).cid
    assert "unavailable" in shell.type("show", "v2")
    assert len(list(csv.DictReader(io.StringIO(shell.type("show", "v2", "--csv"))))) == 3
    with pytest.raises(ConfigError, match="there is no version 7"):
        shell.type("show", "v7")
    with pytest.raises(ConfigError, match="neither a record"):
        shell.type("show", "vv")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["verify"], "no ledger is named"),
        (["verify", "--offline"], "--offline needs the records from somewhere: give --mirror"),
        (["verify", "--offline", "--mirror", "ledger.sqlite", "--head", "0x12"], "--head 0x12: a head is 0x and 64"),
        (["verify", "--offline", "--mirror", "ledger.sqlite", "--blobs", "nowhere"], "--blobs nowhere: no such folder"),
        (["verify", "--offline", "--mirror", "ledger.sqlite", "--contract", "0x" + "11" * 20], "it mirrors the ledger"),
        (["verify", "--federation", "other.toml"], "other.toml"),
    ],
)
def test_what_is_missing_is_said(shell: Shell, words: list[str], message: str) -> None:
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, ConfigError)
    assert message in str(result.exception)


def test_the_federation_file_here_is_taken(shell: Shell, tmp_path: Path) -> None:
    file = FederationFile(rpc="http://localhost:8545", chain_id=31337, contract="0x" + "11" * 20, block=1)
    save_federation(tmp_path / "federation.toml", file)
    with pytest.raises(ConfigError, match="it mirrors the ledger"):
        shell.type("verify")
