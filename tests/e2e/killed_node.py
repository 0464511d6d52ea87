"""A node that dies at a step of its journal, as in a power cut: python killed_node.py CONFIG STEP."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from fedchain.config.settings import load_settings
from fedchain.core.ports import Step
from fedchain.daemon.runtime import open_member, serve
from fedchain.node.journal import SqliteJournal
from fedchain.node.node import Node
from fedchain.node.settings import NodeConfig
from fedchain.training.task import load_task
from fedchain.training.trainer import Options, Trainer


async def run(path: Path, fatal: Step) -> None:
    config, folder = load_settings(path, NodeConfig), path.parent.resolve()

    def die(step: Step) -> None:
        if step is fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    async with open_member(config) as member:
        node = Node(
            member.address,
            member.ledger,
            member.store,
            training=Trainer(load_task(config.task, folder), folder, config.site, Options(device="cpu", threads=1)),
            journal=SqliteJournal(config.folder / "journal.sqlite", after=die),
            clock=member.clock,
            offload=member.offload,
            options=config.options,
        )
        await serve(node, config.web, member)


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), Step(sys.argv[2])))
