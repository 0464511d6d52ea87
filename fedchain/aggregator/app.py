"""Puts an aggregator together from its configuration and runs it."""

from __future__ import annotations

from fedchain.aggregator.aggregator import Aggregator
from fedchain.aggregator.settings import AggregatorConfig
from fedchain.core.ledger.records import Address
from fedchain.core.ports import Ledger, Store
from fedchain.daemon.runtime import run_daemon


async def run_aggregator(config: AggregatorConfig) -> None:
    """Run an aggregator until SIGTERM."""

    def make(member: Address, ledger: Ledger, store: Store) -> Aggregator:
        return Aggregator(member, ledger, store, threads=config.threads, unavailable_after_s=config.unavailable_after_s)

    await run_daemon(config, make)
