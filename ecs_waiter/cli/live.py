"""LiveReporter: the view of a wait on a terminal, redrawn in place; failures stay above it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ecs_waiter.cli.duration import format_duration
from ecs_waiter.cli.outcomes import COLOURS
from ecs_waiter.cli.reporting import told_of
from ecs_waiter.cli.streams import has_backlog, is_behind
from ecs_waiter.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TextIO

    from rich.console import RenderableType

    from ecs_waiter.cli.outcomes import Record, Seen
    from ecs_waiter.cli.percentages import Percentages
    from ecs_waiter.cli.progress import Progress
    from ecs_waiter.cli.reporting import Outages
    from ecs_waiter.models import Task
    from ecs_waiter.stats import WaiterStats

__all__ = ["LiveReporter"]

_FIXED_LINES = 8
_MOST_TASKS = 20
_MOST_REGIONS = 8
_WIDE = 100
_MIDDLING = 80
_DOT = " · "


class LiveReporter:
    """Shows a bar, counts, and a line for each task where there are few.

    Args:
        progress: What is waited for.
        stream: The terminal.
        outages: What is said of regions without answers.
        percentages: How far each task is; told which tasks are on show.
    """

    def __init__(self, progress: Progress, stream: TextIO, outages: Outages, percentages: Percentages) -> None:
        self._progress = progress
        self._outages = outages
        self._percentages = percentages
        self._told: set[str] = set()
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

    def changed(self, task: Task) -> None:
        """The next redraw shows it."""

    def settled(self, record: Record) -> None:
        """Have what went wrong stay on the screen, above the view."""
        if record.error is not None and not is_behind() and (line := told_of(record, self._told)) is not None:
            self._console.print(Text(f"✗ {line}", style=COLOURS[record.outcome]))

    def say(self, line: str) -> None:
        """Show a message above the view."""
        self._console.print(Text(line, style="yellow"))

    def tick(self, stats: WaiterStats) -> None:
        """Redraw, unless the terminal has yet to take the last view: it is stopped, or slow."""
        for note in self._outages.notes(stats, self._progress.seconds):
            self.say(note)
        if has_backlog():
            return
        self._live.update(self._view(stats), refresh=True)

    def close(self) -> None:
        """Take the view off the screen; what was said stays."""
        self._live.stop()

    # -- what is drawn ------------------------------------------------------------------------------------------------

    def _view(self, stats: WaiterStats) -> RenderableType:
        parts: list[RenderableType] = [self._bar(), _line(_counts(self._progress.counts()))]
        if len(self._progress.regions) > 1:
            parts.append(_line(self._regions()))
        parts.append(_line(Text(_calls(stats), style="dim")))
        shown = self._tasks_on_show()
        self._percentages.show(shown)
        if shown:
            parts.append(self._table(shown))
        return Group(*parts)

    def _bar(self) -> RenderableType:
        done, total = self._progress.settled, len(self._progress)
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(ratio=1)
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True)
        elapsed = format_duration(self._progress.seconds)
        # Colours of the terminal's own palette: they suit its background, light or dark.
        bar = ProgressBar(
            total=max(total, 1), completed=done, style="bright_black", complete_style="cyan", finished_style="green"
        )
        grid.add_row(bar, f"{done}/{total}", Text(elapsed, style="dim"))
        return grid

    def _regions(self) -> Text:
        regions = self._progress.regions
        told = [
            f"{region_id} {self._progress.settled_in[region_id]}/{len(ids)}"
            for region_id, ids in list(regions.items())[:_MOST_REGIONS]
        ]
        if len(regions) > _MOST_REGIONS:
            told.append(f"and {len(regions) - _MOST_REGIONS} regions more")
        return Text(_DOT.join(told))

    def _tasks_on_show(self) -> Sequence[Seen]:
        room = min(_MOST_TASKS, self._console.height - _FIXED_LINES)
        tasks = (self._progress.seen(ref.task_id) for ref in self._progress.few_pending(room))
        return [task for task in tasks if task is not None]

    def _table(self, tasks: Sequence[Seen]) -> RenderableType:
        width = self._console.width
        table = Table.grid(padding=(0, 2, 0, 0))
        columns = ["task", "percent", "status", "age", "action"]
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
            percent = self._percentages.of(task.task_id)
            age = (
                ""
                if task.creation_time is None
                else format_duration(max(0.0, (now - task.creation_time).total_seconds()))
            )
            cells = {
                "task": Text(task.task_id, style="bold"),
                "percent": Text("" if percent is None else f"{percent}%"),
                "status": Text(printable(task.task_status).lower()),
                "age": Text(age, style="dim"),
                "action": Text(printable(task.task_action)),
                "resource": Text(printable(task.resource_id), style="dim"),
                "region": Text(task.region_id, style="dim"),
            }
            table.add_row(*(cells[column] for column in columns))
        return table


def _line(text: Text) -> Text:
    """One that stays one, however narrow the terminal, lest the view's height changes under it."""
    text.no_wrap = True
    text.overflow = "ellipsis"
    return text


def _counts(counts: Mapping[str, int]) -> Text:
    parts = [Text(f"{count} {printable(label)}", style=COLOURS.get(label, "")) for label, count in counts.items()]
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
