"""`fedchain demo`."""

from __future__ import annotations

import asyncio
import json as json_text
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fedchain.cli.options import Json

FINDINGS = 1


def demo(
    task: Annotated[str, typer.Option("--task", metavar="NAME", help="wdbc (patients) or digits (scans).")] = "wdbc",
    sites: Annotated[int, typer.Option("--sites", metavar="N", min=2, max=12, help="Hospitals.")] = 4,
    versions: Annotated[int, typer.Option("--versions", metavar="N", min=1, help="Versions after genesis.")] = 16,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, help="Decides who gets which patients, and all training.")
    ] = 0,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", metavar="FOLDER", help="Folder to keep everything in; by default a new one."),
    ] = None,
    json: Json = False,
) -> None:
    """Run a federation of hospitals on this machine, on real patients, and audit it.

    A development chain, a contract, an aggregator and the hospitals run as separate processes, each with its
    own key, data and blobs. One hospital is slow. Ends with 0 when the audit is clean, with 1 when it is not.
    """
    from fedchain.cli.demo.play import play  # noqa: PLC0415 - torch takes seconds to import
    from fedchain.cli.demo.verdict import show_result  # noqa: PLC0415

    console = Console(stderr=json, soft_wrap=True)
    result = asyncio.run(
        play(folder or _new_folder(), task, sites=sites, versions=versions, seed=seed, console=console)
    )
    if json:
        print(json_text.dumps(result.as_json(), indent=2))
    else:
        show_result(result, console)
    if not result.clean:
        raise typer.Exit(FINDINGS)


def _new_folder() -> Path:
    """Choose the first free folder of fedchain-demo/1, fedchain-demo/2, …"""
    number = 1
    while Path(f"fedchain-demo/{number}").exists():
        number += 1
    return Path(f"fedchain-demo/{number}")
