"""`fedchain`: every command, and how each one ends.

Exit codes: 0 done, 1 the command found something wrong (audit: findings), 2 it could not be carried out.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated

import typer

from fedchain.cli import audit, daemons, devnet, found, keys, members, policy
from fedchain.cli.demo.command import demo
from fedchain.core.errors import FedchainError

app = typer.Typer(
    name="fedchain",
    help="Federated learning that anyone can recompute: sites train, a ledger orders, everybody checks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("demo")(demo)
app.add_typer(devnet.app, name="devnet")
app.add_typer(keys.app, name="keys")
app.command("deploy")(found.deploy)
app.command("genesis")(found.genesis)
app.add_typer(policy.app, name="policy")
app.add_typer(members.app, name="member")
app.add_typer(daemons.node_app, name="node")
app.add_typer(daemons.aggregator_app, name="aggregator")
app.add_typer(audit.app, name="audit")

COULD_NOT = 2


@app.callback()
def fedchain(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every step to standard error.")] = False,
) -> None:
    """Set up what all commands share."""
    level = logging.DEBUG if verbose else os.environ.get("FEDCHAIN_LOG", "INFO")
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for chatty in ("web3", "aiohttp", "urllib3", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def main() -> None:
    """Run a command; an error of fedchain ends in one line and exit code 2."""
    try:
        app()
    except* FedchainError as group:
        for error in _leaves(group):
            print(f"fedchain: {error}", file=sys.stderr)
        sys.exit(COULD_NOT)


def _leaves(group: BaseExceptionGroup[FedchainError]) -> list[FedchainError]:
    """List the errors of nested groups once each."""
    found: list[FedchainError] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
