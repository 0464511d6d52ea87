"""`fedchain`: every command, and how each one ends.

Exit codes: 0 done, 1 the command found something wrong (audit: findings), 2 it could not be carried out.
"""

from __future__ import annotations

import logging
import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from fedchain.cli import audit, daemons, deploy, devnet, keys, members, policy
from fedchain.cli.demo.command import demo
from fedchain.cli.options import example
from fedchain.core.errors import ConfigError, FedchainError

DEMO = example("fedchain demo", "fedchain demo --task digits --sites 6 --versions 10")
DEPLOY = example(
    "fedchain deploy --rpc http://127.0.0.1:8545 --key governor/key.json --password-file governor/password"
)
GENESIS = example("fedchain genesis --task wdbc:BreastCancer --key aggregator/key.json --blobs aggregator/state/blobs")

app = typer.Typer(
    name="fedchain",
    help="Federated learning that anyone can verify: sites train, a ledger orders, everyone can recompute.",
    epilog="To set up a federation: keys new, deploy, member set, policy set, genesis, in this order; then aggregator "
    "run and node run, each after its init. Run audit verify at any time. Each command's --help has an example.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("demo", short_help="Run a federation on this machine and audit it.", epilog=DEMO)(demo)
app.add_typer(devnet.app, name="devnet")
app.add_typer(keys.app, name="keys")
app.command("deploy", short_help="Deploy the ledger contract.", epilog=DEPLOY)(deploy.deploy)
app.command("genesis", short_help="Publish version 0: a task's fresh model.", epilog=GENESIS)(deploy.genesis)
app.add_typer(policy.app, name="policy")
app.command(
    "strategies", short_help="List the strategies that a policy may name.", epilog=example("fedchain strategies --json")
)(policy.strategies)
app.add_typer(members.app, name="member")
app.add_typer(daemons.node_app, name="node")
app.add_typer(daemons.aggregator_app, name="aggregator")
app.add_typer(audit.app, name="audit")

COULD_NOT = 2
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
"""How much is logged; FEDCHAIN_LOG names one."""


def _print_version(asked: bool) -> None:
    if asked:
        print(f"fedchain {version('fedchain')}")
        raise typer.Exit


@app.callback()
def fedchain(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log every step to standard error; $FEDCHAIN_LOG=ERROR logs less.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Set up what all commands share."""
    level = "DEBUG" if verbose else os.environ.get("FEDCHAIN_LOG", "INFO")
    if level not in LEVELS:
        raise ConfigError(f"unknown FEDCHAIN_LOG level {level!r}; choose from {', '.join(LEVELS)}")
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for chatty in ("web3", "aiohttp", "urllib3", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def main() -> None:
    """Run a command; an error of fedchain ends in one line and exit code 2."""
    try:
        app()
    except* FedchainError as group:
        for error in _leaves(group):
            print(f"fedchain: {' '.join(str(error).splitlines())}", file=sys.stderr)
        sys.exit(COULD_NOT)


def _leaves(group: BaseExceptionGroup[FedchainError]) -> list[FedchainError]:
    """List the errors of nested groups once each."""
    found: list[FedchainError] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
