"""``ecs-waiter wait``: wait for tasks, tell how it goes, and give what became of them."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ecs_waiter.cli.cancellation import cancel_pending
from ecs_waiter.cli.duration import format_duration
from ecs_waiter.cli.failure import ExitCode, MisuseError
from ecs_waiter.cli.following import End, Following
from ecs_waiter.cli.going_on import command_for
from ecs_waiter.cli.interrupt import Stop
from ecs_waiter.cli.messages import why_no_answer
from ecs_waiter.cli.outcomes import exit_code
from ecs_waiter.cli.progress import Progress
from ecs_waiter.cli.reporting import Outages, PlainReporter, QuietReporter
from ecs_waiter.cli.results import summary_line, write_json, write_json_line, write_wait
from ecs_waiter.cli.streams import ClosedPipeError, is_interactive, is_reader_gone, say, spoken_by
from ecs_waiter.errors import few
from ecs_waiter.waiter import TaskWaiter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from ecs_waiter.cli.outcomes import Record
    from ecs_waiter.cli.reporting import Reporter
    from ecs_waiter.cli.task_refs import TaskRef
    from ecs_waiter.errors import ApiError
    from ecs_waiter.polling.policy import PollPolicy

__all__ = ["WaitOptions", "open_waiter", "reporting", "wait", "wait_within"]

_PIPE_WATCHED_EVERY = 0.5


@dataclass(frozen=True, kw_only=True)
class WaitOptions:
    """How to wait, and how to tell of it.

    Attributes:
        policy: When to look and how much trouble to bear.
        timeout: Seconds that all of it may take; None is no limit.
        output: One of the formats of results.
        fail_fast: Whether the first failure ends it.
        cancel_on_interrupt: Whether an interrupt cancels the tasks at the service.
        is_quiet: Whether to leave progress out.
        trust_env: Whether to use the proxies of the environment.
        kept: The words of the command line that a command which goes on keeps.
    """

    policy: PollPolicy
    timeout: float | None = None
    output: str = "text"
    fail_fast: bool = False
    cancel_on_interrupt: bool = False
    is_quiet: bool = False
    trust_env: bool = False
    kept: Sequence[str] = field(default=())


async def wait(refs: Sequence[TaskRef], options: WaitOptions) -> ExitCode:
    """Wait for the tasks; returns the exit code.

    Raises:
        MisuseError: The environment's configuration makes no sense.
    """
    stop = Stop()
    with stop.on_signals():
        async with open_waiter(options) as waiter:
            return await wait_within(waiter, refs, options, stop)


@contextlib.asynccontextmanager
async def open_waiter(options: WaitOptions) -> AsyncIterator[TaskWaiter]:
    """Open a waiter with the environment's credentials and endpoint."""
    try:
        waiter = TaskWaiter(policy=options.policy, trust_env=options.trust_env)
    except ValueError as error:
        raise MisuseError(str(error)) from None
    async with waiter:
        yield waiter


async def wait_within(waiter: TaskWaiter, refs: Sequence[TaskRef], options: WaitOptions, stop: Stop) -> ExitCode:
    """Wait with a waiter and a stop that exist already; returns the exit code."""
    progress = Progress(refs)

    def write_at_once(record: Record) -> None:
        if options.output == "jsonl" and not stop.is_pipe_closed:
            try:
                write_json_line(record)
            except ClosedPipeError:
                stop.close_pipe()

    async with reporting(waiter, progress, options) as reporter, _watching_pipe(options, stop):
        following = Following(waiter, progress, reporter, write_at_once, stop)
        end = await following.run(options.timeout, fail_fast=options.fail_fast)
        if end is End.STOPPED and options.cancel_on_interrupt and not stop.is_pipe_closed:
            reporter.say("canceling at the service what supports it (Ctrl-C again leaves that)")
            await cancel_pending(waiter.client, progress, reporter)
    return _conclude(progress, end, options, stop, following.faults)


