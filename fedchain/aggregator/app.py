"""Puts an aggregator together from its configuration and runs it."""

from __future__ import annotations

from fedchain.aggregator.aggregator import Aggregator
from fedchain.aggregator.settings import AggregatorTable
from fedchain.core.ports import Ledger, Store
from fedchain.core.records import Address
from fedchain.daemon.parts import run_daemon


async def run_aggregator(table: AggregatorTable) -> None:
    """Run an aggregator until SIGTERM."""

    def make(member: Address, ledger: Ledger, store: Store) -> Aggregator:
        return Aggregator(member, ledger, store, threads=table.threads, patience_s=table.patience_s)

    await run_daemon(table, make)
