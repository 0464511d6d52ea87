"""Asks daemons how they are."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import ClientError, ClientSession, ClientTimeout

from fedchain.core.errors import LedgerUnreachable

_TIMEOUT: Final = ClientTimeout(total=5)
_EVERY_S: Final = 0.1


class Daemons:
    """Daemons by their URLs."""

    def __init__(self) -> None:
        self._session = ClientSession(timeout=_TIMEOUT)

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._session.close()

    async def status(self, url: str) -> dict[str, Any] | None:
        """Return what GET /status answers; None while nobody answers."""
        try:
            async with self._session.get(url + "/status") as answer:
                found: dict[str, Any] = await answer.json()
                return found
        except (ClientError, TimeoutError):
            return None

    async def statuses(self, urls: Sequence[str]) -> list[dict[str, Any] | None]:
        """Ask several at once."""
        return list(await asyncio.gather(*map(self.status, urls)))

    async def until_up(self, url: str, timeout: float) -> None:
        """Wait until a daemon answers; raises LedgerUnreachable."""
        deadline = asyncio.get_running_loop().time() + timeout
        while await self.status(url) is None:
            if asyncio.get_running_loop().time() > deadline:
                raise LedgerUnreachable(f"{url} did not answer within {timeout:g} s: look at its log")
            await asyncio.sleep(_EVERY_S)
