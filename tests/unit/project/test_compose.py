"""docker-compose.yml against the Compose Specification's own schema, and against what the project promises of it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = json.loads((ROOT / "tests/vectors/compose-spec.json").read_text())
DAEMONS = ("aggregator", "hospital-1", "hospital-2", "hospital-3", "hospital-4")


@pytest.fixture
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def validate(document: dict[str, Any]) -> None:
    Draft202012Validator(SCHEMA).validate(document)


def test_file_is_valid_by_the_specification(compose: dict[str, Any]) -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    validate(compose)


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("services", "aggregator", "comand"), ["aggregator"]),
        (("services", "aggregator", "depends_on", "bootstrap", "condition"), "service_done"),
        (("services", "hospital-1", "healthcheck", "test"), 7),
        (("secrets", "governor-password", "file"), ["two", "files"]),
    ],
)
def test_schema_refuses_slips(compose: dict[str, Any], path: tuple[str, ...], wrong: object) -> None:
    document = copy.deepcopy(compose)
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = wrong
    with pytest.raises(ValidationError):
        validate(document)


def test_services_are_a_chain_a_founder_and_five_daemons(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {"devnet", "bootstrap", *DAEMONS}


@pytest.mark.parametrize("name", DAEMONS)
def test_daemons_start_once_the_federation_is_founded(compose: dict[str, Any], name: str) -> None:
    assert compose["services"][name]["depends_on"] == {"bootstrap": {"condition": "service_completed_successfully"}}


@pytest.mark.parametrize("name", DAEMONS)
def test_daemons_are_asked_for_their_health(compose: dict[str, Any], name: str) -> None:
    assert "/healthz" in compose["services"][name]["healthcheck"]["test"][-1]


@pytest.mark.parametrize("name", DAEMONS)
def test_daemons_see_their_own_folder_and_password_only(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    assert service["volumes"] == ["federation:/federation/nodes/data:ro", f"{name}:/federation/nodes/{name}/data"]
    assert service["secrets"] == [
        {"source": f"{name}-password", "target": f"/federation/nodes/secrets/{name}.password"}
    ]


def test_secrets_are_files_that_git_ignores_and_nothing_is_in_the_environment(compose: dict[str, Any]) -> None:
    assert all("environment" not in service for service in compose["services"].values())
    for name, secret in compose["secrets"].items():
        assert secret == {"file": f"nodes/secrets/{name.removesuffix('-password')}.password"}
    assert "/nodes/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_every_named_volume_and_secret_is_declared_and_used(compose: dict[str, Any]) -> None:
    services = compose["services"].values()
    volumes = {volume.split(":")[0] for service in services for volume in service.get("volumes", [])}
    secrets = {secret["source"] for service in services for secret in service.get("secrets", [])}
    assert volumes == set(compose["volumes"])
    assert secrets == set(compose["secrets"])
