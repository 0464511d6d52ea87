"""One service at work on a virtual loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fedchain.daemon.service import Service
from fedchain.simulation import clock


@asynccontextmanager
async def running(service: Service) -> AsyncIterator[asyncio.Task[None]]:
    """Run a service; what ends it early ends the test."""
    work = asyncio.create_task(service.run())
    try:
        yield work
    finally:
        work.cancel()
        (end,) = await asyncio.gather(work, return_exceptions=True)
    if isinstance(end, BaseException) and not isinstance(end, asyncio.CancelledError):
        raise end


async def until(work: asyncio.Task[None], done: Callable[[], bool]) -> None:
    """Wait until something holds while the work goes on."""
    await clock.until(done, work)
