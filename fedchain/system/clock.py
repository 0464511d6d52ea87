"""The machine's clock, behind the port `Clock` (core/ports.py)."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """The time of day as this machine has it."""

    def now(self) -> float:
        """Return seconds since 1970; may jump when somebody sets the clock."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds since an arbitrary moment; never runs backwards."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
        await asyncio.sleep(seconds)
