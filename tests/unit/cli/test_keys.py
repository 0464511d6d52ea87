from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedchain.cli.main import app
from fedchain.crypto.keys import key_address, load_key


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEDCHAIN_PASSWORD", raising=False)
    Path("password").write_text("secret\n")


def typed(*words: str) -> str:
    result = CliRunner().invoke(app, ["keys", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_new_and_show_print_the_same_address() -> None:
    made = typed("new", "--devnet", "--out", "site/key.json", "--password-file", "password")
    assert made == typed("show", "site/key.json")
    assert made.split() == ["address", key_address(Path("site/key.json")), "file", "site/key.json"]


def test_in_json() -> None:
    made = json.loads(typed("new", "--devnet", "--out", "key.json", "--password-file", "password", "--json"))
    assert made == {"address": key_address(Path("key.json")), "file": "key.json"}
    assert json.loads(typed("show", "key.json", "--json")) == made


def test_the_password_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDCHAIN_PASSWORD", "from outside")
    typed("new", "--devnet", "--out", "key.json")
    assert load_key(Path("key.json"), "from outside").address.lower() == key_address(Path("key.json"))


def test_a_key_that_guards_something_is_hard_to_guess() -> None:
    typed("new", "--out", "key.json", "--password-file", "password")
    typed("new", "--devnet", "--out", "weak.json", "--password-file", "password")
    cost, weak = (json.loads(Path(name).read_text())["crypto"]["kdfparams"]["n"] for name in ("key.json", "weak.json"))
    assert (cost, weak) == (262_144, 4_096)
