"""Follow a wait: have the library wait, and report each task as soon as its outcome is known."""

from __future__ import annotations

import asyncio
import contextlib
from enum import Enum, auto
from typing import TYPE_CHECKING

from ecs_waiter.cli.interrupt import InterruptedByUserError
from ecs_waiter.cli.streams import hurry
from ecs_waiter.errors import WaitTimeoutError
from ecs_waiter.models import Task

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from ecs_waiter.cli.interrupt import Stop
    from ecs_waiter.cli.outcomes import Record
    from ecs_waiter.cli.progress import Progress
    from ecs_waiter.cli.reporting import Reporter
    from ecs_waiter.errors import ApiError
    from ecs_waiter.wait import News
    from ecs_waiter.waiter import TaskWaiter

__all__ = ["End", "Following", "ticking"]

_TICK = 0.25
_AT_ONCE = 100
"""News that are handled before the loop runs again: a few milliseconds of work."""


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
        """Wait until all have settled, or the first has failed, the time in seconds is up or the stop is set."""
        try:
            async with ticking(self._waiter, self._reporter):
                end = await self._stop.stops(self._wait(timeout, fail_fast=fail_fast))
        except InterruptedByUserError:
            end = End.STOPPED
        for record in self._progress.settle_known_failures():
            self._report(record)
        return end

    async def _wait(self, timeout: float | None, *, fail_fast: bool) -> End:
        following = asyncio.create_task(self._follow(timeout))
        failing = asyncio.create_task(self._has_failed.wait())
        try:
            await asyncio.wait({following, failing} if fail_fast else {following}, return_when=asyncio.FIRST_COMPLETED)
            return following.result() if following.done() else End.FIRST_FAILURE
        finally:
            failing.cancel()
            if following.cancel():
                await asyncio.wait({following})

    async def _follow(self, timeout: float | None) -> End:
        handled = 0
        is_leaving = False
        try:
            async with contextlib.aclosing(self._waiter.follow(self._progress.regions, timeout=timeout)) as everything:
                async for news in everything:
                    self._note(news)
                    handled += 1
                    if handled % _AT_ONCE == 0 and not is_leaving:
                        is_leaving = await _is_canceled_meanwhile()
        except WaitTimeoutError as error:
            hurry()
            self.faults = error.faults
            return End.TIMED_OUT
        return End.COMPLETE

    def _note(self, news: News) -> None:
        if news.is_final:
            record = self._progress.settle(self._progress.refs[news.task_id], news.outcome)
            if record is not None:
                self._report(record)
        elif isinstance(news.outcome, Task) and self._progress.saw(news.outcome):
            self._reporter.changed(news.outcome)

    def _report(self, record: Record) -> None:
        self._reporter.settled(record)
        self._on_settled(record)
        if record.error is not None:
            self._has_failed.set()


async def _is_canceled_meanwhile() -> bool:
    """Let the loop run. A cancellation is put off until nothing is left to handle: what is known is never dropped."""
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        me = asyncio.current_task()
        assert me is not None  # noqa: S101 - a coroutine runs in one
        me.cancel()
        return True
    return False


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
