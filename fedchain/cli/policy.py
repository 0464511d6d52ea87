"""`fedchain policy`: the rules by which updates are admitted and merged."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from fedchain.cli.ledger import append, open_ledger
from fedchain.cli.options import FEDERATION, FederationOption, Json, Key, PasswordFile, example, open_key
from fedchain.cli.output import show
from fedchain.config.federation import load_federation
from fedchain.core.errors import ConfigError
from fedchain.core.formats.document import explain
from fedchain.core.ledger.records import PolicySet, Seq
from fedchain.core.rules import policy as policies
from fedchain.core.rules.history import History
from fedchain.core.rules.policy import Policy

app = typer.Typer(help="Set and show the policy.", no_args_is_help=True)


@app.command(
    "set",
    short_help="Put a policy into force.",
    epilog=example(
        "fedchain policy set --algorithm fedbuff --size 3 --key governor/key.json",
        "fedchain policy set --file policy.json --key governor/key.json",
    ),
)
def set_policy(
    key: Key,
    algorithm: Annotated[
        str | None,
        typer.Option("--algorithm", metavar="NAME", help="fedbuff, fedasync or fedavg, with the options below."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="FILE", help="Instead: a policy document (JSON, see docs/format.md)."),
    ] = None,
    size: Annotated[int, typer.Option("--size", metavar="N", help="fedbuff: updates that make a version.")] = 10,
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate",
            metavar="X",
            help="fedbuff: server learning rate, 1.0; fedasync: mixing rate, 0.6 where not given.",
        ),
    ] = None,
    max_staleness: Annotated[
        int,
        typer.Option(
            "--max-staleness",
            metavar="N",
            help="fedbuff, fedasync: versions that may have come since the one a site trained on.",
        ),
    ] = 16,
    timeout_s: Annotated[
        int,
        typer.Option("--timeout-s", metavar="N", help="Seconds after its first update until a buffer may be closed."),
    ] = 3600,
    password_file: PasswordFile = None,
    federation: FederationOption = FEDERATION,
    json: Json = False,
) -> None:
    """Put a policy into force: how many updates make a version, and how they are merged.

    The key must be a governor's. The buffer that is filling keeps its policy; the next one has the new one.
    """
    if (algorithm is None) == (file is None):
        raise ConfigError("policy set needs either --algorithm or --file")
    if algorithm is None:
        policy = read_policy(file or Path())
    else:
        policy = named_policy(algorithm, size=size, rate=rate, max_staleness=max_staleness, timeout_s=timeout_s)
    account = open_key(key, password_file)
    record = asyncio.run(append(federation, account, [PolicySet(policy.canonical())]))[0]
    show({"seq": record.seq, "policy": policy.model_dump(mode="json")}, json=json)


@app.command("show", epilog=example("fedchain policy show --json"))
def show_policy(federation: FederationOption = FEDERATION, json: Json = False) -> None:
    """Print the policy in force."""

    async def read() -> dict[str, Any]:
        async with await open_ledger(load_federation(federation)) as ledger:
            history = History(ledger.federation)
            for record in await ledger.records():
                history.append(record)
            seq, _, policy = history.policy(Seq(history.length))
            return {"seq": seq, **policy.model_dump(mode="json")}

    show(asyncio.run(read()), json=json)


def named_policy(name: str, *, size: int, rate: float | None, max_staleness: int, timeout_s: int) -> Policy:
    """Make the policy of an algorithm; raises ConfigError naming key, value and what is allowed."""
    try:
        match name:
            case "fedbuff":
                rate = 1.0 if rate is None else rate
                return policies.fedbuff(size=size, rate=rate, max_staleness=max_staleness, timeout_s=timeout_s)
            case "fedasync":
                alpha = 0.6 if rate is None else rate
                return policies.fedasync(alpha=alpha, max_staleness=max_staleness, timeout_s=timeout_s)
            case "fedavg":
                return policies.fedavg(timeout_s=timeout_s)
            case _:
                raise ConfigError(f"unknown --algorithm {name!r}; choose from fedbuff, fedasync, fedavg")
    except ValidationError as error:
        raise ConfigError(f"policy {name}: {explain(error)}") from error


def read_policy(file: Path) -> Policy:
    """Read a policy document in any JSON form; raises ConfigError naming key, value and what is allowed."""
    try:
        return Policy.model_validate_json(file.read_bytes())
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error
    except ValidationError as error:
        raise ConfigError(f"{file}: {explain(error)}") from error
