"""`fedchain member`: who may do what."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from fedchain.cli.ledger import append, open_ledger
from fedchain.cli.options import FEDERATION, FederationOption, Json, Key, PasswordFile, example, open_key
from fedchain.cli.output import show, table
from fedchain.config.federation import load_federation
from fedchain.core.errors import ConfigError
from fedchain.core.ledger.records import Address, MemberSet, Role, Seq, address

app = typer.Typer(help="Set and list roles.", no_args_is_help=True)


@app.command(
    "set",
    epilog=example(
        "fedchain member set 0x70997970c51812dc3a010c7d01b50e0d17dc79c8 --roles trainer "
        "--key governor/key.json --password-file governor/password"
    ),
)
def set_member(
    member: Annotated[
        str, typer.Argument(metavar="ADDRESS", help="The member's address, as `fedchain keys show` prints it.")
    ],
    key: Key,
    roles: Annotated[
        list[str],
        typer.Option(
            "--roles", metavar="ROLE", help="governor, trainer, aggregator, auditor or none; may be repeated."
        ),
    ],
    password_file: PasswordFile = None,
    federation: FederationOption = FEDERATION,
    json: Json = False,
) -> None:
    """Set the roles of an address, replacing those it had.

    The key must be a governor's. A site is a trainer; --roles none takes every role away.
    """
    change = MemberSet(address(member), read_roles(roles))
    record = asyncio.run(append(federation, open_key(key, password_file), [change]))[0]
    show({"seq": record.seq, "member": change.member, "roles": role_names(change.roles)}, json=json)


@app.command("list", epilog=example("fedchain member list --json"))
def list_members(federation: FederationOption = FEDERATION, json: Json = False) -> None:
    """List members and their roles."""

    async def read() -> list[dict[str, Any]]:
        async with await open_ledger(load_federation(federation)) as ledger:
            held: dict[Address, tuple[Seq, Role]] = {}
            for record in await ledger.records():
                if isinstance(record.payload, MemberSet):
                    held[record.payload.member] = (record.seq, record.payload.roles)
        return [
            {"member": member, "roles": role_names(roles), "since": since} for member, (since, roles) in held.items()
        ]

    table(asyncio.run(read()), json=json)


def read_roles(names: list[str]) -> Role:
    """Read roles by name; raises ConfigError."""
    roles = Role.NONE
    for name in names:
        if name.upper() not in Role.__members__:
            known = ", ".join(role.lower() for role in Role.__members__)
            raise ConfigError(f"unknown role {name!r}; choose from {known}")
        roles |= Role[name.upper()]
    return roles


def role_names(roles: Role) -> str:
    """Format a set of roles."""
    return ", ".join(str(role.name).lower() for role in roles) or "none"
