from __future__ import annotations

import time

from fedchain.core.ports import Clock
from fedchain.system.clock import SystemClock


async def test_it_is_the_machines() -> None:
    clock: Clock = SystemClock()
    before = time.time()
    assert before <= clock.now() <= time.time()
    earlier = clock.monotonic()
    await clock.sleep(0.01)
    assert clock.monotonic() >= earlier + 0.01
