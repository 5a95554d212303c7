"""``ecs-waiter wait``: wait for tasks, tell how it goes, and give what became of them."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import deque
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import TYPE_CHECKING

from ecs_waiter.cli.cancellation import cancel_pending
from ecs_waiter.cli.duration import format_duration
from ecs_waiter.cli.failure import CommandError, ExitCode, MisuseError
from ecs_waiter.cli.following import End, Following
from ecs_waiter.cli.going_on import command_for
from ecs_waiter.cli.interrupt import Stop
from ecs_waiter.cli.messages import why_no_answer
from ecs_waiter.cli.outcomes import exit_code
from ecs_waiter.cli.progress import Progress
from ecs_waiter.cli.reporting import Outages, PlainReporter, QuietReporter
from ecs_waiter.cli.results import json_pieces, line_of, summary_line, text_pieces, write_many
from ecs_waiter.cli.streams import (
    ClosedPipeError,
    UnreadError,
    is_interactive,
    is_reader_gone,
    lose_results,
    mention,
    results_room,
    results_written,
    say,
    spoken_by,
    write_result,
)
from ecs_waiter.errors import few
from ecs_waiter.waiter import TaskWaiter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from ecs_waiter.cli.outcomes import Record
    from ecs_waiter.cli.reporting import Reporter
    from ecs_waiter.cli.task_refs import TaskRef
    from ecs_waiter.errors import ApiError
    from ecs_waiter.polling.policy import PollPolicy

__all__ = ["WaitOptions", "open_waiter", "reporting", "wait", "wait_within"]

_PIPE_WATCHED_EVERY = 0.5
_LINES_AT_ONCE = 200


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
    """Wait with a waiter and a stop that exist already; returns the exit code.

    Raises:
        CommandError: The results cannot be written.
    """
    progress = Progress(refs)
    lines = _Lines(stop)
    async with reporting(waiter, progress, options) as reporter, _watching_pipe(options, stop), lines.being_written():
        on_settled = lines.add if options.output == "jsonl" else _nothing
        following = Following(waiter, progress, reporter, on_settled, stop)
        end = await following.run(options.timeout, fail_fast=options.fail_fast)
        if end is End.STOPPED and options.cancel_on_interrupt and not lines.have_failed:
            reporter.say("canceling at the service what supports it (Ctrl-C again leaves that)")
            await cancel_pending(waiter.client, progress, reporter, on_settled)
    return await _conclude(progress, end, options, stop, faults=following.faults, lines=lines)


def _nothing(_record: Record) -> None:
    """The results are written at the end."""


class _Lines:
    """The results as lines of JSON, written as each task settles and as stdout's reader takes them.

    Args:
        stop: Set when they cannot be written any more.

    Attributes:
        unread: Why not all were written, if the wait was stopped and the reader does not read.
    """

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._left: deque[Record] = deque()
        self._has_come = asyncio.Event()
        self._error: CommandError | None = None
        self.unread: UnreadError | None = None

    @property
    def have_failed(self) -> bool:
        """Whether that is why the wait was stopped."""
        return self._stop.is_pipe_closed or self._error is not None

    def add(self, record: Record) -> None:
        """Have a record written."""
        self._left.append(record if record.why is None else replace(record, error=record.why))
        self._has_come.set()

    @contextlib.asynccontextmanager
    async def being_written(self) -> AsyncIterator[None]:
        """Write until the block ends; what is left then is `left`."""
        writer = asyncio.create_task(self._write())
        try:
            yield
        finally:
            writer.cancel()
            await asyncio.wait({writer})
        if self._error is not None:
            raise self._error

    def left(self) -> Iterator[Record]:
        """Take off what was not written."""
        while self._left:
            yield self._left.popleft()

    async def _write(self) -> None:
        try:
            while True:
                await self._has_come.wait()
                self._has_come.clear()
                while self._left:
                    write_result("".join(map(line_of, islice(self.left(), _LINES_AT_ONCE))))
                    await results_room()
                await results_written()
        except ClosedPipeError:
            self._stop.close_pipe()
        except UnreadError as error:
            lose_results()
            self.unread = error
        except CommandError as error:
            self._error = error
            self._stop.set()


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
            reporter = PlainReporter(progress, mention, outages)
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


async def _conclude(  # noqa: PLR0913 - what there is to say
    progress: Progress,
    end: End,
    options: WaitOptions,
    stop: Stop,
    *,
    faults: Mapping[str, ApiError],
    lines: _Lines,
) -> ExitCode:
    outcomes = progress.outcomes()
    is_pending = "pending" in outcomes
    unread = lines.unread
    if not stop.is_pipe_closed:
        try:
            await write_many(_results(progress, options.output, lines))
        except ClosedPipeError:
            # Nobody reads the results; the exit code still reports the outcome.
            lose_results()
        except UnreadError as error:
            lose_results()
            unread = error
        if unread is not None:
            say(f"ecs-waiter: {unread}")
        _say_end(outcomes, end, options, progress.seconds)
        if is_pending:
            _say_pending(progress, options, faults)
    if end is End.STOPPED and is_pending:
        return ExitCode.CLOSED_PIPE if stop.is_pipe_closed else ExitCode.INTERRUPTED
    if (end is End.STOPPED and options.cancel_on_interrupt and not stop.is_pipe_closed) or (
        stop and unread is not None
    ):
        return ExitCode.INTERRUPTED
    return exit_code(outcomes, timed_out=end is End.TIMED_OUT)


def _results(progress: Progress, output: str, lines: _Lines) -> Iterator[str]:
    if output == "json":
        return json_pieces(progress.records())
    if output == "jsonl":
        return map(line_of, chain(lines.left(), map(progress.record, progress.pending())))
    return text_pieces(progress)


def _say_end(outcomes: Mapping[str, int], end: End, options: WaitOptions, seconds: float) -> None:
    how = {
        End.COMPLETE: "done",
        End.FIRST_FAILURE: "stopped at the first failure",
        End.TIMED_OUT: "timed out",
        End.STOPPED: "interrupted",
    }[end]
    if not options.is_quiet or end is not End.COMPLETE:
        say(f"{how} after {format_duration(seconds)}: {summary_line(outcomes)}")


def _say_pending(progress: Progress, options: WaitOptions, faults: Mapping[str, ApiError]) -> None:
    """Say why tasks are pending, as far as that is known, and how to keep waiting for them."""
    for region_id, fault in faults.items():
        say(f"{region_id} is failing: {why_no_answer(fault)}")
    pending = list(progress.pending())
    unlisted = [ref for ref, known in progress.states() if known is None]
    if unlisted:
        say(f"never listed by the service: {few([str(ref) for ref in unlisted])}")
    running = "the other tasks" if unlisted else "the tasks"
    start = f"{running} keep running at the service; to" if len(unlisted) < len(pending) else "to"
    say(f"{start} keep waiting, run:")
    for line in command_for(pending, options.kept):
        say(line)
