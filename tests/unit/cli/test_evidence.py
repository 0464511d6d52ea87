from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from fedchain.audit.evidence import Where
from fedchain.cli.evidence import FLAGS, takes_evidence
from fedchain.core.errors import ConfigError, LedgerUnreachable, ParameterError

app = typer.Typer()
asked: list[tuple[Where, str, bool]] = []


@app.command()
@takes_evidence
def ask(
    where: Where,
    what: Annotated[str, typer.Argument()],
    json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Ask something."""
    asked.append((where, what, json))
    if what == "peers":
        raise ParameterError("peers", "http://a", "it has nothing: give {blobs} or {mirror}")
    if what == "chain":
        raise LedgerUnreachable("http://localhost does not answer")


def typed(*words: str) -> object:
    return CliRunner().invoke(app, list(words), standalone_mode=False).exception


def test_options_come_as_one_place_beside_a_commands_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["17", "--blobs", "a", "--blobs", "b", "--peer", "http://p", "--head", "0x1", "--offline", "--json"]
    assert typed(*words, "--rpc", "http://r", "--contract", "0x2", "--mirror", "m", "--federation", "f") is None
    where = Where(Path("f"), "http://r", "0x2", Path("m"), (Path("a"), Path("b")), ("http://p",), "0x1", True)
    assert asked.pop() == (where, "17", True)
    assert typed("17") is None
    assert asked.pop() == (Where(), "17", False)


def test_a_federation_file_that_lies_here_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "federation.toml").touch()
    assert typed("17") is None
    assert asked.pop()[0] == Where(Path("federation.toml"))


def test_errors_speak_of_options() -> None:
    error = typed("peers")
    assert isinstance(error, ConfigError)
    assert str(error) == "--peer http://a: it has nothing: give --blobs or --mirror"
    error = typed("chain")
    assert isinstance(error, LedgerUnreachable)
    assert str(error).endswith("does not answer; or verify a daemon's copy with --offline --mirror ledger.sqlite")


def test_every_field_has_its_flag() -> None:
    assert list(FLAGS) == [field.name for field in fields(Where)]
    shown = CliRunner().invoke(app, ["--help"]).stdout
    assert all(flag in shown for flag in FLAGS.values())
    assert "Ask something." in shown
