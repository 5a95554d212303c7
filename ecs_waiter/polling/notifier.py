"""Notifier: reports changes, ends and errors of one region's tasks to their subscribers, the log and telemetry."""

from __future__ import annotations

import logging
import math
from collections import OrderedDict, defaultdict
from typing import TYPE_CHECKING, Any

from ecs_waiter.api.tasks import FINAL_STATUSES
from ecs_waiter.errors import EcsWaiterError, TaskCanceledError, TaskError, TaskNotFoundError
from ecs_waiter.escaping import escape_control
from ecs_waiter.models import Task, TaskStatus
from ecs_waiter.polling.subscribers import Subscriber, attach, detach, notify_failed, subscribers_of
from ecs_waiter.slices import in_slices

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ecs_waiter.polling.batch import Entry
    from ecs_waiter.polling.failure_details import FailureDetails
    from ecs_waiter.polling.subscribers import Observer
    from ecs_waiter.running_clock import RunningClock

__all__ = ["Notifier", "UnknownStatuses"]

# Module globals, because the enum looks its members up in Python code.
_FINISHED, _FAILED = TaskStatus.FINISHED, TaskStatus.FAILED
_MOST_KEPT = 500
"""Tasks of a region that are kept with all fields: those that changed last. Of others, status and action are kept."""
_MOST_UNKNOWN = 20

_log = logging.getLogger("ecs_waiter")
_tasks_log = logging.getLogger("ecs_waiter.tasks")


