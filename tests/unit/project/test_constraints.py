"""constraints.txt pins the whole closure of what pyproject.toml asks for, at the versions installed here."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[3]


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def closure(extras: frozenset[str], name: str = "fedchain") -> Iterator[tuple[str, Version]]:
    """Walk what is installed because of a distribution with extras."""
    seen: set[tuple[str, frozenset[str]]] = set()
    todo = [(name, extras)]
    while todo:
        name, extras = todo.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        installed = distribution(name)
        yield canonicalize_name(name), Version(installed.version)
        for text in installed.requires or ():
            requirement = Requirement(text)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                todo.append((requirement.name, frozenset(requirement.extras)))


def test_every_package_of_the_closure_is_pinned_at_the_installed_version() -> None:
    try:
        installed = dict(closure(frozenset({"demo", "contracts", "dev"})))
    except PackageNotFoundError as error:
        raise AssertionError(f"{error} is not installed: run scripts/setup") from error
    del installed["fedchain"]
    pinned = pins()
    wrong = {
        name: f"installed {version}, pinned {pinned.get(name)}"
        for name, version in installed.items()
        if pinned.get(name) != Version(version.public)
    }
    assert not wrong


def test_pins_name_no_registry() -> None:
    assert "://" not in (ROOT / "constraints.txt").read_text()
