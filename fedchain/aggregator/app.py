"""Puts an aggregator together from its configuration and runs it."""

from __future__ import annotations

from fedchain.aggregator.aggregator import Aggregator
from fedchain.aggregator.settings import AggregatorConfig
from fedchain.daemon.runtime import open_member, serve


async def run_aggregator(config: AggregatorConfig) -> None:
    """Run an aggregator until SIGTERM."""
    async with open_member(config) as member:
        aggregator = Aggregator(
            member.address,
            member.ledger,
            member.store,
            clock=member.clock,
            offload=member.offload,
            threads=config.threads,
            unavailable_after_s=config.unavailable_after_s,
        )
        await serve(aggregator, config.web, member)