class Notifier:
    """Notifies the subscribers of one region's tasks.

    Args:
        region_id: The region.
        details: Reports failed tasks, with the service's details.
        clock: The clock of the entries.
        unknown_statuses: Logs statuses that the documentation does not name.
        observer: Gets each task that has ended.

    Attributes:
        ended: Tasks that have ended.
        service_clock: The service's clock at its last answer, in seconds since the epoch, if it said.
    """

    def __init__(
        self,
        region_id: str,
        details: FailureDetails,
        clock: RunningClock,
        unknown_statuses: UnknownStatuses,
        observer: Observer | None,
    ) -> None:
        self._region_id = region_id
        self._details = details
        self._clock = clock
        self._unknown_statuses = unknown_statuses
        self._observer = observer
        self._late: dict[str, dict[Subscriber, None]] = {}
        # By ID; the fields alone, because a whole Task takes three times the memory.
        self._last_seen: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._reports_changes = False
        self.ended = 0
        self.service_clock: float | None = None

    # -- subscribers --------------------------------------------------------------------------------------------------

    def attach(self, entries: Iterable[Entry], subscriber: Subscriber) -> list[Entry]:
        """Add a subscriber; return the entries whose present state it is to be shown, because it joins late."""
        for entry in entries:
            attach(entry, subscriber)
        if not subscriber.wants_changes:
            return []
        self._reports_changes = True
        late = [entry for entry in entries if entry.status is not None]
        for entry in late:
            self._late.setdefault(entry.task_id, {})[subscriber] = None
        return late

    def detach(self, entry: Entry, subscriber: Subscriber) -> bool:
        """Remove a subscriber; return whether none is left."""
        if entry.task_id in self._late:
            self._late[entry.task_id].pop(subscriber, None)
        if not detach(entry, subscriber):
            return False
        self._late.pop(entry.task_id, None)
        self._last_seen.pop(entry.task_id, None)
        return True

    def forget(self) -> None:
        """Forget all tasks."""
        self._late, self._last_seen = {}, OrderedDict()

    def last_known(self, entry: Entry) -> Task | None:
        """Return a task as it was last seen, at least its ID, status and action; None if it never was."""
        return self._last_known(entry, self._last_seen)

    def _last_known(self, entry: Entry, last_seen: Mapping[str, dict[str, Any]]) -> Task | None:
        if entry.status is None:
            return None
        sketch = {
            "region_id": self._region_id,
            "task_id": entry.task_id,
            "task_status": entry.status,
            "task_action": entry.action,
        }
        return Task(**last_seen.get(entry.task_id, sketch))

    # -- reports ------------------------------------------------------------------------------------------------------

    def changed(self, changes: Iterable[tuple[Entry, Task, bool]]) -> list[tuple[Entry, Task]]:
        """Report tasks, each with whether its status is new; one that is not new only to late subscribers.

        Returns:
            Those that have finished.
        """
        finished: list[tuple[Entry, Task]] = []
        others: list[tuple[Entry, Task, bool]] = []
        by_subscriber: defaultdict[Subscriber, list[Task]] = defaultdict(list)
        for entry, task, is_new in changes:
            if self._reports_changes:
                self._report_change(entry, task, is_new=is_new)
            if task.task_status == _FINISHED:
                finished.append((entry, task))
                for subscriber in subscribers_of(entry):
                    by_subscriber[subscriber].append(task)
            else:
                others.append((entry, task, is_new))
        for subscriber, tasks in by_subscriber.items():
            subscriber.tasks_finished(tasks)
        if finished:
            self._note_ended("finished", finished)
        for entry, task, is_new in others:
            self._report_other(entry, task, is_new=is_new)
        return finished

    def gone(self, entry: Entry) -> None:
        """Report that a task's grace is over: the region does not know it."""
        self.error(entry, TaskNotFoundError(entry.task_id, self._region_id, self.last_known(entry)))

    def error(self, entry: Entry, error: EcsWaiterError) -> None:
        """Report the error that ended the wait for one task."""
        self._late.pop(entry.task_id, None)
        outcome, task, last_known = "error", None, self.last_known(entry)
        if isinstance(error, TaskError):
            outcome, task = "canceled" if isinstance(error, TaskCanceledError) else "not_found", error.task
        self._note_ended(outcome, [(entry, task)])
        notify_failed(subscribers_of(entry), entry.task_id, error, task=last_known)

    def all_failed(self, entries: dict[str, Entry], error: EcsWaiterError) -> None:
        """Report the region's error for all its tasks, one copy for each subscriber, and empty `entries`."""
        last_seen, copies = self._last_seen, dict[int, EcsWaiterError]()
        self.forget()

        def notify(task_ids: list[str]) -> None:
            for task_id in task_ids:
                entry = entries.pop(task_id)
                task = self._last_known(entry, last_seen) if self._reports_changes else None
                notify_failed(subscribers_of(entry), task_id, error, is_regional=True, task=task, copies=copies)

        in_slices(list(entries), notify)

    def _report_change(self, entry: Entry, task: Task, *, is_new: bool) -> None:
        late = self._late.pop(entry.task_id, ())
        for subscriber in subscribers_of(entry) if is_new else late:
            if subscriber.wants_changes:
                subscriber.task_changed(task)

    def _report_other(self, entry: Entry, task: Task, *, is_new: bool) -> None:
        """Report a task that goes on, has failed or was canceled."""
        status = task.task_status
        if status == _FAILED:
            self._note_ended("failed", [(entry, task)])
            self._details.add(task, subscribers_of(entry))
        elif status in FINAL_STATUSES:
            self.error(entry, TaskCanceledError(task))
        else:
            if is_new and _tasks_log.isEnabledFor(logging.DEBUG):
                word = escape_control(status)
                fields = {"region_id": self._region_id, "task_id": entry.task_id, "task_status": word}
                _tasks_log.debug("task %s in %s: %s", entry.task_id, self._region_id, word, extra=fields)
            self._last_seen[entry.task_id] = vars(task)
            self._last_seen.move_to_end(entry.task_id)
            if len(self._last_seen) > _MOST_KEPT:
                self._last_seen.popitem(last=False)
            self._unknown_statuses.note(task)

    def _note_ended(self, outcome: str, ended: Sequence[tuple[Entry, Task | None]]) -> None:
        """Count and log tasks that have ended, and report them to telemetry."""
        self.ended += len(ended)
        for entry, _ in ended if self._last_seen else ():
            self._last_seen.pop(entry.task_id, None)
        if _tasks_log.isEnabledFor(logging.INFO):
            for entry, task in ended:
                _log_ended(self._region_id, entry.task_id, outcome, task)
        if self._observer is not None:
            now = self._clock.time()
            watched = [math.inf if entry.status is not None else now - entry.created_at for entry, _ in ended]
            tasks = [task for _, task in ended]
            self._observer.settled(self._region_id, outcome, tasks, watched, self.service_clock)


def _log_ended(region_id: str, task_id: str, outcome: str, task: Task | None) -> None:
    fields = {
        "region_id": region_id,
        "task_id": task_id,
        "outcome": outcome,
        "task_status": None if task is None else escape_control(task.task_status),
        "task_action": None if task is None else escape_control(task.task_action),
        "resource_id": None if task is None else escape_control(task.resource_id),
    }
    _tasks_log.info("task %s in %s: %s", task_id, region_id, outcome, extra=fields)


class UnknownStatuses:
    """Logs each status that the documentation does not name once per waiter, and 20 of them at most."""

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def note(self, task: Task) -> None:
        """Log the task's status if it is unknown and new."""
        word = task.task_status
        if isinstance(word, TaskStatus) or word in self._logged or len(self._logged) >= _MOST_UNKNOWN:
            return
        self._logged.add(word)
        _log.warning(
            "unknown status %r for task %s in %s; still polling%s",
            escape_control(word)[:100],
            escape_control(task.task_id),
            task.region_id,
            "; further unknown words are not logged" if len(self._logged) == _MOST_UNKNOWN else "",
        )
