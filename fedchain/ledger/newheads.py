"""Tells when a chain has a new block, by the endpoint's own word (`eth_subscribe`), so that nobody needs to poll.

web3 keeps the WebSocket connection and matches messages to subscriptions. What a message says is not read: it is a
reason to look, and what is then read is checked as always.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Final

from web3 import AsyncWeb3, WebSocketProvider
from web3.exceptions import Web3Exception
from websockets.exceptions import WebSocketException

from fedchain.ledger.endpoint import shown

log = logging.getLogger(__name__)

logging.getLogger("web3.providers").setLevel(logging.WARNING)
"""Below that it writes whole URLs, in which access keys stand."""

_SILENCE_S: Final = 60.0
"""After so long without a block a look is taken anyway: a subscription can be lost while its connection stands."""


class NewHeads:
    """A subscription to new blocks; made again `retry_s` seconds after its connection was lost."""

    def __init__(self, url: str, retry_s: float) -> None:
        self.seen = 0
        """How often there was reason to look: with each block, and with each connection that came or went."""
        self._url = url
        self._retry_s = retry_s
        self._connected = False
        self._changed = asyncio.Condition()
        self._task = asyncio.create_task(self._follow(), name=f"new blocks of {shown(url)}")

    async def close(self) -> None:
        """End the subscription."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def wait(self, seen: int, poll: float) -> None:
        """Return once `self.seen` is not `seen` any more; without a connection, after `poll` seconds at the latest."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_SILENCE_S if self._connected else poll), self._changed:
                await self._changed.wait_for(lambda: self.seen != seen)

    async def _follow(self) -> None:
        while True:
            try:
                await self._subscribe()
            except (WebSocketException, Web3Exception, OSError) as error:
                name = type(error.__cause__ or error).__name__  # web3's message has the whole URL, access key included
                log.warning("no news of blocks from %s (%s): looking from time to time", shown(self._url), name)
            await self._note(connected=False)
            await asyncio.sleep(self._retry_s)

    async def _subscribe(self) -> None:
        """Follow one connection until it is lost."""
        async with AsyncWeb3(WebSocketProvider(self._url, {"close_timeout": 1.0}, max_connection_retries=1)) as web3:
            await web3.eth.subscribe("newHeads")
            log.info("%s tells of new blocks", shown(self._url))
            await self._note(connected=True)
            async for _ in web3.socket.process_subscriptions():
                await self._note(connected=True)

    async def _note(self, connected: bool) -> None:
        async with self._changed:
            self._connected = connected
            self.seen += 1
            self._changed.notify_all()
