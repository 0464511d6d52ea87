from __future__ import annotations

import pytest

from fedchain.cli.members import read_roles, role_names
from fedchain.core.errors import ConfigError
from fedchain.core.ledger.records import Role


@pytest.mark.parametrize(
    ("names", "roles"),
    [
        (["none"], Role.NONE),
        (["trainer"], Role.TRAINER),
        (["Aggregator", "AUDITOR"], Role.AGGREGATOR | Role.AUDITOR),
        (["governor", "governor", "none"], Role.GOVERNOR),
        ([], Role.NONE),
    ],
)
def test_roles_by_name(names: list[str], roles: Role) -> None:
    assert read_roles(names) == roles


@pytest.mark.parametrize("name", ["boss", "", "trainer,auditor", "1"])
def test_a_role_that_nobody_knows(name: str) -> None:
    with pytest.raises(
        ConfigError, match=f"unknown role '{name}'; choose from none, governor, trainer, aggregator, auditor"
    ):
        read_roles(["trainer", name])


@pytest.mark.parametrize("bits", range(16))
def test_roles_are_spelt_as_they_are_read(bits: int) -> None:
    assert read_roles(role_names(Role(bits)).split(", ")) == Role(bits)
