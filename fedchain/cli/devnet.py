"""`fedchain devnet`: a chain of one's own for trying things out."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Annotated

import typer

from fedchain.cli.options import Json, example
from fedchain.cli.output import show
from fedchain.core.ledger.records import address
from fedchain.devnet import anvil as devnet

app = typer.Typer(help="Run a local development chain (anvil).", no_args_is_help=True)

ANVIL_ENV = "FEDCHAIN_ANVIL"
USUAL_PORT = 8545

Folder = Annotated[Path, typer.Option("--folder", metavar="FOLDER", help="Where chain, log and address are kept.")]
FOLDER = Path("devnet")


@app.command("up", epilog=example("fedchain devnet up --folder devnet --port 8545"))
def up(
    folder: Folder = FOLDER,
    port: Annotated[
        int | None,
        typer.Option("--port", metavar="N", help="0 for a free one; by default the one of last time, or 8545."),
    ] = None,
    block_time: Annotated[
        float | None,
        typer.Option("--block-time", metavar="SECONDS", help="Seconds between blocks; by default one per transaction."),
    ] = None,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay until Ctrl-C or SIGTERM, then stop.")] = False,
    json: Json = False,
) -> None:
    """Start the chain in a folder, with the state that it had.

    anvil is looked up in $FEDCHAIN_ANVIL and PATH; if it is in neither, npm installs it for this user only.
    """
    port = devnet.last_port(folder) or USUAL_PORT if port is None else port
    asyncio.run(_up(folder, port, block_time, foreground, json))


@app.command("down", epilog=example("fedchain devnet down --folder devnet"))
def down(folder: Folder = FOLDER, json: Json = False) -> None:
    """Stop the chain in a folder; its state is kept."""
    show({"stopped": asyncio.run(devnet.stop(folder))}, json=json)


@app.command(
    "status", short_help="Show whether a chain is running in a folder.", epilog=example("fedchain devnet status --json")
)
def status(folder: Folder = FOLDER, json: Json = False) -> None:
    """Show whether a chain is running in a folder; exit code 1 if not."""
    found = devnet.status(folder)
    show({"running": found is not None, "url": found and found.url, "pid": found and found.pid}, json=json)
    if found is None:
        raise typer.Exit(1)


@app.command(
    "fund",
    short_help="Fund an address.",
    epilog=example("fedchain devnet fund 0x70997970c51812dc3a010c7d01b50e0d17dc79c8"),
)
def fund(
    member: Annotated[str, typer.Argument(metavar="ADDRESS", help="Address to fund.")],
    rpc: Annotated[
        str, typer.Option("--rpc", metavar="URL", help="The devnet's URL.")
    ] = f"http://127.0.0.1:{USUAL_PORT}",
    json: Json = False,
) -> None:
    """Send an address 1,000 ether on the development chain."""
    asyncio.run(devnet.fund(rpc, address(member)))
    show({"funded": address(member)}, json=json)


async def anvil() -> Path:
    """Find anvil, or install it for this user; raises ConfigError."""
    given = os.environ.get(ANVIL_ENV)
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "fedchain"
    return devnet.find_anvil(Path(given) if given else None, data) or await devnet.install_anvil(data)


async def _up(folder: Path, port: int, block_time: float | None, foreground: bool, json: bool) -> None:
    running = await devnet.start(await anvil(), folder, port, block_time)
    show({"url": running.url, "pid": running.pid, "folder": str(folder)}, json=json)
    if not foreground:
        return
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await devnet.stop(folder)
