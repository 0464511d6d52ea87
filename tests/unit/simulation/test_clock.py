"""Virtual time: waiting costs nothing, keeps its order, and never hangs."""

from __future__ import annotations

import asyncio
import threading

import pytest

from fedchain.simulation.clock import DAY, START, Deadlock, VirtualClock, VirtualLoop, inline, run, running_clock

YEAR = 365 * DAY


async def test_sleeps_end_in_the_order_of_their_times() -> None:
    clock, ends = running_clock(), []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        ends.append((seconds, clock.monotonic()))

    await asyncio.gather(*map(sleeper, (YEAR, 3.0, 0.25, DAY, 0.0, -5.0)))
    assert [seconds for seconds, _ in ends] == [0.0, -5.0, 0.25, 3.0, DAY, YEAR]
    assert [at for _, at in ends] == pytest.approx([0, 0, 0.25, 3.0, DAY, YEAR])
    assert clock.now() == pytest.approx(START + YEAR)


async def test_time_outs_are_virtual() -> None:
    clock = running_clock()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(DAY):
            await asyncio.Event().wait()
    assert clock.monotonic() == pytest.approx(DAY)


async def test_an_event_comes_before_a_later_time_out() -> None:
    clock, event = running_clock(), asyncio.Event()
    asyncio.get_running_loop().call_later(59.0, event.set)
    async with asyncio.timeout(60.0):
        await event.wait()
    assert clock.monotonic() == pytest.approx(59.0)


async def test_short_sleeps_end_after_a_hundred_years() -> None:
    clock = running_clock()
    await clock.sleep(100 * YEAR)
    for _ in range(100):
        await clock.sleep(1e-9)
    assert clock.monotonic() == pytest.approx(100 * YEAR)


async def test_what_becomes_due_when_the_clock_is_moved_by_hand_comes_next() -> None:
    clock = running_clock()
    sleeping = asyncio.create_task(clock.sleep(100.0))
    await asyncio.sleep(0)
    clock.advance(1000.0)
    await sleeping
    assert clock.monotonic() == 1000.0
    clock.advance(-5.0)
    assert clock.monotonic() == 1000.0


def test_who_waits_for_nothing_is_told_so() -> None:
    async def stuck() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock, match=r"these tasks wait forever: .*stuck"):
        run(stuck())


async def test_threads_take_no_time_and_are_waited_for() -> None:
    clock, started, order = running_clock(), threading.Event(), []

    def work() -> None:
        started.wait()
        order.append("work")

    async def later() -> None:
        await clock.sleep(1.0)
        order.append("later")

    asyncio.get_running_loop().call_soon(started.set)
    await asyncio.gather(later(), asyncio.to_thread(work))
    assert order == ["work", "later"]
    assert clock.monotonic() == pytest.approx(1.0)


async def test_settled_is_when_nothing_is_left_to_do_at_a_moment() -> None:
    loop, seen = asyncio.get_running_loop(), []
    assert isinstance(loop, VirtualLoop)

    async def hops(start: float) -> None:
        await asyncio.sleep(start)
        for _ in range(5):
            await asyncio.sleep(0)
        seen.append(start)

    tasks = [asyncio.create_task(hops(start)) for start in (0.0, 10.0, 20.0)]
    await loop.settled()
    assert (seen, loop.time()) == ([0.0], 0.0)
    await loop.settled(moments=1)
    assert seen == [0.0, 10.0]
    assert loop.time() == pytest.approx(10.0)
    await asyncio.gather(*tasks)


def test_a_coroutine_runs_on_a_clock_that_is_given() -> None:
    clock = VirtualClock(start=5.0)

    async def main() -> float:
        assert running_clock() is clock
        await clock.sleep(DAY)
        return clock.now()

    assert run(main(), clock) == pytest.approx(5.0 + DAY)


def test_a_clock_that_no_loop_runs_on_is_moved_by_who_sleeps() -> None:
    clock = VirtualClock()

    async def main() -> None:
        assert running_clock() is not clock
        await clock.sleep(DAY)

    asyncio.run(main())
    assert clock.monotonic() == DAY


async def test_inline_work_is_done_at_once() -> None:
    assert await inline(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await inline(divmod, 7, 0)
