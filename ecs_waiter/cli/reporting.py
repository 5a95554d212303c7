"""Reporters: progress on stderr as plain lines, or none. The live view is in `ecs_waiter.cli.live`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecs_waiter.cli.messages import explain, explain_outage, format_duration
from ecs_waiter.errors import (
    ApiError,
    AuthenticationError,
    EcsWaiterError,
    ServiceUnavailableError,
    ThrottledError,
)
from ecs_waiter.escaping import escape_control

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecs_waiter.cli.outcomes import Record, WatchedTasks
    from ecs_waiter.models import Task
    from ecs_waiter.stats import WaiterStats

__all__ = ["Outages", "PlainReporter", "Reporter", "outcome_line"]

_REPORTED_AFTER = 2.0
_HEARTBEAT = 300.0


class Reporter:
    """Shows messages, and no progress.

    Args:
        write: Writes a line to stderr.

    Attributes:
        shows_eta: Whether the time left is shown, and so has to be computed.
    """

    shows_eta = False

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def say(self, line: str) -> None:
        """Show a message that is safe for a terminal."""
        self._write(line)

    def changed(self, task: Task) -> None:
        """Report a pending task that was seen for the first time, or has another status."""

    def finished(self, record: Record, error: EcsWaiterError | None) -> None:
        """Report the outcome of a task, and why it did not finish."""

    def tick(self, stats: WaiterStats) -> None:
        """Report what depends on time; called several times per second."""

    def close(self) -> None:
        """End the report."""


class PlainReporter(Reporter):
    """A line per change, for pipes and logs.

    Args:
        progress: The state of the wait.
        write: Writes a line to stderr.
        outages: Reports regions that are not responding.
    """

    def __init__(self, progress: WatchedTasks, write: Callable[[str], None], outages: Outages) -> None:
        super().__init__(write)
        self._progress = progress
        self._outages = outages
        self._reported: set[str] = set()
        self._said_at = 0.0

    def say(self, line: str) -> None:
        """Write a line."""
        self._said_at = self._progress.seconds
        super().say(line)

    def changed(self, task: Task) -> None:
        """Write the new status."""
        what = " ".join(filter(None, (task.task_action, task.resource_id)))
        about = f", {escape_control(what)}" if what else ""
        self.say(f"{task.task_id} ({task.region_id}): {escape_control(task.task_status)}{about}")

    def finished(self, record: Record, error: EcsWaiterError | None) -> None:
        """Write the outcome."""
        line = outcome_line(record, error, self._reported)
        if line is not None:
            self.say(line)

    def tick(self, stats: WaiterStats) -> None:
        """Write outages; and a line every five minutes, because CI systems end jobs without output."""
        now = self._progress.seconds
        for note in self._outages.notes(stats, now):
            self.say(note)
        if now - self._said_at >= _HEARTBEAT:
            left = len(self._progress) - self._progress.done
            self.say(f"still waiting for {left} of {len(self._progress)} after {format_duration(now)}")


class Outages:
    """Reports once that a region is not responding, and once that it is responding again.

    Args:
        budget: Seconds for which an outage is retried.
    """

    def __init__(self, budget: float) -> None:
        self._budget = budget
        self._since: dict[str, float] = {}
        self._reported: set[str] = set()

    def notes(self, stats: WaiterStats, now: float) -> list[str]:
        """Return the new messages; `now` is in seconds."""
        notes = []
        for region_id, region in stats.regions.items():
            if region.fault is None:
                self._since.pop(region_id, None)
                # A region that was given up has no fault either, but no tasks are waiting there.
                if region_id in self._reported and region.waiting:
                    self._reported.discard(region_id)
                    notes.append(f"{region_id} is responding again")
            elif now - self._since.setdefault(region_id, now) >= _REPORTED_AFTER and region_id not in self._reported:
                self._reported.add(region_id)
                outage = explain_outage(region_id, region.fault)
                notes.append(f"{outage}; retrying for {format_duration(self._budget)} (Ctrl-C stops)")
        return notes


def outcome_line(record: Record, error: EcsWaiterError | None, reported: set[str]) -> str | None:
    """Return the line for an outcome; None if the same error of its region is in `reported` already."""
    ref = record.ref
    if error is None:
        return f"{ref.task_id} ({ref.region_id}): {record.outcome}"
    if isinstance(error, ApiError):
        if (key := f"{ref.region_id} {error}") in reported:
            return None
        reported.add(key)
    is_regional = isinstance(error, AuthenticationError | ServiceUnavailableError | ThrottledError)
    return explain(error, where=ref.region_id if is_regional else str(ref))
