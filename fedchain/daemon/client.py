"""Asks daemons how they are."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import ClientError, ClientSession, ClientTimeout

_TIMEOUT: Final = ClientTimeout(total=5)


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
