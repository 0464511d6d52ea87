from __future__ import annotations

import os
from contextlib import redirect_stdout

import pytest

from fedchain.cli.output import show, table

ROWS = [{"seq": 1, "site": "0xab", "mean": 0.5}, {"seq": 22, "site": None, "mean": None}]


def test_a_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    table([*ROWS, {"seq": 3, "site": "x" * 30, "mean": 1 / 3}])
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"seq  site{' ' * 26}    mean"
    assert [line.split() for line in out[2:]] == [["1", "0xab", "0.5"], ["22", "-", "-"], ["3", "x" * 30, "0.3333"]]


def test_a_narrow_terminal_gets_short_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    screen, terminal = os.openpty()
    with os.fdopen(screen, "rb", buffering=0) as seen, os.fdopen(terminal, "w") as out:
        with redirect_stdout(out):
            table([{"cid": "bafkrei" + "x" * 52, "time": "2026-01-01 00:00:00 and more"}])
        out.flush()
        lines = seen.read(4096).decode().splitlines()
    assert lines[2] == "bafkreix…xxxxxx  2026-01-01 00:00:00 and more"


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    table(ROWS, json=True)
    assert '"site": null' in capsys.readouterr().out
    show({"a": b"1"}, json=True)
    assert capsys.readouterr().out == '{\n  "a": "b\'1\'"\n}\n'


def test_csv(capsys: pytest.CaptureFixture[str]) -> None:
    table(ROWS, csv=True)
    assert capsys.readouterr().out == "seq,site,mean\n1,0xab,0.5\n22,,\n"
    show(ROWS[0], csv=True)
    assert capsys.readouterr().out == "seq,site,mean\n1,0xab,0.5\n"


def test_one_thing(capsys: pytest.CaptureFixture[str]) -> None:
    show({"a": 1, "long": [1, 2]})
    assert capsys.readouterr().out == "a     1\nlong  [1, 2]\n"


def test_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    table([], title="updates")
    assert capsys.readouterr().out == "\nupdates\nnone\n"
    table([], csv=True)
    assert capsys.readouterr().out == "\n"
