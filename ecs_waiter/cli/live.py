"""The live view of a wait on a terminal, redrawn in place. Failures stay above it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ecs_waiter.api.limiter import Priority
from ecs_waiter.cli.messages import format_duration, format_eta
from ecs_waiter.cli.outcomes import COLORS
from ecs_waiter.cli.reporting import Reporter, outcome_line
from ecs_waiter.cli.streams import has_stderr_backlog, is_stderr_behind
from ecs_waiter.errors import ApiError, ServiceUnavailableError, ThrottledError
from ecs_waiter.escaping import escape_control

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import TextIO

    from rich.console import RenderableType

    from ecs_waiter.api.client import EcsClient
    from ecs_waiter.cli.outcomes import KnownTask, Record, WatchedTasks
    from ecs_waiter.cli.reporting import Outages
    from ecs_waiter.errors import EcsWaiterError
    from ecs_waiter.models import Task
    from ecs_waiter.polling.durations import Eta
    from ecs_waiter.stats import WaiterStats

__all__ = ["LiveReporter", "Percentages"]

_FIXED_LINES = 8
_MOST_TASKS = 20
_MOST_REGIONS = 8
_WIDE = 100
_MIDDLING = 80
_DOT = " · "

_LOOK_UP_EVERY = 2.0
_SAME_TASK_EVERY = 15.0
_TIMEOUT = 15.0


class LiveReporter(Reporter):
    """A bar, counts, and a line for each task if there are few.

    Args:
        progress: The state of the wait.
        stream: The terminal.
        outages: Reports regions that are not responding.
        percentages: Looks up the percentages of the tasks in the view.
        eta: Returns the time left of a task, by its region and its ID.
    """

    shows_eta = True

    def __init__(
        self,
        progress: WatchedTasks,
        stream: TextIO,
        outages: Outages,
        percentages: Percentages,
        eta: Callable[[str, str], Eta | None],
    ) -> None:
        super().__init__(self._print)
        self._eta = eta
        self._progress = progress
        self._outages = outages
        self._percentages = percentages
        self._reported: set[str] = set()
        self._console = Console(file=stream, force_terminal=True, highlight=False, markup=False, emoji=False)
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )
        self._live.start()

    def finished(self, record: Record, error: EcsWaiterError | None) -> None:
        """Print a failure above the view."""
        if error is not None and not is_stderr_behind():
            line = outcome_line(record, error, self._reported)
            if line is not None:
                self._console.print(Text(f"✗ {line}", style=COLORS[record.outcome]))

    def tick(self, stats: WaiterStats) -> None:
        """Redraw the view, unless the terminal has not taken the last one: it is stopped or slow."""
        for note in self._outages.notes(stats, self._progress.seconds):
            self.say(note)
        if not has_stderr_backlog():
            self._live.update(self._view(stats), refresh=True)

    def close(self) -> None:
        """Remove the view; what was printed above it stays."""
        self._live.stop()

    def _print(self, line: str) -> None:
        self._console.print(Text(line, style="yellow"))

    # -- the view -----------------------------------------------------------------------------------------------------

    def _view(self, stats: WaiterStats) -> RenderableType:
        parts: list[RenderableType] = [self._bar(), _one_line(_counts(self._progress.counts()))]
        if len(self._progress.regions) > 1:
            parts.append(_one_line(self._regions()))
        parts.append(_one_line(Text(_calls(stats), style="dim")))
        shown = self._shown_tasks()
        self._percentages.show(shown)
        if shown:
            parts.append(self._table(shown))
        return Group(*parts)

    def _bar(self) -> RenderableType:
        done, total = self._progress.done, len(self._progress)
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(ratio=1)
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True)
        elapsed = format_duration(self._progress.seconds)
        eta = self._progress.eta
        times = elapsed if eta is None else f"{elapsed}{_DOT}{format_eta(eta)}"
        # Colors of the terminal's own palette are readable on light and dark backgrounds.
        bar = ProgressBar(
            total=max(total, 1), completed=done, style="bright_black", complete_style="cyan", finished_style="green"
        )
        grid.add_row(bar, f"{done}/{total}", Text(times, style="dim"))
        return grid

    def _regions(self) -> Text:
        regions = self._progress.regions
        parts = [
            f"{region_id} {self._progress.done_in[region_id]}/{len(ids)}"
            for region_id, ids in list(regions.items())[:_MOST_REGIONS]
        ]
        if len(regions) > _MOST_REGIONS:
            parts.append(f"and {len(regions) - _MOST_REGIONS} more regions")
        return Text(_DOT.join(parts))

    def _shown_tasks(self) -> Sequence[KnownTask]:
        room = min(_MOST_TASKS, self._console.height - _FIXED_LINES)
        tasks = (self._progress.pending_task(ref.task_id) for ref in self._progress.few_pending(room))
        return [task for task in tasks if task is not None]

    def _table(self, tasks: Sequence[KnownTask]) -> RenderableType:
        width = self._console.width
        table = Table.grid(padding=(0, 2, 0, 0))
        etas = {task.task_id: eta for task in tasks if (eta := self._eta(task.region_id, task.task_id)) is not None}
        columns = ["task", "percent", "status", "age", *(["left"] if etas else []), "action"]
        if width >= _MIDDLING:
            columns.append("resource")
        if width >= _WIDE and len(self._progress.regions) > 1:
            columns.append("region")
        for column in columns:
            table.add_column(
                no_wrap=True, overflow="ellipsis", justify="right" if column in {"percent", "age"} else "left"
            )
        now = datetime.now(UTC)
        for task in tasks:
            percent, created = self._percentages.of(task.task_id), task.creation_time
            age = "" if created is None else format_duration(max(0.0, (now - created).total_seconds()))
            cells = {
                "task": Text(task.task_id, style="bold"),
                "percent": Text("" if percent is None else f"{percent}%"),
                "status": Text(escape_control(task.task_status).lower()),
                "age": Text(age, style="dim"),
                "left": Text(format_eta(etas[task.task_id]) if task.task_id in etas else ""),
                "action": Text(escape_control(task.task_action)),
                "resource": Text(escape_control(task.resource_id), style="dim"),
                "region": Text(task.region_id, style="dim"),
            }
            table.add_row(*(cells[column] for column in columns))
        return table


def _one_line(text: Text) -> Text:
    """Cut a text at the width of the terminal, so that the height of the view does not change."""
    text.no_wrap = True
    text.overflow = "ellipsis"
    return text


def _counts(counts: Mapping[str, int]) -> Text:
    parts = [Text(f"{count} {escape_control(label)}", style=COLORS.get(label, "")) for label, count in counts.items()]
    return Text(_DOT).join(parts)


def _calls(stats: WaiterStats) -> str:
    regions = stats.regions.values()
    calls, throttled = sum(region.calls for region in regions), sum(region.throttled for region in regions)
    planned = [region.next_poll for region in regions if region.next_poll is not None]
    parts = [f"{calls} calls", f"{throttled} throttled"] if throttled else [f"{calls} calls"]
    if planned:
        soonest = min(planned)
        parts.insert(0, f"next poll in {format_duration(soonest)}" if soonest >= 1 else "polling")
    return _DOT.join(parts)


class Percentages:
    """The progress of tasks in percent, from ``DescribeTaskAttribute``: one call every two seconds, with low priority.

    Args:
        client: Makes the calls, within its rate limits.
    """

    def __init__(self, client: EcsClient) -> None:
        self._client = client
        self._shown: dict[str, Task | KnownTask] = {}
        self._percents: dict[str, int] = {}
        self._asked_at: dict[str, float] = {}
        # The service reports a percentage for some operations only.
        self._unsupported: set[str] = set()

    def show(self, tasks: Iterable[Task | KnownTask]) -> None:
        """Look up these tasks from now on, and no others."""
        self._shown = {task.task_id: task for task in tasks}

    def of(self, task_id: str) -> int | None:
        """Return the last percentage; None if none is known."""
        return self._percents.get(task_id)

    async def look_up(self) -> None:
        """Look up percentages until it is canceled."""
        loop = asyncio.get_running_loop()
        while True:
            task = self._next(loop.time())
            if task is not None:
                self._asked_at[task.task_id] = loop.time()
                await self._ask(task)
            await asyncio.sleep(_LOOK_UP_EVERY)

    def _next(self, now: float) -> Task | KnownTask | None:
        due = [
            task
            for task_id, task in self._shown.items()
            if task_id not in self._unsupported
            and now - self._asked_at.get(task_id, now - _SAME_TASK_EVERY) >= _SAME_TASK_EVERY
        ]
        return min(due, key=lambda task: self._asked_at.get(task.task_id, 0.0), default=None)

    async def _ask(self, task: Task | KnownTask) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT):
                detail = await self._client.describe_task_attribute(
                    task.task_id, region_id=task.region_id, priority=Priority.LOOKUP
                )
        except (TimeoutError, ThrottledError, ServiceUnavailableError):
            return
        except ApiError:
            self._unsupported.add(task.task_id)
            return
        if detail.task_process is not None:
            self._percents[task.task_id] = detail.task_process
