"""What `node init` and `aggregator init` write, daemons read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedchain.aggregator.settings import AggregatorConfig
from fedchain.cli.main import app
from fedchain.config.federation import FederationFile, load_federation, save_federation
from fedchain.config.settings import load_settings
from fedchain.node.settings import NodeConfig


def found(chain_id: int = 31337) -> None:
    contract = "0x" + "11" * 20
    save_federation(
        Path("federation.toml"), FederationFile(rpc="http://rpc:1", chain_id=chain_id, contract=contract, block=1)
    )


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found()


def typed(line: str) -> str:
    result = CliRunner().invoke(app, line.split(), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_node(tmp_path: Path) -> None:
    typed(
        "node init --task wdbc:BreastCancer --out a/site/node.toml --port 9001 --peer http://one:1 --peer http://two:2"
    )
    path = Path("a/site/node.toml")
    table = load_settings(path, NodeConfig)
    assert (table.task, table.web.port, table.peers) == ("wdbc:BreastCancer", 9001, ("http://one:1", "http://two:2"))
    assert table.ledger.federation.resolve() == tmp_path / "federation.toml"
    assert load_federation(table.ledger.federation).chain_id == 31337
    assert table.key.file == tmp_path / "a/site/key.json"
    assert table.key.password_file == tmp_path / "a/site/password"
    assert table.folder == tmp_path / "a/site/state"
    assert table.site == {"data": "patients.csv"}
    assert all(" # " in line for line in path.read_text().splitlines() if line)
    assert "\n[training]  # " in path.read_text()


def test_an_aggregator(tmp_path: Path) -> None:
    typed("aggregator init --peer http://127.0.0.1:8701")
    table = load_settings(Path("aggregator.toml"), AggregatorConfig)
    assert (table.web.port, table.peers, table.threads) == (8700, ("http://127.0.0.1:8701",), 2)
    assert table.ledger.federation == tmp_path / "federation.toml"
    assert all(" # " in line for line in Path("aggregator.toml").read_text().splitlines() if line)


def test_in_json() -> None:
    assert json.loads(typed("node init --task a:B --json")) == {"file": "node.toml"}
    assert json.loads(typed("aggregator init --json")) == {"file": "aggregator.toml"}


def test_a_devnet_is_looked_at_often_and_a_public_chain_is_not() -> None:
    typed("node init --task a:B --out devnet.toml")
    found(chain_id=1)
    typed("node init --task a:B --out public.toml")
    assert load_settings(Path("devnet.toml"), NodeConfig).ledger.poll_s == 0.1
    assert load_settings(Path("public.toml"), NodeConfig).ledger.poll_s == 2.0


def test_nothing_is_written_over(tmp_path: Path) -> None:
    typed("aggregator init")
    before = Path("aggregator.toml").read_text()
    result = CliRunner().invoke(app, ["aggregator", "init", "--port", "1"])
    assert "aggregator.toml already exists; refusing to overwrite" in str(result.exception)
    assert Path("aggregator.toml").read_text() == before


def test_a_file_that_no_daemon_could_read_is_not_written() -> None:
    result = CliRunner().invoke(app, ["aggregator", "init", "--peer", "host:1"])
    assert "aggregator.toml: peers[0] = 'host:1'" in str(result.exception)
    assert not Path("aggregator.toml").exists()
