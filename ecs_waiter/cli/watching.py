"""``ecs-waiter wait``: watch a wait, report its progress, and write the results."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from ecs_waiter.cli.exit_codes import ExitCode, MisuseError
from ecs_waiter.cli.interrupt import Stop, in_background
from ecs_waiter.cli.messages import explain, format_duration, outage_reason
from ecs_waiter.cli.outcomes import WatchedTasks, exit_code
from ecs_waiter.cli.reporting import Outages, PlainReporter, Reporter
from ecs_waiter.cli.results import json_pieces, line_of, summary_line, text_pieces, write_many
from ecs_waiter.cli.resume import resume_command
from ecs_waiter.cli.streams import (
    ClosedPipeError,
    UnreadError,
    UnwritableError,
    check_stdout,
    discard_results,
    end_soon,
    is_interactive,
    messages_to,
    say,
    say_progress,
    write_result,
)
from ecs_waiter.errors import ApiError, EcsWaiterError, TaskCanceledError, WaitTimeoutError, few
from ecs_waiter.escaping import escape_control
from ecs_waiter.ids import Targets
from ecs_waiter.models import Task
from ecs_waiter.progress_reports import measure
from ecs_waiter.wait import Wait
from ecs_waiter.waiter import TaskWaiter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

    from ecs_waiter.cli.inputs import TaskRef
    from ecs_waiter.cli.outcomes import Record
    from ecs_waiter.polling.policy import PollPolicy
    from ecs_waiter.wait import WaitEvent

__all__ = ["End", "Watch", "WatchOptions", "open_waiter", "reporting", "wait", "wait_within"]

_TICK = 0.25
_STDOUT_CHECKED_EVERY = 0.5
_ESTIMATED_EVERY = 1.0
_ESTIMATE_REST = 20
"""How many times as long as the time left of all tasks took to compute the next time has to wait."""
_EVENTS_AT_ONCE = 100
"""Events that are handled before the event loop runs again: a few milliseconds of work."""
_CANCEL_TIMEOUT = 30.0
_CANCELS_AT_ONCE = 8


@dataclass(frozen=True)
class WatchOptions:
    """How to wait, and how to report it.

    Attributes:
        policy: When to poll, and how long to retry.
        timeout: Seconds for the whole wait; None is no limit.
        output: One of the output formats.
        fail_fast: Whether the first failure ends the wait.
        cancel_on_interrupt: Whether an interrupt cancels the tasks at the service.
        is_quiet: Whether to show no progress.
        trust_env: Whether to use the proxies of the environment.
        kept: The options of the command line that continues the wait.
    """

    policy: PollPolicy
    timeout: float | None = None
    output: str = "text"
    fail_fast: bool = False
    cancel_on_interrupt: bool = False
    is_quiet: bool = False
    trust_env: bool = False
    kept: Sequence[str] = ()


async def wait(refs: Sequence[TaskRef], options: WatchOptions) -> ExitCode:
    """Wait for the tasks; returns the exit code.

    Raises:
        MisuseError: The environment's configuration is invalid.
    """
    stop = Stop()
    with stop.on_signals():
        async with open_waiter(options) as waiter:
            return await wait_within(waiter, refs, options, stop)


@contextlib.asynccontextmanager
async def open_waiter(options: WatchOptions) -> AsyncIterator[TaskWaiter]:
    """Open a waiter with the environment's credentials and endpoint."""
    try:
        waiter = TaskWaiter(policy=options.policy, trust_env=options.trust_env)
    except ValueError as error:
        raise MisuseError(str(error)) from None
    async with waiter:
        yield waiter


async def wait_within(waiter: TaskWaiter, refs: Sequence[TaskRef], options: WatchOptions, stop: Stop) -> ExitCode:
    """Wait with an open waiter; returns the exit code.

    Raises:
        CommandError: The results cannot be written.
    """
    progress = WatchedTasks(refs)
    async with AsyncExitStack() as stack:
        reporter = await stack.enter_async_context(reporting(waiter, progress, options))
        watch = Watch(waiter, progress, reporter, stop)
        if options.output == "jsonl":
            watch.on_finished = _write_line
            await stack.enter_async_context(in_background(_check_stdout(stop)))
        end = await watch.run(options.timeout, fail_fast=options.fail_fast)
        if end is End.STOPPED and options.cancel_on_interrupt and not stop.is_stdout_lost:
            reporter.say("canceling the tasks that can be canceled (Ctrl-C again skips that)")
            await watch.cancel_pending()
    return await _conclude(watch, end, options, stop)


# -- the wait ---------------------------------------------------------------------------------------------------------


