"""The demonstration, as a program."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from oracle.compare import agree_on_disk

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.mark.parametrize(("task", "accuracy"), [("wdbc", 0.8), ("digits", 0.5)])
def test_a_demonstration_ends_with_a_clean_audit(tmp_path: Path, task: str, accuracy: float) -> None:
    folder = tmp_path / "demo"
    command = [sys.executable, "-m", "fedchain", "demo", "--task", task, "--sites", "3", "--versions", "3", "--json"]
    done = subprocess.run([*command, "--folder", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["clean"]
    assert result["audit"]["findings"] == []
    assert result["audit"]["recomputed"] == result["versions"] >= 3
    assert result["audit"]["decisions"]["merged"] >= 2 * result["versions"]
    assert set(result["alone"]) == {"hospital-1", "hospital-2", "hospital-3"}
    assert result["federated"]["accuracy"] > accuracy
    assert not list(folder.rglob(".writing-*"))
    states = [folder / name / "state" for name in ("aggregator", *result["alone"])]
    versions = agree_on_disk(states[0] / "ledger.sqlite", *(state / "blobs" for state in states))
    assert len(versions) == result["versions"] + 1


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    command = [sys.executable, "-m", "fedchain", "demo", "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.strip() == f"fedchain: --folder {tmp_path} is not empty: choose another one"
