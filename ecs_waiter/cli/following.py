"""Follow a wait: have the library wait, and report each task as soon as its outcome is known."""

from __future__ import annotations

import asyncio
import contextlib
from enum import Enum, auto
from typing import TYPE_CHECKING

from ecs_waiter.cli.interrupt import InterruptedByUserError
from ecs_waiter.cli.streams import hurry
from ecs_waiter.errors import WaitTimeoutError
from ecs_waiter.ids import Targets
from ecs_waiter.wait import Wait

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from ecs_waiter.cli.interrupt import Stop
    from ecs_waiter.cli.outcomes import Record
    from ecs_waiter.cli.progress import Progress
    from ecs_waiter.cli.reporting import Reporter
    from ecs_waiter.errors import ApiError
    from ecs_waiter.wait import WaitEvent
    from ecs_waiter.waiter import TaskWaiter

__all__ = ["End", "Following", "ticking"]

_TICK = 0.25
_AT_ONCE = 100
"""Events that are handled before the loop runs again: a few milliseconds of work."""


class End(Enum):
    """How a wait came to its end."""

    COMPLETE = auto()
    FIRST_FAILURE = auto()
    TIMED_OUT = auto()
    STOPPED = auto()


class Following:
    """One wait for many tasks, reported as it goes.

    Args:
        waiter: Waits.
        progress: Keeps what is known.
        reporter: Shows it.
        on_settled: Called with each record.
        stop: Ends the wait.

    Attributes:
        faults: The present fault of each region that was failing at the deadline.
    """

    def __init__(
        self,
        waiter: TaskWaiter,
        progress: Progress,
        reporter: Reporter,
        on_settled: Callable[[Record], None],
        stop: Stop,
    ) -> None:
        self._waiter = waiter
        self._progress = progress
        self._reporter = reporter
        self._on_settled = on_settled
        self._stop = stop
        self._has_failed = asyncio.Event()
        self.faults: Mapping[str, ApiError] = {}

    async def run(self, timeout: float | None, *, fail_fast: bool) -> End:
        """Wait until all have ended, or the first has failed, the time in seconds is up or the stop is set."""
        wait = Wait.for_events(Targets(self._progress.regions, None), timeout)
        following = asyncio.create_task(self._follow(wait))
        try:
            async with ticking(self._waiter, self._reporter):
                try:
                    await self._stop.stops(self._until_over(following, fail_fast=fail_fast))
                    end = None if following.done() else End.FIRST_FAILURE
                except InterruptedByUserError:
                    end = End.STOPPED
                wait.stop()  # so that it gives what is known by now
                await asyncio.wait({following})
            error = following.result()
        finally:
            following.cancel()
        if end is None and error is not None:
            hurry()
            self.faults = error.faults
            return End.TIMED_OUT
        return end or End.COMPLETE

    async def _until_over(self, following: asyncio.Task[WaitTimeoutError | None], *, fail_fast: bool) -> None:
        failing = asyncio.create_task(self._has_failed.wait())
        try:
            await asyncio.wait({following, failing} if fail_fast else {following}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            failing.cancel()

    async def _follow(self, wait: Wait) -> WaitTimeoutError | None:
        """Report all events; return the error of a wait that ended before its tasks did."""
        handled = 0
        try:
            async with contextlib.aclosing(self._waiter.pollers.events(wait)) as events:
                async for event in events:
                    self._note(event)
                    handled += 1
                    if handled % _AT_ONCE == 0:
                        await asyncio.sleep(0)
        except WaitTimeoutError as error:
            return error
        return None

    def _note(self, event: WaitEvent) -> None:
        if event.final:
            result = event.error or event.task
            if result is not None:
                record = self._progress.settle(self._progress.refs[event.task_id], result)
                if record is not None:
                    self._report(record)
        elif event.task is not None and self._progress.saw(event.task):
            self._reporter.changed(event.task)

    def _report(self, record: Record) -> None:
        self._reporter.settled(record)
        self._on_settled(record)
        if record.error is not None:
            self._has_failed.set()


@contextlib.asynccontextmanager
async def ticking(waiter: TaskWaiter, reporter: Reporter) -> AsyncIterator[None]:
    """Let the reporter look at the waiter now and then, until the block ends."""

    async def tick() -> None:
        while True:
            reporter.tick(waiter.stats)
            await asyncio.sleep(_TICK)

    ticker = asyncio.create_task(tick())
    try:
        yield
    finally:
        ticker.cancel()
        await asyncio.wait({ticker})
        if not ticker.cancelled():
            ticker.result()
