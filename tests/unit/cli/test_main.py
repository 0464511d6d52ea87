"""`fedchain` as it is typed: help, exit codes, one line for an error."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import click
import pytest
import typer
from typer.testing import CliRunner

from fedchain.cli import main as module
from fedchain.cli.main import app, main
from fedchain.core.errors import ConfigError, LedgerRefused, TaskError

SILENT = {"node run", "aggregator run"}
"""Commands that print nothing but their log."""


def leaves(group: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    if hasattr(group, "commands"):
        for name, command in group.commands.items():
            yield from leaves(command, (*path, name))
    else:
        yield " ".join(path), group


ALL = dict(leaves(typer.main.get_command(app)))


def test_every_command_of_the_design_is_there() -> None:
    wanted = (
        "demo, deploy, genesis, devnet up, devnet down, devnet status, keys new, keys show, policy set, policy show, "
        "member set, member list, node run, node init, aggregator run, aggregator init, audit verify, audit versions, "
        "audit updates, audit show"
    )
    assert set(wanted.split(", ")) <= ALL.keys()


@pytest.mark.parametrize("name", ALL)
def test_a_command_explains_itself(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    command = ALL[name]
    text = CliRunner().invoke(app, [*name.split(), "--help"]).stdout
    assert command.help
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "Example" in text
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{parameter.name} has no help"
        assert getattr(parameter, "is_flag", False) or parameter.metavar, f"{parameter.name} shows a type of Python's"
    assert ("--json" in text) is (name not in SILENT)


@pytest.mark.parametrize("name", ALL)
def test_a_command_s_example_can_be_typed(name: str) -> None:
    text = CliRunner().invoke(app, [*name.split(), "--help"]).stdout
    lines = text.partition("Example")[2].partition("\n")[2].replace("\\\n", " ").strip().splitlines()
    assert lines
    for line in lines:
        words = shlex.split(line)
        assert words[: 1 + len(name.split())] == ["fedchain", *name.split()]
        ALL[name].make_context(name, words[1 + len(name.split()) :])


def test_the_commands_are_listed_with_whole_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for words in ([], ["devnet"], ["keys"], ["policy"], ["member"], ["node"], ["aggregator"], ["audit"]):
        text = CliRunner().invoke(app, [*words, "--help"]).stdout
        assert "..." not in text.partition("Commands:")[2]


def test_help_needs_no_heavy_library() -> None:
    run = [sys.executable, "-X", "importtime", "-m", "fedchain", "--help"]
    loaded = subprocess.run(run, check=True, capture_output=True, text=True).stderr
    names = {line.rpartition("|")[2].strip() for line in loaded.splitlines()}
    assert "fedchain.cli.main" in names
    assert names.isdisjoint({"torch", "web3", "eth_account", "sklearn", "scipy"})


def typed(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Type a command and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["fedchain", *words])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code is None or isinstance(caught.value.code, int)
    return caught.value.code or 0


def test_the_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"fedchain {version('fedchain')}\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a federation whose chain is not running, a key and its password."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEDCHAIN_PASSWORD", raising=False)
    (tmp_path / "federation.toml").write_text(
        f'rpc = "http://127.0.0.1:9"\nchain_id = 31337\ncontract = "0x{"11" * 20}"\nblock = 1\n'
    )
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "wrong").write_text("wrong\n")
    (tmp_path / "policy.json").write_text('{"format": "fedchain/policy/2"}')
    made = CliRunner().invoke(app, ["keys", "new", "--devnet", "--out", "key.json", "--password-file", "password"])
    assert made.exit_code == 0
    return tmp_path


MEMBER = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8"
SIGNED = "--key key.json --password-file password"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("keys show missing.json", "missing.json: No such file"),
        ("keys show password", "password: no keystore file"),
        ("keys new --out key.json --password-file password", "key.json already exists; refusing to overwrite a key"),
        ("keys new --out other.json", "no password for the key: the environment variable FEDCHAIN_PASSWORD is not set"),
        ("keys new --out other.json --password-file missing", "password file missing: No such file"),
        ("keys new --out password/key.json --password-file password", "password: File exists"),
        (f"deploy --rpc localhost:8545 {SIGNED} --out new.toml", "--rpc localhost:8545: expected a URL"),
        (f"deploy --rpc http://127.0.0.1:9 {SIGNED} --out new.toml", "http://127.0.0.1:9 does not answer"),
        (f"deploy --rpc http://127.0.0.1:9 {SIGNED}", "federation.toml exists: it names a federation already"),
        (f"deploy --rpc http://a {SIGNED} --out new.toml --predecessor old.toml", "old.toml: there is no such file"),
        ("member list", "http://127.0.0.1:9 does not answer"),
        ("member list --federation other.toml", "other.toml: there is no such file; `fedchain deploy` writes it"),
        ("member list --federation password", "password: not TOML"),
        (f"member set 0x12 --roles trainer {SIGNED}", "'0x12' is not an address"),
        (
            f"member set {MEMBER} --roles boss {SIGNED}",
            "unknown role 'boss'; choose from none, governor, trainer, aggregator, auditor",
        ),
        (
            f"member set {MEMBER} --roles trainer --key key.json --password-file wrong",
            "key.json: the key does not open",
        ),
        (f"policy set {SIGNED}", "policy set needs either --algorithm or --file"),
        (f"policy set {SIGNED} --algorithm fedavg --file policy.json", "either --algorithm or --file"),
        (f"policy set {SIGNED} --algorithm fedsgd", "unknown --algorithm 'fedsgd'; choose from fedbuff, fedavg"),
        (f"policy set {SIGNED} --algorithm fedbuff --size 0", "policy fedbuff: size"),
        (f"policy set {SIGNED} --algorithm fedasync --set rate=0", "policy fedasync: rate = 0"),
        (f"policy set {SIGNED} --file missing.json", "missing.json: No such file"),
        (f"policy set {SIGNED} --file policy.json", "policy.json: buffer: field required"),
        ("policy show", "http://127.0.0.1:9 does not answer"),
        (f"genesis --task nowhere:Task --blobs blobs {SIGNED}", "there is no module nowhere"),
        ("node init --task a:B --peer host:1 --out node.toml", "node.toml: peers[0] = 'host:1'"),
        ("node init --task a:B --out password", "password already exists; refusing to overwrite"),
        ("node init --task a:B --federation other.toml", "other.toml: there is no such file"),
        ("node run", "node.toml: No such file"),
        (
            "node run --config federation.toml",
            "federation.toml: ledger is missing: a table; key is missing: a table; web is",
        ),
        ("aggregator run", "aggregator.toml: No such file"),
        ("audit show seven", "seven is neither a record, as in 17, nor a version, as in v3"),
        ("audit verify", "http://127.0.0.1:9 does not answer"),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str, message: str
) -> None:
    assert typed(monkeypatch, *shlex.split(line)) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("fedchain: ")
    assert error.count("\n") == 1
    assert message in error


def test_a_usage_error_is_exit_code_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["keys", "new"], ["node", "init", "--port", "70000", "--task", "a:B"], ["audit", "nothing"], ["-x"]):
        assert typed(monkeypatch, *words) == 2
        assert "Usage: " in capsys.readouterr().err


def test_a_log_level_that_is_none(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FEDCHAIN_LOG", "loud")
    assert typed(monkeypatch, "keys", "show", "key.json") == 2
    assert (
        "unknown FEDCHAIN_LOG level 'loud'; choose from DEBUG, INFO, WARNING, ERROR, CRITICAL"
        in capsys.readouterr().err
    )


def raising(error: BaseException) -> object:
    def command() -> None:
        raise error

    return command


def test_errors_inside_groups_are_a_line_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inner = ExceptionGroup("submitting", [TaskError("Task.train failed"), LedgerRefused("NoSamples")])
    monkeypatch.setattr(module, "app", raising(ExceptionGroup("node", [inner, ConfigError("wrong")])))
    assert typed(monkeypatch) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "fedchain: Task.train failed",
        "fedchain: the ledger refuses the record: NoSamples()",
        "fedchain: wrong",
    ]


def test_an_error_of_several_lines_becomes_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "app", raising(TaskError("Task.train failed: mat1 and mat2\ncannot be multiplied")))
    assert typed(monkeypatch) == 2
    assert capsys.readouterr().err == "fedchain: Task.train failed: mat1 and mat2 cannot be multiplied\n"


def test_other_errors_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "app", raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main()
