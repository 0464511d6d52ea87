"""`fedchain node | aggregator`: write a configuration file, run a daemon."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from fedchain.aggregator.settings import AggregatorConfig
from fedchain.cli.options import FEDERATION, FederationOption, Json, example
from fedchain.cli.output import show
from fedchain.config.federation import load_federation
from fedchain.config.settings import DaemonConfig, load_settings, render, validated
from fedchain.core.errors import ConfigError
from fedchain.ledger.finality import DEVNET_CHAIN_IDS
from fedchain.node.settings import NodeConfig

node_app = typer.Typer(help="Run a site's node.", no_args_is_help=True)
aggregator_app = typer.Typer(help="Run an aggregator.", no_args_is_help=True)

Config = Annotated[Path, typer.Option("--config", metavar="FILE", help="Configuration file that `init` wrote.")]
Out = Annotated[
    Path, typer.Option("--out", metavar="FILE", help="Configuration file to write (TOML); it must not exist.")
]
Peer = Annotated[
    list[str],
    typer.Option("--peer", metavar="URL", help="Another daemon, to read blobs from; may be repeated. One is enough."),
]
Port = Annotated[int, typer.Option("--port", metavar="N", min=1, max=65535, help="Port to listen on, 127.0.0.1 alone.")]


@node_app.command(
    "init",
    epilog=example(
        "fedchain node init --task wdbc:BreastCancer --out hospital-1/node.toml --peer http://127.0.0.1:8700"
    ),
)
def node_init(
    task: Annotated[
        str,
        typer.Option(
            "--task", metavar="MODULE:CLASS", help="What the site trains; the module may lie beside the file."
        ),
    ],
    out: Out = Path("node.toml"),
    port: Port = 8701,
    peer: Peer = [],  # noqa: B006 - typer's way of saying "any number"
    federation: FederationOption = FEDERATION,
    json: Json = False,
) -> None:
    """Write a node's configuration, with a comment on every line.

    It expects the site's key in key.json beside it, the key's password in password, and its data in patients.csv.
    """
    values = {**_common(out, federation, port, peer), "task": task, "training": {}, "site": {"data": "patients.csv"}}
    write_config(out, NodeConfig, values)
    show({"file": str(out)}, json=json)


@aggregator_app.command(
    "init",
    epilog=example("fedchain aggregator init --out aggregator/aggregator.toml --peer http://127.0.0.1:8701"),
)
def aggregator_init(
    out: Out = Path("aggregator.toml"),
    port: Port = 8700,
    peer: Peer = [],  # noqa: B006
    federation: FederationOption = FEDERATION,
    json: Json = False,
) -> None:
    """Write an aggregator's configuration, with a comment on every line.

    It expects the aggregator's key in key.json beside it, and the key's password in password.
    """
    write_config(out, AggregatorConfig, _common(out, federation, port, peer))
    show({"file": str(out)}, json=json)


@node_app.command("run", epilog=example("fedchain node run --config hospital-1/node.toml"))
def node_run(config: Config = Path("node.toml")) -> None:
    """Run a node until SIGTERM or Ctrl-C.

    GET /status and /readyz on its port tell what it is doing and why it is not ready. It may be killed at any time.
    """
    from fedchain.node.app import run_node  # noqa: PLC0415 - torch takes seconds to import

    asyncio.run(run_node(load_settings(config, NodeConfig), config.parent.resolve()))


@aggregator_app.command("run", epilog=example("fedchain aggregator run --config aggregator/aggregator.toml"))
def aggregator_run(config: Config = Path("aggregator.toml")) -> None:
    """Run an aggregator until SIGTERM or Ctrl-C.

    GET /status and /readyz on its port tell what it is doing and why it is not ready. It may be killed at any time.
    """
    from fedchain.aggregator.app import run_aggregator  # noqa: PLC0415

    asyncio.run(run_aggregator(load_settings(config, AggregatorConfig)))


def write_config(path: Path, kind: type[DaemonConfig], values: dict[str, Any]) -> None:
    """Write a configuration file; raises ConfigError when it exists, or when no daemon could read it."""
    validated(kind, values, path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(render(kind, values))
    except OSError as error:
        if path.exists():
            raise ConfigError(f"{path} already exists; refusing to overwrite: choose another file with --out") from None
        raise ConfigError(f"{error.filename}: {error.strerror}") from error


def _common(out: Path, federation: Path, port: int, peers: list[str]) -> dict[str, Any]:
    chain = {"poll_s": 0.1} if load_federation(federation).chain_id in DEVNET_CHAIN_IDS else {}
    return {
        "peers": peers,
        "ledger": {"federation": os.path.relpath(federation, out.parent), **chain},
        "key": {"file": "key.json", "password_file": "password"},
        "web": {"port": port},
    }
