"""The committed artifact is what the sources compile to, and what runs on the chain."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from fedchain.ledger.artifact import artifact

ROOT = Path(__file__).resolve().parents[2]


def check(root: Path) -> tuple[int, str]:
    """Run scripts/contracts --check; return its exit code and all that it said."""
    done = subprocess.run(
        [root / "scripts" / "contracts", "--check"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def copied(root: Path) -> Path:
    """Copy what the check looks at, so that a test may change it."""
    for name in ("scripts/contracts", "scripts/compile_contracts.py", "fedchain/ledger/FederationLedger.json"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    shutil.copytree(ROOT / "contracts", root / "contracts", ignore=shutil.ignore_patterns("node_modules"))
    (root / "contracts" / "node_modules").symlink_to(ROOT / "contracts" / "node_modules")
    (root / ".venv").symlink_to(ROOT / ".venv")
    return root


def test_the_sources_compile_to_the_artifact() -> None:
    assert check(ROOT) == (0, "")


def test_a_changed_source_is_named_by_what_it_changes(tmp_path: Path) -> None:
    root = copied(tmp_path)
    source = root / "contracts" / "FederationLedger.sol"
    text = source.read_text()
    assert "block.timestamp > deadline" in text
    source.write_text(text.replace("block.timestamp > deadline", "block.timestamp >= deadline"))

    code, said = check(root)

    assert code == 1
    assert [line.split()[1] for line in said.splitlines()] == ["bytecode", "bytecode_sha256", "runtime"]


def test_a_source_that_does_not_compile_is_no_difference(tmp_path: Path) -> None:
    root = copied(tmp_path)
    (root / "contracts" / "FederationLedger.sol").write_text("contract")
    code, said = check(root)
    assert code == 2
    assert "FederationLedger.sol" in said


def test_the_artifacts_code_is_what_runs(ledger: Any) -> None:
    code = ledger.chain.eth.get_code(ledger.at.address)
    compiled = bytes.fromhex(artifact().runtime.removeprefix("0x"))
    assert len(code) == len(compiled)
    # Where the constructor puts its immutable values, the compiler leaves zeros.
    assert all(byte in (0, at) for byte, at in zip(compiled, code, strict=True))
