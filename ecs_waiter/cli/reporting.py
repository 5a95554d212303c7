"""Reporter: how progress reaches stderr - as plain lines, live on a terminal, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ecs_waiter.cli.duration import format_duration
from ecs_waiter.cli.messages import explain, no_answer
from ecs_waiter.errors import (
    ApiError,
    AuthenticationError,
    EcsWaiterError,
    ServiceUnavailableError,
    ThrottledError,
)
from ecs_waiter.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecs_waiter.cli.outcomes import Record
    from ecs_waiter.cli.progress import Progress
    from ecs_waiter.models import Task
    from ecs_waiter.stats import WaiterStats

__all__ = ["Outages", "PlainReporter", "QuietReporter", "Reporter", "told_of"]

_BORNE = 2.0
_HEARTBEAT = 300.0


class Reporter(Protocol):
    """Told of everything while a wait is under way."""

    def changed(self, task: Task) -> None:
        """A task that goes on was seen for the first time, or in another status."""
        ...

    def settled(self, record: Record) -> None:
        """A task has its outcome."""
        ...

    def say(self, line: str) -> None:
        """Show a message that is fit for a terminal."""
        ...

    def tick(self, stats: WaiterStats) -> None:
        """A moment has passed."""
        ...

    def close(self) -> None:
        """The wait is over."""
        ...


class Outages:
    """Says once that a region gives no answer, and why, and once that it answers again.

    Args:
        budget: Seconds that are borne.
    """

    def __init__(self, budget: float) -> None:
        self._budget = budget
        self._since: dict[str, float] = {}
        self._told: set[str] = set()

    def notes(self, stats: WaiterStats, now: float) -> list[str]:
        """Return what there is to say; `now` is in seconds."""
        notes = []
        for region_id, region in stats.regions.items():
            if region.fault is None:
                self._since.pop(region_id, None)
                # A region that was given up has no fault either, but nobody waits there any more.
                if region_id in self._told and region.waiting:
                    self._told.discard(region_id)
                    notes.append(f"{region_id} is responding again")
            elif now - self._since.setdefault(region_id, now) >= _BORNE and region_id not in self._told:
                # A fault that passes at once is not worth a line.
                self._told.add(region_id)
                notes.append(
                    f"{no_answer(region_id, region.fault)}; retrying for {format_duration(self._budget)} (Ctrl-C stops)"
                )
        return notes


def told_of(record: Record, told: set[str]) -> str | None:
    """Return what to say of an outcome; None if it is said already, as of one error for a whole region."""
    ref, error = record.ref, record.error
    if not isinstance(error, EcsWaiterError):
        return f"{ref.task_id} ({ref.region_id}): {record.outcome}"
    if isinstance(error, ApiError):
        if (mark := f"{ref.region_id} {error}") in told:
            return None
        told.add(mark)
    is_regional = isinstance(error, AuthenticationError | ServiceUnavailableError | ThrottledError)
    return explain(error, where=ref.region_id if is_regional else str(ref))


class PlainReporter:
    """A line on every change, for pipes and logs.

    Args:
        progress: What is waited for.
        write: Writes a line to stderr.
        outages: What is said of regions without answers.
    """

    def __init__(self, progress: Progress, write: Callable[[str], None], outages: Outages) -> None:
        self._progress = progress
        self._write = write
        self._outages = outages
        self._told: set[str] = set()
        self._spoke_at = 0.0

    def changed(self, task: Task) -> None:
        """Tell the new status."""
        about = " ".join(filter(None, (task.task_action, task.resource_id)))
        self.say(
            f"{task.task_id} ({task.region_id}): {printable(task.task_status)}{f', {printable(about)}' * bool(about)}"
        )

    def settled(self, record: Record) -> None:
        """Tell the outcome."""
        line = told_of(record, self._told)
        if line is not None:
            self.say(line)

    def say(self, line: str) -> None:
        """Write a line."""
        self._spoke_at = self._progress.seconds
        self._write(line)

    def tick(self, stats: WaiterStats) -> None:
        """Tell of outages; and that all is well now and then, for CI ends what is silent for long."""
        now = self._progress.seconds
        for note in self._outages.notes(stats, now):
            self.say(note)
        if now - self._spoke_at >= _HEARTBEAT:
            left = len(self._progress) - self._progress.settled
            self.say(f"still waiting for {left} of {len(self._progress)} after {format_duration(now)}")

    def close(self) -> None:
        """Nothing is left to do."""


class QuietReporter:
    """Tells nothing but what stops the wait from going on."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self.say = write

    def changed(self, task: Task) -> None:
        """Not told."""

    def settled(self, record: Record) -> None:
        """Not told."""

    def tick(self, stats: WaiterStats) -> None:
        """Not told."""

    def close(self) -> None:
        """Nothing is left to do."""
