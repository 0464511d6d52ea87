"""A node that dies at a step of its journal, as in a power cut: python killed_node.py CONFIG STEP."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from fedchain.config.settings import load_settings
from fedchain.core.ledger.records import Address
from fedchain.core.ports import Ledger, Store
from fedchain.daemon.runtime import run_daemon
from fedchain.node.journal import Journal, Step
from fedchain.node.node import Node
from fedchain.node.settings import NodeConfig
from fedchain.training.task import load_task
from fedchain.training.trainer import Options, Trainer


def main(config: Path, fatal: Step) -> None:
    table, folder = load_settings(config, NodeConfig), config.parent.resolve()

    def die(step: Step) -> None:
        if step is fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def make(member: Address, ledger: Ledger, store: Store) -> Node:
        trainer = Trainer(load_task(table.task, folder), folder, table.site, Options(device="cpu", threads=1))
        journal = Journal(table.folder / "journal.sqlite", after=die)
        return Node(member, ledger, store, trainer=trainer, journal=journal, config=table)

    asyncio.run(run_daemon(table, make))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Step(sys.argv[2]))
