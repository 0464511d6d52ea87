"""nodes/: the scripts that a person and compose start."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path

import pytest

from fedchain.aggregator.settings import AggregatorConfig
from fedchain.config.settings import DaemonConfig, load_settings
from fedchain.node.settings import NodeConfig

ROOT = Path(__file__).resolve().parents[3]
NODES = ROOT / "nodes"


@pytest.mark.parametrize("script", ["nodes/bootstrap", "nodes/passwords", "scripts/setup", "scripts/demo"])
def test_scripts_are_executable_and_stop_at_the_first_failure(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)
    assert "\nset -euo pipefail\n" in (ROOT / script).read_text()


def test_passwords_are_made_once_for_their_owner_alone(tmp_path: Path) -> None:
    script = tmp_path / "passwords"
    script.write_bytes((NODES / "passwords").read_bytes())
    script.chmod(0o755)
    for number in (1, 2):
        (tmp_path / f"hospital-{number}").mkdir()

    subprocess.run([script], check=True)
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    subprocess.run([script], check=True)

    assert sorted(made) == [f"{party}.password" for party in ("aggregator", "governor", "hospital-1", "hospital-2")]
    assert len(set(made.values())) == len(made)
    for name, password in made.items():
        path = tmp_path / "secrets" / name
        assert re.fullmatch(r"[A-Za-z0-9+/]{32}\n", password)
        assert path.read_text() == password
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("aggregator/aggregator.toml", AggregatorConfig),
        *[(f"hospital-{number}/node.toml", NodeConfig) for number in range(1, 5)],
    ],
)
def test_configurations_load_and_every_key_has_its_comment(path: str, kind: type[DaemonConfig]) -> None:
    settings = load_settings(NODES / path, kind)
    assert settings.ledger.federation.resolve() == NODES / "data" / "federation.toml"
    assert all(" # " in line for line in (NODES / path).read_text().splitlines() if line)
