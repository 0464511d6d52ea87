"""Virtual time: an event loop on which waiting costs nothing.

Where an ordinary loop would block until the next timer is due, this one moves its clock there. So sleeps, time-outs and
events of the real services pass in virtual time, in an order that is the same in every run, and nothing is patched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from selectors import DefaultSelector, SelectorKey
from threading import active_count
from typing import Any, Final, ParamSpec, TypeVar, TypeVarTuple, Unpack

_Args = ParamSpec("_Args")
_Result = TypeVar("_Result")
_Values = TypeVarTuple("_Values")

START: Final = 1_700_000_000
"""Seconds since 1970 at which virtual time begins."""

DAY: Final = 86_400.0

_TICK: Final = 1e-6
"""What time is rounded to, in seconds: more than the error of a floating-point time in this century."""


_THREADS_S: Final = 10.0
"""Real seconds to wait for a thread that asyncio does not know of, when nothing else can ever happen."""

Ready = list[tuple[SelectorKey, int]]
"""What a selector found, and for which events."""


class Deadlock(RuntimeError):
    """Everybody waits, and no timer, thread or socket will ever wake anybody."""


class VirtualClock:
    """A clock that is moved; the port `Clock` (core/ports.py)."""

    def __init__(self, start: float = START) -> None:
        self.sleeps: list[float] = []
        """Every sleep asked for, in order."""
        self._start = start
        self._passed = 0.0

    def now(self) -> float:
        """Return seconds since 1970."""
        return self._start + self._passed

    def monotonic(self) -> float:
        """Return seconds since the beginning."""
        return self._passed

    def advance(self, seconds: float) -> None:
        """Let time pass at once; on a virtual loop, what has become due then comes next."""
        self._passed += max(0.0, seconds)

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds; on a loop that does not run on this clock, move it."""
        self.sleeps.append(seconds)
        loop = asyncio.get_running_loop()
        if isinstance(loop, VirtualLoop) and loop.clock is self:
            await asyncio.sleep(seconds)
        else:
            self.advance(seconds)
            await asyncio.sleep(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that runs on a virtual clock. Work in its executors takes no time: it is waited for."""

    def __init__(self, clock: VirtualClock | None = None) -> None:
        self.clock = clock or VirtualClock()
        self._moves = 0
        """How often time was moved."""
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._threads = 0
        """Calls in executors that have not ended."""
        self._ready_keys = _Selector(self._nothing_ready)
        super().__init__(self._ready_keys)
        self._clock_resolution = _TICK  # asyncio's own: what is due within it is due now

    def time(self) -> float:
        """Return the virtual clock's seconds."""
        return self.clock.monotonic()

    async def settled(self, moments: int = 0) -> None:
        """Return once nothing is left to do at this moment, or that many moments later."""
        future = self.create_future()
        self._waiting.append((self._moves + moments, future))
        await future

    def run_in_executor(
        self,
        executor: Executor | None,
        func: Callable[[Unpack[_Values]], _Result],
        *args: *_Values,
    ) -> asyncio.Future[_Result]:
        """Run a call in a thread; time stands still until it ends or nobody waits for it any more."""
        future = super().run_in_executor(executor, func, *args)
        self._threads += 1
        future.add_done_callback(self._thread_ended)
        return future

    async def shutdown_default_executor(self, *timeout: float | None) -> None:
        """End the default executor's threads; time stands still meanwhile."""
        self._threads += 1
        try:
            await super().shutdown_default_executor(*timeout)
        finally:
            self._threads -= 1

    def _thread_ended(self, _future: asyncio.Future[Any]) -> None:
        self._threads -= 1

    def _nothing_ready(self, timeout: float | None) -> Ready:
        """Wait for threads, wake those who waited for this, or move time.

        `timeout` are the seconds until the next timer is due; None where there is none. Raises Deadlock.
        """
        if self._threads:
            return self._ready_keys.wait(None)
        woken = [future for moves, future in self._waiting if moves <= self._moves]
        self._waiting = [(moves, future) for moves, future in self._waiting if moves > self._moves]
        if woken:
            for future in woken:
                if not future.done():
                    future.set_result(None)
        elif timeout is None:
            # A thread that was started by somebody else, as a trainer's, may still end and wake this loop.
            if active_count() > 1 and (ready := self._ready_keys.wait(_THREADS_S)):
                return ready
            tasks = sorted(task.get_name() + " " + str(task.get_coro()) for task in asyncio.all_tasks(self))
            raise Deadlock(f"nothing is scheduled, and these tasks wait forever: {'; '.join(tasks)}")
        else:
            self.clock.advance(max(timeout, _TICK))
            self._moves += 1
        return []


class _Selector(DefaultSelector):
    """A selector that never blocks by itself."""

    def __init__(self, nothing_ready: Callable[[float | None], Ready]) -> None:
        super().__init__()
        self._nothing_ready = nothing_ready

    def select(self, timeout: float | None = None) -> Ready:
        """Return what is ready; where nothing is, let virtual time pass."""
        ready = self.wait(0)
        return ready if ready or (timeout is not None and timeout <= 0) else self._nothing_ready(timeout)

    def wait(self, seconds: float | None) -> Ready:
        """Block for so many real seconds, or until something is ready."""
        return super().select(seconds)


async def until(condition: Callable[[], bool], *work: asyncio.Task[Any], timeout_s: float = DAY) -> None:
    """Let time pass until a condition holds, which is asked whenever nothing is left to do at a moment.

    Raises TimeoutError, and what any of the tasks ended with.
    """
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop), "only on a virtual loop: clock.run"
    end = loop.time() + timeout_s
    stop = loop.call_at(end, lambda: None)  # time stops here, whoever else waits for longer
    try:
        await loop.settled()
        while not condition():
            for task in work:
                if task.done():
                    task.result()
            if loop.time() >= end:
                raise TimeoutError(f"it did not come to pass within {timeout_s} s")
            await loop.settled(moments=1)
    finally:
        stop.cancel()


def run(main: Coroutine[Any, Any, _Result], clock: VirtualClock | None = None) -> _Result:
    """Run a coroutine in virtual time, as asyncio.run does in real time; raises Deadlock."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
        return runner.run(main)


def running_clock() -> VirtualClock:
    """Return the clock of the virtual loop that is running; a new one, moved by hand, where none is."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return VirtualClock()
    return loop.clock if isinstance(loop, VirtualLoop) else VirtualClock()


async def inline(function: Callable[_Args, _Result], /, *args: _Args.args, **kwargs: _Args.kwargs) -> _Result:
    """Do long work here and now: the port `Offload` (core/ports.py) without threads."""
    return function(*args, **kwargs)
