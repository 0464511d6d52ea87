"""What an import costs: names that are for everybody bring nothing heavy with them."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fedchain

HEAVY = ("torch", "aiohttp", "sqlite3", "web3")


def imported(statement: str) -> set[str]:
    """Run a statement in a new interpreter and return the modules that it loaded."""
    program = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["fedchain.node", "fedchain.node.node", "fedchain.aggregator.aggregator"])
def test_a_daemons_work_needs_no_torch_no_socket_and_no_database(module: str) -> None:
    loaded = imported(f"import {module}")
    assert module in loaded
    assert not loaded.intersection(HEAVY)


def test_the_package_itself_is_light() -> None:
    assert not imported("import fedchain").intersection((*HEAVY, "numpy", "pydantic", "asyncio"))


def test_what_a_task_imports_is_light() -> None:
    assert not imported("from fedchain import Task, Run, Fit, FedchainError").intersection((*HEAVY, "numpy"))


def test_reading_and_verifying_needs_no_torch() -> None:
    assert "torch" not in imported("from fedchain import connect, verify, Policy, fedbuff")


@pytest.mark.parametrize("name", fedchain.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(fedchain, name).__name__ == name
    assert name in dir(fedchain)


def test_there_is_no_other_name() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'federate'"):
        fedchain.federate  # noqa: B018


CLOCKS = {"time.time", "time.monotonic", "time.perf_counter", "asyncio.sleep", "asyncio.timeout", "asyncio.wait_for"}


@pytest.mark.parametrize("package", ["node", "aggregator", "daemon", "replica"])
def test_daemons_take_their_time_from_the_port(package: str) -> None:
    """A simulation gives another clock: nothing may read the machine's behind its back."""
    for path in sorted((Path(fedchain.__file__).parent / package).glob("*.py")):
        read = {
            f"{node.value.id}.{node.attr}"
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        }
        assert not read & CLOCKS, path
