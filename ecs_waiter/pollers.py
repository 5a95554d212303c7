"""Pollers: one poller for each region of a TaskWaiter, what is under way on them, and how all of it ends."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing, asynccontextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ecs_waiter.api.idle import forget_idle
from ecs_waiter.errors import ApiError, TaskCanceledError, TaskFailedError, TaskNotFoundError, WaiterClosedError
from ecs_waiter.ids import Targets
from ecs_waiter.polling.notifier import UnknownStatuses
from ecs_waiter.polling.poller import RegionPoller
from ecs_waiter.progress_reports import ProgressReports
from ecs_waiter.runtimes import finished, running_loop
from ecs_waiter.slices import in_slices
from ecs_waiter.telemetry import telemetry
from ecs_waiter.wait import Wait, WaitEvent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from ecs_waiter.api.client import EcsClient
    from ecs_waiter.arguments import OnProgress, WaitOptions
    from ecs_waiter.errors import EcsWaiterError
    from ecs_waiter.models import Task
    from ecs_waiter.polling.durations import Eta
    from ecs_waiter.polling.policy import PollPolicy
    from ecs_waiter.starting import Start, StartedTask
    from ecs_waiter.stats import RegionStats, WaiterStats
    from ecs_waiter.wait import Outcome

__all__ = ["Pollers"]

_ENDS = (TaskFailedError, TaskCanceledError)

_log = logging.getLogger("ecs_waiter")


class Pollers:
    """The pollers of one TaskWaiter, and its waits, futures and starts.

    Args:
        client: Makes the calls. It is closed with the pollers.
        policy: How often to poll, and how long to retry.
    """

    def __init__(self, client: EcsClient, policy: PollPolicy) -> None:
        self._client = client
        self._policy = policy
        self._unknown_statuses = UnknownStatuses()
        self._by_region: dict[str, RegionPoller] = {}
        self._waits: set[Wait] = set()
        self._reports: set[ProgressReports] = set()
        self._futures: set[asyncio.Future[Task]] = set()
        self._starts: set[Start] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: asyncio.Task[None] | None = None
        self._telemetry = telemetry(self._counts)
        client.keep(lambda region_id: region_id in self._by_region and not self._by_region[region_id].is_idle)
        if self._telemetry is not None:
            client.observe(self._telemetry.around)

    def __repr__(self) -> str:
        return "closed" if self.is_closed else f"{sum(poller.waiting for poller in self._by_region.values())} waiting"

    @property
    def is_closed(self) -> bool:
        """Whether `aclose` was called."""
        return self._closing is not None

    def check_open(self) -> None:
        """Check that something may begin now.

        Raises:
            WaiterClosedError: `aclose` was called.
            RuntimeError: No event loop runs, or another one than at first.
        """
        if self.is_closed:
            raise WaiterClosedError("this TaskWaiter is closed: make another one")
        loop = running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise RuntimeError("this TaskWaiter belongs to another event loop: make one for this loop")

    def stats(self) -> WaiterStats:
        """Return what was done so far, by region."""
        from ecs_waiter.stats import snapshot  # noqa: PLC0415 - most programs never ask

        now = 0.0 if self._loop is None else self._loop.time()
        return snapshot(self._by_region, self._client.counted, self._client.rates, now)

    def _counts(self) -> dict[str, RegionStats]:
        from ecs_waiter.stats import count  # noqa: PLC0415 - most programs never ask

        return count(self._by_region, self._client.counted)

    def __getitem__(self, region_id: str) -> RegionPoller:
        """The poller of a region, made when it is first asked for."""
        poller = self._by_region.get(region_id)
        if poller is None:
            poller = self._by_region[region_id] = RegionPoller(
                region_id, self._client, self._policy, self._unknown_statuses, self._telemetry
            )
            poller.on_polled = self._polled
            self._client.limiter(region_id)
            for idle, forgotten in forget_idle(self._by_region, lambda _, each: each.is_idle):
                counters = self._client.counters(idle)
                counters.polls += forgotten.polls
                counters.settled += forgotten.settled
                counters.retried += forgotten.retried
        return poller

    def eta(self, region_id: str, task_id: str) -> Eta | None:
        """Return the time left for a task; None if nobody waits for it, or too little is known."""
        poller = self._by_region.get(region_id)
        entry = None if poller is None else poller.find(task_id)
        return None if poller is None or entry is None else poller.learner.eta(entry)

    # -- what is under way --------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _joined(self, wait: Wait) -> AsyncIterator[None]:
        """Have a wait take part until the block ends; then raise if it ended before its tasks did."""
        await wait.read()
        with nullcontext() if self._telemetry is None else self._telemetry.waiting(wait):
            self._waits.add(wait)
            if self.is_closed:
                wait.close()
            try:
                await wait.join(self.__getitem__, self._policy.call_timeout, self._forget_all)
                yield
                await wait.conclude()
            finally:
                self._waits.discard(wait)
                wait.leave()

    def _forget_all(self, wait: Wait) -> bool:
        """Take everything off the schedules at once, unless somebody but this wait is left; return whether it did."""
        if self._futures or len(self._waits) > (wait in self._waits):
            return False
        for poller in self._by_region.values():
            poller.forget()
        return True

    def events(self, wait: Wait) -> AsyncGenerator[WaitEvent, None]:
        """Iterate over the events of a wait, which begins with the iteration."""
        self.check_open()
        return self._events(wait)

    def outcomes(self, wait: Wait) -> AsyncGenerator[Outcome, None]:
        """Iterate over the outcomes among the events of a wait without changes."""
        return _outcomes(self.events(wait))

    def updates(self, wait: Wait) -> AsyncGenerator[Task, None]:
        """Iterate over the tasks among the events of a wait; then raise the errors that came without a task."""
        return _updates(self.events(wait), wait)

    async def _events(self, wait: Wait) -> AsyncGenerator[WaitEvent, None]:
        async with self._joined(wait):
            async for event in wait:
                yield event

    async def wait(self, targets: Targets, options: WaitOptions, *, is_started: bool = False) -> Any:
        """Wait until all tasks have ended; return their outcomes, or raise for those that failed."""
        self.check_open()
        wait = Wait(
            targets,
            options.timeout,
            wants_changes=options.on_update is not None,
            fail_fast=options.fail_fast,
            is_started=is_started,
        )
        async with self._joined(wait), self._reporting(wait, options.on_progress):
            async for event in wait:
                if options.on_update is not None and event.task is not None:
                    options.on_update(event.task)
        if not options.return_exceptions and (failure := wait.failure()) is not None:
            raise failure
        return wait.outcomes

    @asynccontextmanager
    async def _reporting(self, wait: Wait, on_progress: OnProgress | None) -> AsyncIterator[None]:
        """Report the progress of a wait until the block ends, and once more at its end."""
        if on_progress is None:
            yield
            return
        reports = ProgressReports(wait, self.__getitem__, on_progress)
        self._reports.add(reports)
        try:
            yield
            if not wait.pending:
                await reports.report_now()
        finally:
            self._reports.discard(reports)
            reports.close()

    def _polled(self, region_id: str) -> None:
        for reports in self._reports:
            reports.polled(region_id)

    def submit(self, region_id: str, task_id: str) -> asyncio.Future[Task]:
        """Return a future that resolves with the task."""
        poller = self[region_id]
        future: asyncio.Future[Task] = asyncio.get_running_loop().create_future()
        subscriber = FutureSubscriber(future)

        def done(_: object) -> None:
            self._futures.discard(future)
            if future.cancelled():
                poller.discard(task_id, subscriber)
            if self._telemetry is not None:
                self._telemetry.end(subscriber, subscriber.error)

        self._futures.add(future)
        if self._telemetry is not None:
            self._telemetry.begin(subscriber, (region_id,), 1)
        future.add_done_callback(done)
        try:
            poller.add((task_id,), subscriber)
        except BaseException:
            future.cancel()
            raise
        return future

    async def start(self, start: Start, timeout: float | None) -> StartedTask:
        """Send a start; closing the pollers ends it."""
        self.check_open()
        self[start.region_id]  # its calls count in the statistics from the start on
        self._starts.add(start)
        try:
            started = await start.send(self._client, timeout)
        finally:
            self._starts.discard(start)
        if started.task_id is None:
            _log.info(start.why_no_task)
        return started

    async def run(self, start: Start, options: WaitOptions) -> Task | None:
        """Send a start, and wait for its task; one deadline covers both. None if there is no task to wait for."""
        self.check_open()
        loop = asyncio.get_running_loop()
        begun_at = loop.time()
        started = await self.start(start, options.timeout)
        if started.task_id is None:
            return None
        left = None if options.timeout is None else max(0.0, options.timeout - (loop.time() - begun_at))
        try:
            targets = Targets([started.task_id], started.region_id)
            results = await self.wait(targets, replace(options, timeout=left), is_started=True)
        except BaseException as error:
            # Without the ID a caller could only search for the task, or start it twice.
            if started.task_id not in str(error):
                error.add_note(f"{start.operation} was started in {started.region_id} as task {started.task_id}")
            raise
        task: Task = results[started.task_id]
        return task

    async def cancel(self, region_id: str, task_id: str) -> bool:
        """Cancel a task; whether it had not ended yet."""
        self.check_open()
        try:
            await self._client.cancel_task(task_id, region_id=region_id)
        except ApiError as error:
            if error.code == "InvalidTaskId.IncorrectTaskStatus":
                return False
            if error.code == "InvalidTaskId.NotFound":
                raise TaskNotFoundError(task_id, region_id, None) from error
            raise
        return True

    # -- the end ------------------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """End everything that is under way and close the client. Nothing outlives this call, canceled or not."""
        if self._closing is None:
            ending: list[asyncio.Task[Any]] = [task for poller in self._by_region.values() for task in poller.close()]
            ending += [call for start in self._starts if (call := start.close()) is not None]
            self._closing = running_loop().create_task(self._close(ending))
        canceled = await finished(self._closing)
        if canceled is not None:
            raise canceled
        self._closing.result()

    async def _close(self, ending: list[asyncio.Task[Any]]) -> None:
        # First what is known: a failed task is reported as failed wherever it is waited for.
        for poller in tuple(self._by_region.values()):
            await poller.details.aclose()
        await in_slices(tuple(self._waits), _close_waits)
        await in_slices(tuple(self._futures), _cancel_futures)
        await asyncio.gather(*ending, return_exceptions=True)
        await self._client.aclose()
        if self._telemetry is not None:
            self._telemetry.close()


async def _outcomes(events: AsyncGenerator[WaitEvent, None]) -> AsyncGenerator[Outcome, None]:
    async with aclosing(events):
        async for event in events:
            if event.error is not None:
                yield event.error
            elif event.task is not None:
                yield event.task


async def _updates(events: AsyncGenerator[WaitEvent, None], wait: Wait) -> AsyncGenerator[Task, None]:
    async with aclosing(events):
        async for event in events:
            if event.task is not None and (event.error is None or isinstance(event.error, _ENDS)):
                yield event.task
    if (failure := wait.failure(but=_ENDS)) is not None:
        raise failure


def _close_waits(waits: list[Wait]) -> None:
    for wait in waits:
        wait.close()


def _cancel_futures(futures: list[asyncio.Future[Task]]) -> None:
    for future in futures:
        future.cancel()


class FutureSubscriber:
    """The Subscriber of one future; `error` is what the future was resolved with."""

    __slots__ = ("error", "future")

    wants_changes = False
    needs_detail = True

    def __init__(self, future: asyncio.Future[Task]) -> None:
        self.future = future
        self.error: EcsWaiterError | None = None

    def task_changed(self, task: Task) -> None:
        """A future has no use for changes."""

    def tasks_finished(self, tasks: Sequence[Task]) -> None:
        """Resolve the future."""
        if not self.future.done():
            (task,) = tasks
            self.future.set_result(task)

    def task_failed(self, task_id: str, error: EcsWaiterError, *, is_regional: bool, task: Task | None) -> None:  # noqa: ARG002 - of a Subscriber
        """Resolve the future."""
        if not self.future.done():
            self.error = error
            self.future.set_exception(error)
