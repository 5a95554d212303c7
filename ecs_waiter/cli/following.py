"""Follow a wait: have the library wait, and tell of each task as soon as it is known what became of it."""

from __future__ import annotations

import asyncio
import contextlib
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING

from ecs_waiter.cli.interrupt import InterruptedByUserError
from ecs_waiter.errors import EcsWaiterError, WaitTimeoutError
from ecs_waiter.slices import in_slices

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from ecs_waiter.cli.interrupt import Stop
    from ecs_waiter.cli.outcomes import Record
    from ecs_waiter.cli.progress import Progress
    from ecs_waiter.cli.reporting import Reporter
    from ecs_waiter.cli.task_refs import TaskRef
    from ecs_waiter.errors import ApiError
    from ecs_waiter.models import Task
    from ecs_waiter.waiter import TaskWaiter

__all__ = ["End", "Following", "ticking"]

_TICK = 0.25


class End(Enum):
    """How a wait came to its end."""

    COMPLETE = auto()
    FIRST_FAILURE = auto()
    TIMED_OUT = auto()
    STOPPED = auto()


class Following:
    """One wait for many tasks.

    `TaskWaiter.wait` decides; it gives its results at the end only. A future for each task tells them as they come.

    Args:
        waiter: Who waits.
        progress: Where all that is known is noted.
        reporter: Who is told.
        on_settled: Told of each record too.
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
        futures: list[asyncio.Future[Task]] = []
        try:
            async with ticking(self._waiter, self._reporter):
                end = await self._stop.stops(self._wait(futures, timeout, fail_fast=fail_fast))
        except InterruptedByUserError:
            end = End.STOPPED
        finally:
            for future in futures:
                future.cancel()
        for record in self._progress.settle_known_failures():
            self._tell(record)
        return end

    async def _wait(self, futures: list[asyncio.Future[Task]], timeout: float | None, *, fail_fast: bool) -> End:
        spine = asyncio.create_task(
            self._waiter.wait(
                self._progress.regions, timeout=timeout, return_exceptions=True, on_update=self._note_change
            )
        )
        failing = asyncio.create_task(self._has_failed.wait())
        try:
            # One look is too short for telling anything before its end.
            if timeout != 0:
                await self._submit(futures)
            await asyncio.wait({spine, failing} if fail_fast else {spine}, return_when=asyncio.FIRST_COMPLETED)
            if not spine.done():
                return End.FIRST_FAILURE
            try:
                self._note_results(spine.result())
            except WaitTimeoutError as error:
                self.faults = error.faults
                self._note_results(error.results)
                return End.TIMED_OUT
            return End.COMPLETE
        finally:
            failing.cancel()
            if spine.cancel():
                await asyncio.wait({spine})

    async def _submit(self, futures: list[asyncio.Future[Task]]) -> None:
        async for refs in in_slices(self._progress.refs.values()):
            for ref in refs:
                future = self._waiter.submit(ref.task_id, region_id=ref.region_id)
                future.add_done_callback(partial(self._note_future, ref))
                futures.append(future)

    def _note_change(self, task: Task) -> None:
        if self._progress.saw(task):
            self._reporter.changed(task)

    def _note_future(self, ref: TaskRef, future: asyncio.Future[Task]) -> None:
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            self._note(ref, future.result())
        elif isinstance(error, EcsWaiterError):
            self._note(ref, error)

    def _note_results(self, results: Mapping[str, Task | EcsWaiterError]) -> None:
        for task_id, result in results.items():
            self._note(self._progress.refs[task_id], result)

    def _note(self, ref: TaskRef, result: Task | EcsWaiterError) -> None:
        record = self._progress.settle(ref, result)
        if record is not None:
            self._tell(record)

    def _tell(self, record: Record) -> None:
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
