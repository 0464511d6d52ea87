"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from eth_account.signers.local import LocalAccount

from fedchain.crypto.keys import load_key
from fedchain.daemon.settings import read_password

PASSWORD_ENV = "FEDCHAIN_PASSWORD"  # noqa: S105 - the variable's name, not a password

Key = Annotated[Path, typer.Option("--key", help="Keystore file of the key that signs.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option("--password-file", help=f"File whose first line is the password; else ${PASSWORD_ENV} is read."),
]
FederationOption = Annotated[
    Path, typer.Option("--federation", help="File that `fedchain deploy` wrote: endpoint, chain, contract.")
]
Blobs = Annotated[
    Path, typer.Option("--blobs", help="Blob folder of a daemon that serves the content; the daemon may be running.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

FEDERATION = Path("federation.toml")


def open_key(key: Path, password_file: Path | None) -> LocalAccount:
    """Open a keystore with the password from a file or the environment; raises ConfigError."""
    return load_key(key, read_password(password_file, PASSWORD_ENV))
