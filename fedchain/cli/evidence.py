"""The options with which every `fedchain audit` command is told where records and blobs are."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer

from fedchain.audit.evidence import Where
from fedchain.cli.options import FEDERATION
from fedchain.core.errors import ConfigError, LedgerUnreachable, ParameterError

_Command = TypeVar("_Command", bound=Callable[..., None])

FLAGS: Final = {
    "federation": "--federation",
    "rpc": "--rpc",
    "contract": "--contract",
    "mirror": "--mirror",
    "blobs": "--blobs",
    "peers": "--peer",
    "head": "--head",
    "offline": "--offline",
}
"""What the fields of `Where` are called here."""


def takes_evidence(command: _Command) -> _Command:
    """Give a command the options below in place of its parameter `where`, and name them in the errors it raises."""

    @wraps(command)
    def with_options(**given: object) -> None:
        where = _where(**{name: given.pop(name) for name in _OPTIONS})  # type: ignore[arg-type]
        try:
            command(where=where, **given)
        except ParameterError as error:
            raise ConfigError(error.text(FLAGS)) from error
        except LedgerUnreachable as error:
            raise LedgerUnreachable(
                f"{error}; or verify a daemon's copy with --offline --mirror ledger.sqlite"
            ) from error

    before: list[inspect.Parameter] = []
    after: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        if parameter.name != "where":
            (before if parameter.default is parameter.empty else after).append(parameter)
    parameters = [*before, *_OPTIONS.values(), *after]
    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_options  # type: ignore[return-value]


def _where(
    federation: Annotated[
        Path | None,
        typer.Option(
            "--federation", metavar="FILE", help=f"File that `fedchain deploy` wrote; by default {FEDERATION}."
        ),
    ] = None,
    rpc: Annotated[
        str | None, typer.Option("--rpc", metavar="URL", help="Another Ethereum endpoint than the file's: your own.")
    ] = None,
    contract: Annotated[
        str | None, typer.Option("--contract", metavar="ADDRESS", help="Address of the ledger, instead of the file's.")
    ] = None,
    mirror: Annotated[
        Path | None,
        typer.Option(
            "--mirror", metavar="FILE", help="A daemon's copy of the records, ledger.sqlite; it is not trusted."
        ),
    ] = None,
    blobs: Annotated[
        list[Path] | None,
        typer.Option("--blobs", metavar="FOLDER", help="A daemon's blob folder; may be repeated. Nothing is written."),
    ] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option("--peer", metavar="URL", help="A daemon that has what the folders lack; may be repeated."),
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(
            "--head", metavar="0x…", help="The ledger's head, known from elsewhere; it proves a mirror without a chain."
        ),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Read --mirror alone, without a chain.")] = False,
) -> Where:
    """Take the options; a federation file that lies here need not be named."""
    if federation is None and FEDERATION.exists():
        federation = FEDERATION
    return Where(federation, rpc, contract, mirror, tuple(blobs or ()), tuple(peer or ()), head, offline)


_OPTIONS: Final = inspect.signature(_where, eval_str=True).parameters
