"""A daemon whose work is to wait: `python steady.py PORT`."""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web
from prometheus_client import Counter

from fedchain.config.settings import WebConfig
from fedchain.core.ledger.records import Address
from fedchain.daemon.service import Service
from fedchain.daemon.web import application, run_until_signal
from fedchain.ledger.memory import MemoryChain
from fedchain.replica.follower import Follower
from fedchain.store.alone import LoneStore
from fedchain.store.memory import MemoryBlobs

MEMBER = Address("0x" + "aa" * 20)


class Steady(Service):
    """Waits until it is told to end, and says how it ended."""

    def __init__(self) -> None:
        chain = MemoryChain(MEMBER, lambda: 0)
        super().__init__(MEMBER, Follower(chain.ledger(), LoneStore(MemoryBlobs())))
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.blocked: str | None = None
        self.was_cancelled = False
        self.looks = Counter("fedchain_looks", "Times that it looked around", registry=self.registry)

    async def run(self) -> None:
        try:
            self.looks.inc()
            await asyncio.shield(self.end)
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise

    def not_ready(self) -> str | None:
        return self.blocked or ("paused" if self._paused else None)


async def main(port: int) -> None:
    """Serve until SIGTERM; a request to /slow ends after the signal."""
    service = Steady()

    async def slow(_request: web.Request) -> web.Response:
        print("asked", flush=True)  # noqa: T201 - the test waits for it
        await asyncio.sleep(0.3)
        return web.Response(text="answered")

    await run_until_signal(application(service, None, [web.get("/slow", slow)]), WebConfig(port=port))
    print("left tidy" if service.was_cancelled else "left running", flush=True)  # noqa: T201 - as above


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
