"""A clock whose time passes only when somebody sleeps."""

from __future__ import annotations

import asyncio


class VirtualClock:
    """Time from a start on; a sleep ends at once and moves it."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self.time = start
        self.sleeps: list[float] = []
        """Every sleep asked for, in order."""

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.time += max(0.0, seconds)
        await asyncio.sleep(0)
