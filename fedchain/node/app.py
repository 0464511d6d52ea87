"""Puts a node together from its configuration and runs it."""

from __future__ import annotations

from pathlib import Path

from fedchain.core.ledger.records import Address
from fedchain.core.ports import Ledger, Store
from fedchain.daemon.runtime import run_daemon
from fedchain.node.journal import Journal
from fedchain.node.node import Node
from fedchain.node.settings import NodeConfig
from fedchain.training.task import load_task
from fedchain.training.trainer import Options, Trainer


async def run_node(config: NodeConfig, folder: Path) -> None:
    """Run a node until SIGTERM; `folder` is the configuration file's, where task and data may lie."""
    training = config.training
    options = Options(training.device, training.threads, training.bf16, training.compile)
    trainer = Trainer(load_task(config.task, folder), folder, config.site, options)

    def make(member: Address, ledger: Ledger, store: Store) -> Node:
        journal = Journal(config.folder / "journal.sqlite")
        return Node(member, ledger, store, trainer=trainer, journal=journal, config=config)

    await run_daemon(config, make)
