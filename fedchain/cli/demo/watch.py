"""Shows a federation at work: who does what, which version, how good."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from fedchain.cli.demo.stage import Stage
from fedchain.core.errors import FedchainError
from fedchain.daemon.client import Daemons

LOOK_S: Final = 0.25
PATIENCE_S: Final = 120.0
"""Seconds without a new version after which the demonstration gives up."""


class Watch:
    """The progress of a federation on the terminal: a live table, or a line for each version."""

    def __init__(self, stage: Stage, versions: int, console: Console) -> None:
        self._stage = stage
        self._versions = versions
        self._console = console
        self._shown = -1

    async def until_done(self, daemons: Daemons, check: Callable[[], None]) -> None:
        """Watch until the last version is published; raises FedchainError when nothing moves any more."""
        loop = asyncio.get_running_loop()
        newest, moved = -1, loop.time()
        with Live(console=self._console, auto_refresh=False, transient=False) as live:
            while newest < self._versions:
                check()
                found = await daemons.statuses([actor.url for actor in self._stage.actors])
                version = (found[0] or {}).get("version", -1)
                if version > newest:
                    newest, moved = version, loop.time()
                if loop.time() - moved > PATIENCE_S:
                    raise FedchainError(f"no version after {newest} in {PATIENCE_S:g} s: {found}")
                if self._console.is_terminal:
                    live.update(self._table(found), refresh=True)
                else:
                    self._line(found)
                await asyncio.sleep(LOOK_S)

    def _table(self, found: list[dict[str, Any] | None]) -> Table:
        aggregator = found[0] or {}
        version = max(0, aggregator.get("version", 0))
        table = Table(title=f"version {version} of {self._versions}", caption=_ledger_line(aggregator), expand=False)
        for column in ("site", "doing", "version", "updates", "accuracy", "AUC"):
            table.add_column(column, justify="left" if column in ("site", "doing") else "right", min_width=8)
        for actor, status in zip(self._stage.sites, found[1:], strict=True):
            table.add_row(actor.name, *_cells(status or {}))
        table.add_section()
        table.add_row("", ProgressBar(total=self._versions, completed=version, width=30))
        return table

    def _line(self, found: list[dict[str, Any] | None]) -> None:
        aggregator = found[0] or {}
        version = aggregator.get("version", -1)
        if version <= self._shown:
            return
        self._shown = version
        accuracy = [(status or {}).get("metrics", {}).get("accuracy") for status in found[1:]]
        by_site = " ".join("-" if value is None else f"{value:.3f}" for value in accuracy)
        self._console.print(
            f"version {version:3d}  {_ledger_line(aggregator)}  accuracy by site: {by_site}", soft_wrap=True
        )


def _ledger_line(aggregator: dict[str, Any]) -> str:
    updates = aggregator.get("updates", {})
    merged = updates.get("merged", 0)
    staleness = aggregator.get("mean_staleness")
    return (
        f"{aggregator.get('records', 0)} records on the ledger, {merged} updates merged, "
        f"{sum(updates.values()) - merged} rejected, mean staleness {staleness or 0:.2f}"
    )


def _cells(status: dict[str, Any]) -> list[str]:
    metrics = status.get("metrics", {})
    version = status.get("version")
    return [
        status.get("doing", "starting"),
        "-" if version is None else str(version),
        str(status.get("updates", {}).get("included", 0)),
        *(f"{metrics[name]:.3f}" if name in metrics else "-" for name in ("accuracy", "auc")),
    ]