@contextlib.asynccontextmanager
async def reporting(waiter: TaskWaiter, progress: Progress, options: WaitOptions) -> AsyncIterator[Reporter]:
    """Choose how progress is shown, and have it shown until the block ends."""
    outages = Outages(options.policy.outage_budget)
    mixes_on_screen = options.output == "jsonl" and sys.stdout.isatty()
    async with AsyncExitStack() as stack:
        reporter: Reporter
        if options.is_quiet:
            reporter = QuietReporter(say)
        elif is_interactive(sys.stderr) and not mixes_on_screen:
            # Here, for pipes have no use for it.
            from ecs_waiter.cli.live import LiveReporter  # noqa: PLC0415
            from ecs_waiter.cli.percentages import Percentages  # noqa: PLC0415

            percentages = Percentages(waiter.client)
            reporter = LiveReporter(progress, sys.stderr, outages, percentages)
            stack.enter_context(spoken_by(reporter.say))
            await stack.enter_async_context(percentages.looking_up())
        else:
            reporter = PlainReporter(progress, say, outages)
        stack.callback(reporter.close)
        yield reporter


@contextlib.asynccontextmanager
async def _watching_pipe(options: WaitOptions, stop: Stop) -> AsyncIterator[None]:
    """Stop when the reader of a stream of results has enough, as `head` has: no write may come to tell for hours."""

    async def watch() -> None:
        while not is_reader_gone():  # noqa: ASYNC110 - a pipe signals nothing
            await asyncio.sleep(_PIPE_WATCHED_EVERY)
        stop.close_pipe()

    watcher = asyncio.create_task(watch()) if options.output == "jsonl" else None
    try:
        yield
    finally:
        if watcher is not None:
            watcher.cancel()


def _conclude(
    progress: Progress, end: End, options: WaitOptions, stop: Stop, faults: Mapping[str, ApiError]
) -> ExitCode:
    records = progress.records()
    pending = [record for record in records if record.outcome == "pending"]
    if not stop.is_pipe_closed:
        _write(records, options.output)
        _say_end(records, end, options, progress.seconds)
        _say_pending(pending, options, faults)
    if end is End.STOPPED and pending:
        return ExitCode.CLOSED_PIPE if stop.is_pipe_closed else ExitCode.INTERRUPTED
    if end is End.STOPPED and options.cancel_on_interrupt and not stop.is_pipe_closed:
        return ExitCode.INTERRUPTED
    return exit_code(records, timed_out=end is End.TIMED_OUT)


def _write(records: Sequence[Record], output: str) -> None:
    # What nobody reads was still waited for: the exit code tells.
    with contextlib.suppress(ClosedPipeError):
        if output == "json":
            write_json(records)
        elif output == "jsonl":
            for record in records:
                if record.outcome == "pending":
                    write_json_line(record)
        else:
            write_wait(records)


def _say_end(records: Sequence[Record], end: End, options: WaitOptions, seconds: float) -> None:
    how = {
        End.COMPLETE: "done",
        End.FIRST_FAILURE: "stopped at the first failure",
        End.TIMED_OUT: "timed out",
        End.STOPPED: "interrupted",
    }[end]
    if not options.is_quiet or end is not End.COMPLETE:
        say(f"{how} after {format_duration(seconds)}: {summary_line(records)}")


def _say_pending(pending: Sequence[Record], options: WaitOptions, faults: Mapping[str, ApiError]) -> None:
    """Say why tasks are pending, as far as that is known, and how to keep waiting for them."""
    if not pending:
        return
    for region_id, fault in faults.items():
        say(f"{region_id} is failing: {why_no_answer(fault)}")
    unlisted = [str(record.ref) for record in pending if record.task is None]
    if unlisted:
        say(f"never listed by the service: {few(unlisted)}")
    running = "the other tasks" if unlisted else "the tasks"
    start = f"{running} keep running at the service; to" if len(unlisted) < len(pending) else "to"
    say(f"{start} keep waiting, run:")
    say(command_for([record.ref for record in pending], options.kept))
