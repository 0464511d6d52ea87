"""One merge, one hash: whatever the CPU's features, threads, chunks and order of summation (DESIGN 4)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from numpy._core._multiarray_umath import (  # type: ignore[attr-defined]
    __cpu_baseline__,
    __cpu_dispatch__,
    __cpu_features__,
)

from fedchain.core.strategies.registry import STRATEGIES

PROGRAM = Path(__file__).with_name("exactness.py")
VARIABLES = {"NPY_DISABLE_CPU_FEATURES", "ATEN_CPU_CAPABILITY", "OPENBLAS_CORETYPE", "OMP_NUM_THREADS"}

OPTIONAL = [name for name in __cpu_dispatch__ if __cpu_features__[name] and name not in __cpu_baseline__]
"""What this CPU has beyond what numpy takes for granted, from the oldest to the newest: numpy can leave these out."""


def run(**settings: str) -> dict[str, Any]:
    inherited = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(PROGRAM)],
        env=inherited | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    return run()


def test_threads_chunks_and_order_do_not_matter(plain: dict[str, Any]) -> None:
    for strategy in STRATEGIES:
        ways = {name: cid for name, cid in plain["found"].items() if name.startswith(strategy)}
        assert len(ways) == 10
        assert len(set(ways.values())) == 1, ways
    assert plain["features"] == OPTIONAL


@pytest.mark.skipif(not OPTIONAL, reason="this CPU has nothing that numpy could leave out")
@pytest.mark.parametrize("kept", range(len(OPTIONAL)))
def test_cpu_features_do_not_matter(plain: dict[str, Any], kept: int) -> None:
    """Leave out all features but the `kept` oldest ones."""
    result = run(NPY_DISABLE_CPU_FEATURES=" ".join(OPTIONAL[kept:]))
    assert result["features"] == OPTIONAL[:kept]
    assert result["found"] == plain["found"]


@pytest.mark.parametrize(
    "settings",
    [
        {"ATEN_CPU_CAPABILITY": "default"},
        {"OPENBLAS_CORETYPE": "Prescott"},
        {"OPENBLAS_CORETYPE": "Haswell", "OMP_NUM_THREADS": "2"},
        {"OMP_NUM_THREADS": "1"},
        {
            "ATEN_CPU_CAPABILITY": "default",
            "OPENBLAS_CORETYPE": "Prescott",
            "OMP_NUM_THREADS": "1",
            "NPY_DISABLE_CPU_FEATURES": " ".join(OPTIONAL),
        },
    ],
    ids=", ".join,
)
def test_libraries_settings_do_not_matter(plain: dict[str, Any], settings: dict[str, str]) -> None:
    assert run(**settings)["found"] == plain["found"]
