from __future__ import annotations

from pathlib import Path

import pytest

from fedchain.config.federation import FederationFile, load_federation, save_federation
from fedchain.core.errors import ConfigError

FILE = FederationFile(rpc="http://127.0.0.1:8545", chain_id=31337, contract="0x" + "ab" * 20, block=3)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    save_federation(tmp_path / "new" / "federation.toml", FILE)
    assert load_federation(tmp_path / "new" / "federation.toml") == FILE
    lines = (tmp_path / "new" / "federation.toml").read_text().splitlines()
    assert all("  # " in line for line in lines if line)


@pytest.mark.parametrize("confirmations", [0, 12, "finalized"])
def test_confirmations_are_saved(tmp_path: Path, confirmations: int | str) -> None:
    save_federation(tmp_path / "federation.toml", FILE.model_copy(update={"confirmations": confirmations}))
    assert load_federation(tmp_path / "federation.toml").confirmations == confirmations


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('contract = "0x12"', "contract = '0x12'"),
        ("block = -1", "block = -1"),
        ('chain_id = "one"', "chain_id = 'one'"),
        ('rpc = "localhost"', "rpc = 'localhost'"),
        ('colour = "red"', "colour is not a known key"),
    ],
)
def test_a_wrong_value_is_named_with_its_file(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "federation.toml"
    save_federation(path, FILE)
    key = line.split(" ", maxsplit=1)[0]
    kept = [old for old in path.read_text().splitlines() if not old.startswith(key)]
    path.write_text("\n".join([*kept, line]))
    with pytest.raises(ConfigError) as caught:
        load_federation(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)
    if "known key" in message:
        assert "known here: rpc, chain_id, contract, block, confirmations" in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"federation\.toml"):
        load_federation(tmp_path / "federation.toml")


def test_a_file_that_cannot_be_written_is_said_with_what_stands_in_it(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(ConfigError, match=rf"federation\.toml: .*by hand: .*contract = {FILE.contract}"):
        save_federation(tmp_path / "taken" / "federation.toml", FILE)
