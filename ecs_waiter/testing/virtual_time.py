"""Virtual time: when nothing is left to do, the event loop's clock jumps to the next timer.

It replaces the `time` of an existing loop and its selector's `select` instead of providing a loop class. So it works
with loops created by pytest-asyncio, by anyio's plugin or by `asyncio.run`, and for everything that uses the loop's
time: `asyncio.sleep`, `asyncio.timeout`, `call_later`, aiohttp's timers, debug mode.
"""
# ruff: noqa: SLF001 - the replaced parts are not public, but have not changed since Python 3.4

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any, cast
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["VirtualTime", "virtual_time"]

# A clock near zero breaks code in which 0 means "never"; a real machine has been up for longer.
_START = 100_000.0
# A float above 2**24 seconds cannot represent asyncio's nanosecond, so a timer would never be ready.
_RESOLUTION = 1e-6
_SHOWN_TASKS = 10
_LONGEST_RUN_DAYS = 366


class VirtualTime:
    """A clock that event loops share; it jumps from timer to timer.

    One run of a loop takes at most 366 days; then it raises a RuntimeError, because it probably waits for something
    that never happens.

    It works on asyncio's own loops. While jobs run that a loop started in threads (`run_in_executor`,
    `asyncio.to_thread`), the clock stands still. It does not wait for sockets, processes and other threads.
    """

    def __init__(self) -> None:
        self._now = _START
        self._run_ends = _START
        self._loops: list[_VirtualLoop] = []

    def time(self) -> float:
        """Return the present time in seconds."""
        return self._now

    def drive(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make a loop run on this clock until `release`.

        Raises:
            TypeError: The loop is not one of asyncio's own loops.
            RuntimeError: The loop runs on another virtual clock.
        """
        self._run_ends = self._now + _LONGEST_RUN_DAYS * 86_400
        if not self.drives(loop):
            self._loops.append(_VirtualLoop(self, loop))

    def drives(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether a loop runs on this clock."""
        return any(driven.loop is loop for driven in self._loops)

    def release(self) -> None:
        """Give every loop its real time back; the remaining time of each timer stays the same."""
        for driven in self._loops:
            driven.release()
        self._loops.clear()

    def jump(self, seconds: float) -> bool:
        """Advance the clock; return False if the run of the loop takes too long."""
        self._now += seconds
        return self._now <= self._run_ends

    @contextlib.contextmanager
    def rule(self) -> Iterator[VirtualTime]:
        """Drive every loop that runs in this thread within the `with` block, including the one running now."""
        thread = threading.get_ident()
        run_forever = asyncio.BaseEventLoop.run_forever

        def run_on_virtual_time(loop: asyncio.BaseEventLoop) -> None:
            if threading.get_ident() == thread:
                self.drive(loop)
            run_forever(loop)

        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        try:
            if running is not None:
                self.drive(running)
            with mock.patch.object(asyncio.BaseEventLoop, "run_forever", run_on_virtual_time):
                yield self
        finally:
            self.release()


class _VirtualLoop:
    """An event loop with replaced parts."""

    def __init__(self, clock: VirtualTime, loop: asyncio.AbstractEventLoop) -> None:
        if not isinstance(loop, asyncio.BaseEventLoop):
            raise TypeError(f"virtual time works on asyncio's own event loops, not on {type(loop).__name__}")
        self.loop = cast("Any", loop)
        if "time" in vars(loop):
            raise RuntimeError("this event loop already runs on another virtual clock")
        self._clock = clock
        self._jobs = 0
        self._real_select: Callable[[float | None], Any] = self.loop._selector.select
        self._real_run_in_executor: Callable[..., asyncio.Future[Any]] = self.loop.run_in_executor
        self._real_shutdown: Callable[..., Any] = self.loop.shutdown_default_executor
        self._real_resolution: float = self.loop._clock_resolution
        self._shift_timers(clock.time() - loop.time())
        self.loop._clock_resolution = _RESOLUTION
        self.loop.time = clock.time
        self.loop.run_in_executor = self._run_in_executor
        self.loop.shutdown_default_executor = self._shut_down_executor
        self.loop._selector.select = self._select

    def release(self) -> None:
        loop = self.loop
        for name in ("time", "run_in_executor", "shutdown_default_executor"):
            delattr(loop, name)
        loop._clock_resolution = self._real_resolution
        if loop._selector is not None:  # a closed loop has no selector
            del loop._selector.select
        self._shift_timers(loop.time() - self._clock.time())

    def _shift_timers(self, seconds: float) -> None:
        for handle in self.loop._scheduled:
            handle._when += seconds

    def _select(self, timeout: float | None) -> Any:
        events = self._real_select(0)
        if events or timeout == 0:
            return events
        if self._jobs:
            return self._real_select(None)
        if timeout is None:
            raise RuntimeError(self._deadlock())
        if not self._clock.jump(timeout):
            raise RuntimeError(self._endless())
        return events

    def _deadlock(self) -> str:
        return (
            "deadlock on virtual time: no timer is set, and no job of the loop runs in a thread "
            f"(virtual time does not wait for other threads, processes and sockets). {self._waiting_tasks()}"
        )

    def _endless(self) -> str:
        return (
            f"{_LONGEST_RUN_DAYS} days have passed on virtual time in one run of the event loop, so it probably never "
            "ends: pass a timeout, or give the emulator's tasks a duration and an outcome that end them. "
            f"{self._waiting_tasks()}"
        )

    def _waiting_tasks(self) -> str:
        tasks = sorted(map(repr, asyncio.all_tasks(self.loop)))
        listed = "".join(f"\n  {task}" for task in tasks[:_SHOWN_TASKS])
        more = f"\n  and {len(tasks) - _SHOWN_TASKS} more" if len(tasks) > _SHOWN_TASKS else ""
        return f"Waiting tasks:{listed}{more}"

    def _run_in_executor(self, *args: Any) -> asyncio.Future[Any]:
        future = self._real_run_in_executor(*args)
        self._jobs += 1
        future.add_done_callback(self._job_done)
        return future

    def _job_done(self, _future: asyncio.Future[Any]) -> None:
        self._jobs -= 1

    async def _shut_down_executor(self, *args: Any, **kwargs: Any) -> None:
        self._jobs += 1
        try:
            await self._real_shutdown(*args, **kwargs)
        finally:
            self._jobs -= 1


def virtual_time() -> contextlib.AbstractContextManager[VirtualTime]:
    """Run every event loop of this thread on virtual time within the `with` block.

    A wait of hours takes no time. The loop raises a RuntimeError that names the waiting tasks when no timer is set,
    so that it would wait forever, and after 366 virtual days in one run.
    """
    return VirtualTime().rule()
