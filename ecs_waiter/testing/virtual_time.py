"""Virtual time: when nothing is left to do, the event loop's clock jumps to the next timer.

A loop is made virtual in place, by replacing its `time` and its selector's `select`, rather than by a loop class of
ours. So it does not matter who makes the loop: pytest-asyncio in either mode, anyio's plugin, `asyncio.run`; and
whatever asks the loop for its time follows: `asyncio.sleep`, `asyncio.timeout`, `call_later`, aiohttp's own timers,
debug mode.
"""
# ruff: noqa: SLF001 - what is replaced is not public, but has been the same in every asyncio since Python 3.4

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any, cast
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["VirtualTime", "virtual_time"]

# As on a machine that has been up for a day: some code takes a time near zero for "never".
_START = 100_000.0
# The real one of a nanosecond is lost in a float of more than 2**24 seconds; a timer would then never be ready.
_RESOLUTION = 1e-6
_SHOWN_TASKS = 10
_LONGEST_RUN_DAYS = 366


class VirtualTime:
    """A clock that event loops share and move on by their timers alone.

    One run of a loop takes at most 366 days; then it raises a RuntimeError, because what waits for longer than that
    is waiting for something that never happens.

    It works on asyncio's own loops. Jobs that a loop starts in threads (`run_in_executor`, `asyncio.to_thread`) are
    waited for really, while the clock stands still. Sockets, processes and threads of other makers are none of its
    business: the clock jumps while they work.
    """

    def __init__(self) -> None:
        self._now = _START
        self._run_ends = _START
        self._loops: list[_Reins] = []

    def time(self) -> float:
        """Return the present time in seconds."""
        return self._now

    def drive(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make a loop run on this clock, until `release`.

        Raises:
            TypeError: It is none of asyncio's own loops.
            RuntimeError: It runs on another virtual clock.
        """
        self._run_ends = self._now + _LONGEST_RUN_DAYS * 86_400
        if not self.drives(loop):
            self._loops.append(_Reins(self, loop))

    def drives(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether a loop runs on this clock."""
        return any(reins.loop is loop for reins in self._loops)

    def release(self) -> None:
        """Give every loop its real time back; timers keep the time they still have to run."""
        for reins in self._loops:
            reins.drop()
        self._loops.clear()

    def jump(self, seconds: float) -> bool:
        """Move the clock on; return False if the run of the loop takes too long."""
        self._now += seconds
        return self._now <= self._run_ends

    @contextlib.contextmanager
    def rule(self) -> Iterator[VirtualTime]:
        """Drive every loop that runs in this thread within the `with` block, and the one that is running now."""
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


class _Reins:
    """One loop's replaced parts."""

    def __init__(self, clock: VirtualTime, loop: asyncio.AbstractEventLoop) -> None:
        if not isinstance(loop, asyncio.BaseEventLoop):
            raise TypeError(f"virtual time works on asyncio's own event loops, not on {type(loop).__name__}")
        self.loop = cast("Any", loop)
        if "time" in vars(loop):
            raise RuntimeError("this event loop runs on another virtual clock already")
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

    def drop(self) -> None:
        loop = self.loop
        for name in ("time", "run_in_executor", "shutdown_default_executor"):
            delattr(loop, name)
        loop._clock_resolution = self._real_resolution
        if loop._selector is not None:  # a closed loop has none
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
            "on virtual time nothing will ever happen: no timer is set, and no job of the loop runs in a thread "
            f"(other threads, processes and sockets are not waited for). {self._what_waits()}"
        )

    def _endless(self) -> str:
        return (
            f"on virtual time {_LONGEST_RUN_DAYS} days have passed in one run of the event loop, so nothing seems to "
            "end it: pass a timeout, or give the emulator's tasks a duration and an outcome that end them. "
            f"{self._what_waits()}"
        )

    def _what_waits(self) -> str:
        tasks = sorted(map(repr, asyncio.all_tasks(self.loop)))
        listed = "".join(f"\n  {task}" for task in tasks[:_SHOWN_TASKS])
        more = f"\n  and {len(tasks) - _SHOWN_TASKS} more" if len(tasks) > _SHOWN_TASKS else ""
        return f"What waits:{listed}{more}"

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
    """Let every event loop that runs in this thread within the `with` block run on virtual time.

    A wait of hours takes no time. If nothing could ever happen any more, as no timer is set, the loop raises a
    RuntimeError that names the tasks that wait; so it does after 366 virtual days in one run of the loop.
    """
    return VirtualTime().rule()
