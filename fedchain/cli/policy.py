"""`fedchain policy | strategies`: the rules by which updates are admitted and merged."""

from __future__ import annotations

import asyncio
from pathlib import Path
from textwrap import wrap
from typing import Annotated, Any, Final

import typer
from pydantic import ValidationError
from pydantic_core import from_json

from fedchain.cli.ledger import append, open_ledger
from fedchain.cli.options import FEDERATION, FederationOption, Json, Key, PasswordFile, example, open_key
from fedchain.cli.output import show, table
from fedchain.config.federation import load_federation
from fedchain.core.errors import ConfigError
from fedchain.core.formats.document import explain
from fedchain.core.ledger.records import PolicySet, Seq
from fedchain.core.rules import policy as policies
from fedchain.core.rules.history import History
from fedchain.core.rules.policy import Policy
from fedchain.core.strategies.registry import PRESETS, STRATEGIES
from fedchain.core.updates.encodings.registry import ENCODINGS

app = typer.Typer(help="Set and show the policy.", no_args_is_help=True)


def _algorithms() -> str:
    """Format the algorithms and their parameters for the help text."""
    lines = ["\b", "Algorithms:"]
    for name, preset in PRESETS.items():
        lines += wrap(f"{name}: {preset.summary}", 78, initial_indent="  ", subsequent_indent="    ")
        for key, field in type(preset.parameters).model_fields.items():
            if key != "name":
                value = getattr(preset.parameters, key)
                shown = value.canonical().decode() if hasattr(value, "canonical") else value
                lines.append(f"    --set {key}={shown}")
                lines += wrap(field.description or "", 78, initial_indent=" " * 10, subsequent_indent=" " * 10)
    return "\n".join(lines)


EPILOG: Final = f"""{_algorithms()}

{
    example(
        "fedchain policy set --algorithm fedbuff --size 3 --key governor/key.json",
        "fedchain policy set --algorithm median --size 5 --set rate=0.5 --key governor/key.json",
        "fedchain policy set --file policy.json --key governor/key.json",
    )
}"""


Algorithm = Annotated[
    str | None, typer.Option("--algorithm", metavar="NAME", help=f"One of {', '.join(PRESETS)}; see below.")
]
PolicyFile = Annotated[
    Path | None, typer.Option("--file", metavar="FILE", help="Instead: a policy document (JSON, see docs/format.md).")
]
BufferSize = Annotated[
    str | None, typer.Option("--size", metavar="N", help='Updates that make a version; "all": one of each trainer.')
]
MaxStaleness = Annotated[
    int | None,
    typer.Option("--max-staleness", metavar="N", help="Versions that may have come since the base of an update."),
]
Timeout = Annotated[
    int, typer.Option("--timeout-s", metavar="N", help="Seconds after its first update until a buffer may be closed.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A parameter of the algorithm; may be repeated."),
]
Encodings = Annotated[
    list[str] | None,
    typer.Option(
        "--encoding", metavar="NAME", help=f"How updates may be encoded: {', '.join(ENCODINGS)}; nodes take the first."
    ),
]


@app.command("set", short_help="Put a policy into force.", epilog=EPILOG)
def set_policy(
    key: Key,
    algorithm: Algorithm = None,
    file: PolicyFile = None,
    size: BufferSize = None,
    max_staleness: MaxStaleness = None,
    timeout_s: Timeout = 3600,
    setting: Settings = None,
    encoding: Encodings = None,
    password_file: PasswordFile = None,
    federation: FederationOption = FEDERATION,
    json: Json = False,
) -> None:
    """Put a policy into force: how many updates make a version, and how they are merged.

    The key must be a governor's. The buffer that is filling keeps its policy; the next one has the new one.
    """
    if (algorithm is None) == (file is None):
        raise ConfigError("policy set needs either --algorithm or --file")
    buffer = {"size": _size(size), "max_staleness": max_staleness, "timeout_s": timeout_s}
    policy = (
        read_policy(file or Path())
        if algorithm is None
        else named_policy(algorithm, setting or (), encoding or (), **buffer)
    )
    account = open_key(key, password_file)
    record = asyncio.run(append(federation, account, [PolicySet(policy.canonical())]))[0]
    show({"seq": record.seq, "policy": policy.model_dump(mode="json")}, json=json)


@app.command("show", epilog=example("fedchain policy show"))
def show_policy(federation: FederationOption = FEDERATION, json: Json = False) -> None:
    """Print the policy in force."""

    async def read() -> dict[str, Any]:
        async with await open_ledger(load_federation(federation)) as ledger:
            history = History(ledger.federation)
            for record in await ledger.records():
                history.append(record)
            seq, policy = history.policy(Seq(history.length))
            return {"seq": seq, **policy.model_dump(mode="json")}

    show(asyncio.run(read()), json=json)


def strategies(json: Json = False) -> None:
    """List the strategies, the algorithms that are made of them, and their parameters."""
    rows = [
        {
            "algorithm": name,
            "strategy": strategy.name,
            "takes": str(strategy.takes),
            "parameters": preset.parameters.model_dump_json(exclude={"name"}),
            "source": preset.summary,
        }
        for strategy in STRATEGIES.values()
        for name, preset in strategy.presets.items()
    ]
    table(rows, json=json)


def named_policy(name: str, settings: list[str] | tuple[()], encodings: list[str] | tuple[()], **buffer: Any) -> Policy:
    """Make the policy of an algorithm; raises ConfigError naming key, value and what is allowed."""
    if name not in PRESETS:
        raise ConfigError(f"unknown --algorithm {name!r}; choose from {', '.join(PRESETS)}")
    parameters = dict(map(_parameter, settings))
    known = type(PRESETS[name].parameters).model_fields.keys() - {"name"}
    if unknown := parameters.keys() - known:
        raise ConfigError(f"unknown --set {min(unknown)}; {name} has {', '.join(sorted(known))}")
    if wrong := next((one for one in encodings if one not in ENCODINGS), None):
        raise ConfigError(f"unknown --encoding {wrong!r}; choose from {', '.join(ENCODINGS)}")
    try:
        policy = policies.preset(name, **buffer, **parameters)
        if not encodings:
            return policy
        chosen = tuple(ENCODINGS[one].parameters() for one in encodings)
        return Policy(**{**dict(policy), "encodings": chosen})
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


def _size(text: str | None) -> int | str | None:
    if text is None or text == "all":
        return text
    if not text.isdecimal():
        raise ConfigError(f'--size {text}: expected a number of updates, or "all"')
    return int(text)


def _parameter(text: str) -> tuple[str, Any]:
    """Read NAME=VALUE: VALUE as JSON where it is that, else as a word."""
    name, separator, value = text.partition("=")
    if not separator:
        raise ConfigError(f"--set {text}: expected NAME=VALUE, as in --set rate=0.5")
    try:
        return name, from_json(value)
    except ValueError:
        return name, value
