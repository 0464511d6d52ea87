"""Runs daemons as processes of their own and ends them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fedchain.cli.demo.stage import Actor
from fedchain.core.errors import FedchainError

GRACE_S: Final = 20.0


class Processes:
    """The processes of a federation."""

    def __init__(self) -> None:
        self._running: dict[Actor, asyncio.subprocess.Process] = {}

    async def start(self, actor: Actor) -> None:
        """Start a daemon; what it says goes to a log file in its folder."""
        with (actor.folder / "log.txt").open("ab") as log:
            self._running[actor] = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "fedchain", actor.kind, "run", "--config", str(actor.config)),
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def check(self) -> None:
        """Raise FedchainError when a daemon has ended by itself, with the last line that it said."""
        for actor, process in self._running.items():
            if process.returncode is not None:
                log = actor.folder / "log.txt"
                last = log.read_text(errors="replace").strip().rpartition("\n")[2]
                raise FedchainError(f"{actor.name} ended with {process.returncode}: {last}; see {log}")

    async def kill(self, actor: Actor) -> None:
        """End a daemon as a power cut does."""
        process = self._running.pop(actor)
        process.kill()
        await process.wait()

    async def stop(self) -> None:
        """End all daemons with SIGTERM; those that do not end in time are killed."""
        running = [process for process in self._running.values() if process.returncode is None]
        for process in running:
            process.terminate()
        for process in running:
            try:
                await asyncio.wait_for(process.wait(), GRACE_S)
            except TimeoutError:
                process.kill()
                await process.wait()
        self._running.clear()


@asynccontextmanager
async def processes() -> AsyncIterator[Processes]:
    """Give processes that are all ended at the end, however it comes."""
    started = Processes()
    try:
        yield started
    finally:
        await started.stop()
