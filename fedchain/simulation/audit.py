"""The real audit of a simulated federation."""

from __future__ import annotations

from collections.abc import Sequence

from fedchain.audit.chain import Copy
from fedchain.audit.report import Report
from fedchain.audit.sources import LocalSource, Source
from fedchain.audit.verify import verify
from fedchain.core.ports import Ledger
from fedchain.simulation.world import World
from fedchain.store.alone import LoneStore
from fedchain.store.memory import MemoryBlobs


async def audit(
    world: World,
    *,
    sources: Sequence[Source] | None = None,
    ledger: Ledger | None = None,
    copy: Copy | None = None,
) -> Report:
    """Judge a simulated federation by its chain and, unless other sources are given, all members' blobs."""
    return await verify(
        world.chain.federation,
        sources=[LocalSource("members", world.blobs)] if sources is None else sources,
        fallback=LoneStore(MemoryBlobs()),
        copy=copy,
        ledger=ledger or world.ledger,
    )
