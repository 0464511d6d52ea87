"""Puts a node together from its configuration and runs it."""

from __future__ import annotations

from pathlib import Path

from fedchain.daemon.runtime import open_member, serve
from fedchain.node.journal import SqliteJournal
from fedchain.node.node import Node
from fedchain.node.settings import NodeConfig
from fedchain.training.task import load_task


async def run_node(config: NodeConfig, folder: Path) -> None:
    """Run a node until SIGTERM; `folder` is the configuration file's, where task and data may lie."""
    from fedchain.training.trainer import Options, Trainer  # noqa: PLC0415 - torch: only where a task is run

    own = config.training
    options = Options(own.device, own.threads, own.bf16, own.compile)
    trainer = Trainer(load_task(config.task, folder), folder, config.site, options)
    async with open_member(config) as member:
        node = Node(
            member.address,
            member.ledger,
            member.store,
            training=trainer,
            journal=SqliteJournal(config.folder / "journal.sqlite"),
            clock=member.clock,
            offload=member.offload,
            options=config.options,
        )
        await serve(node, config.web, member)
