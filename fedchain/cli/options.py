"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fedchain.config.secrets import read_password

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

PASSWORD_ENV: Final = "FEDCHAIN_PASSWORD"  # noqa: S105 - the variable's name, not a password

Key = Annotated[Path, typer.Option("--key", metavar="FILE", help="Keystore file of the key that signs.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file",
        metavar="FILE",
        help=f"File whose first line is the key's password; without it, ${PASSWORD_ENV} is read.",
    ),
]
FederationOption = Annotated[
    Path,
    typer.Option("--federation", metavar="FILE", help="File that `fedchain deploy` wrote: endpoint, chain, contract."),
]
Blobs = Annotated[
    Path,
    typer.Option(
        "--blobs", metavar="FOLDER", help="Blob folder of a daemon, which then serves the content; it may be running."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

FEDERATION: Final = Path("federation.toml")
_GLUE: Final = "\u00a0"
"""A space at which no line is broken."""


def example(*commands: str) -> str:
    """Format the end of a help text: commands to copy, long ones broken before an option, as a shell takes them."""
    shown = ["\b", "Examples:" if len(commands) > 1 else "Example:"]  # \b: click does not wrap what follows
    for command in commands:
        whole = command.replace(" ", _GLUE).replace(f"{_GLUE}--", " --")
        lines = wrap(whole, 74, initial_indent="  ", subsequent_indent="      ", break_on_hyphens=False)
        shown.append(" \\\n".join(lines).replace(_GLUE, " "))
    return "\n".join(shown)


def open_key(key: Path, password_file: Path | None) -> LocalAccount:
    """Open a keystore with the password from a file or the environment; raises ConfigError."""
    from fedchain.crypto.keys import load_key  # noqa: PLC0415 - takes a third of the time that a command needs to start

    return load_key(key, read_password(password_file, PASSWORD_ENV))