class End(Enum):
    """How a wait ended."""

    COMPLETE = auto()
    FIRST_FAILURE = auto()
    TIMED_OUT = auto()
    STOPPED = auto()


class Watch:
    """One wait for many tasks, reported as it goes.

    Args:
        waiter: Waits.
        progress: Stores what is known of the tasks.
        reporter: Shows changes and outcomes.
        stop: Ends the wait.

    Attributes:
        progress: As given.
        on_finished: Called with the record of each task and its error, if set.
        faults: The last fault of each region that was failing at the deadline.
    """

    def __init__(self, waiter: TaskWaiter, progress: WatchedTasks, reporter: Reporter, stop: Stop) -> None:
        self.progress = progress
        self.on_finished: Callable[[Record, EcsWaiterError | None], None] | None = None
        self.faults: Mapping[str, ApiError] = {}
        self._waiter = waiter
        self._reporter = reporter
        self._stop = stop
        self._end: End | None = None

    async def run(self, timeout: float | None, *, fail_fast: bool) -> End:
        """Wait until all tasks have ended, or the first has failed, the time in seconds is up or the stop is set."""
        wait = Wait.for_events(Targets(self.progress.regions, None), timeout)
        async with (
            in_background(self._tick()),
            in_background(self._end_when_stopped(wait)),
            in_background(self._estimate(wait)),
        ):
            try:
                async with contextlib.aclosing(self._waiter.pollers.events(wait)) as events:
                    handled = 0
                    async for event in events:
                        self._handle(event)
                        if event.error is not None and fail_fast:
                            self._end_wait(wait, End.FIRST_FAILURE)
                        handled += 1
                        if handled % _EVENTS_AT_ONCE == 0:
                            await asyncio.sleep(0)
            except WaitTimeoutError as error:
                if self._end is None:
                    end_soon()
                    self.faults = error.faults
                return self._end or End.TIMED_OUT
        return End.COMPLETE

    async def cancel_pending(self) -> None:
        """Cancel the pending tasks at the service, and report for each whether that worked."""
        refs = iter(tuple(self.progress.pending()))

        async def work() -> None:
            for ref in refs:
                if await self._cancel(ref):
                    known = self.progress.pending_task(ref.task_id)
                    task = Task(region_id=ref.region_id, task_id=ref.task_id) if known is None else known.as_task()
                    canceled = TaskCanceledError(task.model_copy(update={"task_status": "Canceled"}))
                    self._finish(ref, canceled)

        await asyncio.gather(*(work() for _ in range(_CANCELS_AT_ONCE)))

    async def _cancel(self, ref: TaskRef) -> bool:
        task = self.progress.pending_task(ref.task_id)
        if task is not None and task.support_cancel is False:
            what = escape_control(task.task_action) or "its operation"
            self._reporter.say(f"not canceled: {ref}: {what} cannot be canceled, it continues to run")
            return False
        try:
            async with asyncio.timeout(_CANCEL_TIMEOUT):
                await self._waiter.client.cancel_task(ref.task_id, region_id=ref.region_id)
        except TimeoutError:
            self._reporter.say(f"not canceled: {ref}: no answer within {_CANCEL_TIMEOUT:g} s, it may continue to run")
        except ApiError as error:
            self._reporter.say(f"not canceled: {ref}: {explain(error)}")
        else:
            self._reporter.say(f"canceled: {ref}")
            return True
        return False

    async def _end_when_stopped(self, wait: Wait) -> None:
        await self._stop.wait()
        self._end_wait(wait, End.STOPPED)

    def _end_wait(self, wait: Wait, end: End) -> None:
        """End the wait after the events of what is known by now."""
        self._end = self._end or end
        wait.stop()

    def _handle(self, event: WaitEvent) -> None:
        result = event.task if event.error is None else event.error
        if event.final and result is not None:
            self._finish(self.progress.refs[event.task_id], result)
        elif event.task is not None:
            self.progress.update(event.task)
            self._reporter.changed(event.task)

    def _finish(self, ref: TaskRef, result: Task | EcsWaiterError) -> None:
        record = self.progress.finish(ref, result)
        error = None if isinstance(result, Task) else result
        self._reporter.finished(record, error)
        if self.on_finished is not None:
            self.on_finished(record, error)

    async def _estimate(self, wait: Wait) -> None:
        loop = asyncio.get_running_loop()
        seconds = _ESTIMATED_EVERY
        while self._reporter.shows_eta:
            await asyncio.sleep(seconds)
            began = loop.time()
            self.progress.eta = (await measure(wait, self._waiter.pollers.__getitem__)).eta
            # A million tasks take a while to count.
            seconds = max(_ESTIMATED_EVERY, _ESTIMATE_REST * (loop.time() - began))

    async def _tick(self) -> None:
        while True:
            self._reporter.tick(self._waiter.stats)
            await asyncio.sleep(_TICK)


