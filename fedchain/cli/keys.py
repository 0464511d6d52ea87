"""`fedchain keys`: keystore files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedchain.cli.options import PASSWORD_ENV, Json, PasswordFile, example
from fedchain.cli.output import show
from fedchain.config.secrets import read_password

app = typer.Typer(help="Create and inspect keys: keystore files, version 3.", no_args_is_help=True)


@app.command("new", epilog=example("fedchain keys new --out hospital-1/key.json --password-file hospital-1/password"))
def new(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Keystore file to write; it must not exist.")],
    password_file: PasswordFile = None,
    devnet: Annotated[bool, typer.Option("--devnet", help="Weak but fast encryption, for test networks only.")] = False,
    json: Json = False,
) -> None:
    """Create a key and print its address.

    The file is encrypted with the password, and only its owner can read it. Back up both: a lost key cannot be
    recovered.
    """
    from fedchain.crypto.keys import DEVNET, STRONG, create_key  # noqa: PLC0415 - as in cli/options.py

    made = create_key(out, read_password(password_file, PASSWORD_ENV), DEVNET if devnet else STRONG)
    show({"address": made, "file": str(out)}, json=json)


@app.command("show", epilog=example("fedchain keys show hospital-1/key.json"))
def show_key(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A keystore file.")], json: Json = False
) -> None:
    """Print a key's address; the password is not needed."""
    from fedchain.crypto.keys import key_address  # noqa: PLC0415 - as in cli/options.py

    show({"address": key_address(file), "file": str(file)}, json=json)
