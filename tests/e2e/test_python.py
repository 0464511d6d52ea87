"""docs/python.md on a real chain: its programs are run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from e2e.test_audit import folder  # noqa: F401 - the federation that was played

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "python.md"
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.e2e


@pytest.fixture
def here(folder: Path, tmp_path: Path) -> Path:  # noqa: F811
    """A folder as the document supposes it."""
    (tmp_path / "federation.toml").write_bytes((folder / "federation.toml").read_bytes())
    (tmp_path / "aggregator" / "state").mkdir(parents=True)
    (tmp_path / "aggregator" / "state" / "blobs").symlink_to(folder / "blobs")
    return tmp_path


def run(program: str, here: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=here, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_reading_and_verifying(here: Path) -> None:
    first, *arrays, verdict = run(PROGRAMS[0], here)
    assert re.fullmatch(r"\d+ records; 2 updates make a version; version 2:", first)
    assert arrays == ["  weight: float32 [12]", "  bias: float32 [3]", "  steps: int64 []", "  mask: uint8 [5]"]
    assert verdict.startswith("CLEAN: ")
    assert verdict.endswith("2 of 2 versions after genesis recomputed bit for bit.")


def test_a_policy(here: Path) -> None:
    assert run(PROGRAMS[1], here) == []
    assert b'"size":3' in (here / "policy.json").read_bytes()


def test_an_error(here: Path) -> None:
    assert run(PROGRAMS[2], here) == ["number 1000000 there is no such version, the newest is 2"]


def test_every_program_is_run() -> None:
    assert len(PROGRAMS) == 3