@contextlib.asynccontextmanager
async def reporting(waiter: TaskWaiter, progress: WatchedTasks, options: WatchOptions) -> AsyncIterator[Reporter]:
    """Choose how progress is shown, and show it until the block ends."""
    outages = Outages(options.policy.outage_budget)
    mixes_on_screen = options.output == "jsonl" and sys.stdout.isatty()
    async with AsyncExitStack() as stack:
        reporter: Reporter
        if options.is_quiet:
            reporter = Reporter(say)
        elif is_interactive(sys.stderr) and not mixes_on_screen:
            from ecs_waiter.cli.live import LiveReporter, Percentages  # noqa: PLC0415 - slow to import

            percentages = Percentages(waiter.client)
            reporter = LiveReporter(progress, sys.stderr, outages, percentages, waiter.pollers.eta)
            stack.enter_context(messages_to(reporter.say))
            await stack.enter_async_context(in_background(percentages.look_up()))
        else:
            reporter = PlainReporter(progress, say_progress, outages)
        stack.callback(reporter.close)
        yield reporter


def _write_line(record: Record, _error: EcsWaiterError | None) -> None:
    # If it cannot be written, `_check_stdout` stops the wait.
    with contextlib.suppress(ClosedPipeError, UnwritableError):
        write_result(line_of(record))


async def _check_stdout(stop: Stop) -> None:
    """Stop the wait when results cannot be written: the next one may be hours away."""
    try:
        while True:
            check_stdout()
            await asyncio.sleep(_STDOUT_CHECKED_EVERY)
    except ClosedPipeError:
        stop.lose_stdout()
    except UnwritableError:
        stop.lose_stdout()
        raise


# -- the end ----------------------------------------------------------------------------------------------------------


async def _conclude(watch: Watch, end: End, options: WatchOptions, stop: Stop) -> ExitCode:
    outcomes = watch.progress.outcomes()
    is_pending = "pending" in outcomes
    is_unread = False
    if not stop.is_stdout_lost:
        try:
            await write_many(_results(watch.progress, options.output))
        except ClosedPipeError:
            # Nobody reads the results; the exit code still reports the outcome.
            discard_results()
        except UnreadError as error:
            discard_results()
            is_unread = True
            say(f"ecs-waiter: {error}")
        _say_end(outcomes, end, options, watch.progress.seconds)
        if is_pending:
            _say_pending(watch, options)
    if end is End.STOPPED and is_pending:
        return ExitCode.CLOSED_PIPE if stop.is_stdout_lost else ExitCode.INTERRUPTED
    if (end is End.STOPPED and options.cancel_on_interrupt and not stop.is_stdout_lost) or (stop and is_unread):
        return ExitCode.INTERRUPTED
    return exit_code(outcomes, timed_out=end is End.TIMED_OUT)


def _results(progress: WatchedTasks, output: str) -> Iterator[str]:
    if output == "json":
        return json_pieces(progress.records())
    if output == "jsonl":
        return map(line_of, map(progress.record, progress.pending()))
    return text_pieces(progress)


def _say_end(outcomes: Mapping[str, int], end: End, options: WatchOptions, seconds: float) -> None:
    how = {
        End.COMPLETE: "done",
        End.FIRST_FAILURE: "stopped at the first failure",
        End.TIMED_OUT: "timed out",
        End.STOPPED: "interrupted",
    }[end]
    if not options.is_quiet or end is not End.COMPLETE:
        say(f"{how} after {format_duration(seconds)}: {summary_line(outcomes)}")


def _say_pending(watch: Watch, options: WatchOptions) -> None:
    """Report why tasks are pending, as far as it is known, and how to keep waiting for them."""
    for region_id, fault in watch.faults.items():
        say(f"{region_id} is failing: {outage_reason(fault)}")
    pending = list(watch.progress.pending())
    unlisted = [ref for ref, known in watch.progress.states() if known is None]
    if unlisted:
        say(f"never listed by the service: {few([str(ref) for ref in unlisted])}")
    running = "the other tasks" if unlisted else "the tasks"
    start = f"{running} keep running at the service; to" if len(unlisted) < len(pending) else "to"
    say(f"{start} keep waiting, run:")
    for line in resume_command(pending, options.kept):
        say(line)
