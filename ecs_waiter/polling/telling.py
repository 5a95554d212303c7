"""Teller: who is told what of one region's tasks - changes, ends and errors, each to those who wait."""

from __future__ import annotations

import math
from collections import OrderedDict, defaultdict
from typing import TYPE_CHECKING, Any

from ecs_waiter.errors import EcsWaiterError, TaskCanceledError, TaskError, TaskNotFoundError
from ecs_waiter.models import Task, TaskStatus
from ecs_waiter.polling.schedule import is_settled
from ecs_waiter.polling.subscribers import Copies, Subscriber, attach, detach, subscribers_of
from ecs_waiter.polling.transitions import log_finished, log_seen, log_settled
from ecs_waiter.slices import do_in_slices

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ecs_waiter.polling.batch import Entry
    from ecs_waiter.polling.observer import Observer
    from ecs_waiter.polling.odd_words import OddWords
    from ecs_waiter.polling.reasons import Reasons
    from ecs_waiter.polling.schedule import Change
    from ecs_waiter.running_clock import RunningClock

__all__ = ["Teller"]

# Names of ours, for the enum looks its own up by Python code.
_FINISHED, _FAILED = TaskStatus.FINISHED, TaskStatus.FAILED
_MOST_KEPT = 500
"""Tasks of a region that are kept with all fields: those that changed last. Of others, status and action are kept."""
_LONGEST_ACTION = 100


class Teller:
    """Tells the subscribers of one region what became of their tasks.

    Args:
        region_id: The region.
        reasons: Who tells of failures, with the service's reason.
        clock: The time that the entries know.
        odd_words: Who logs statuses that the documentation does not name.
        observer: Told of each task that settled.

    Attributes:
        settled: Tasks that have ended.
        service_clock: The service's clock at its last answer, in seconds since the epoch, where it said.
    """

    def __init__(
        self, region_id: str, reasons: Reasons, clock: RunningClock, odd_words: OddWords, observer: Observer | None
    ) -> None:
        self._region_id = region_id
        self._reasons = reasons
        self._clock = clock
        self._odd_words = odd_words
        self._observer = observer
        self._late: dict[str, dict[Subscriber, None]] = {}
        # By ID; the fields alone, for a whole Task holds three times as much.
        self._last_seen: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._shows_changes = False
        self.settled = 0
        self.service_clock: float | None = None

    def __len__(self) -> int:
        """What is kept of tasks that are waited for: how they were last seen, and who joined late."""
        return len(self._late) + len(self._last_seen)

    # -- who is told --------------------------------------------------------------------------------------------------

    def joins(self, subscriber: Subscriber) -> None:
        """A subscriber is about to be told of tasks."""
        if subscriber.wants_changes:
            self._shows_changes = True

    def attach(self, entries: Iterable[Entry], subscriber: Subscriber) -> Sequence[Entry]:
        """Have a subscriber told of tasks; those it joins late, and is to be shown the present state of."""
        for entry in entries:
            attach(entry, subscriber)
        if not subscriber.wants_changes:
            return ()
        late = [entry for entry in entries if entry.status is not None]
        for entry in late:
            self._late.setdefault(entry.task_id, {})[subscriber] = None
        return late

    def detach(self, entry: Entry, subscriber: Subscriber) -> bool:
        """Have a subscriber told no more; whether nobody is left."""
        if entry.task_id in self._late:
            self._late[entry.task_id].pop(subscriber, None)
        if not detach(entry, subscriber):
            return False
        self._late.pop(entry.task_id, None)
        self._last_seen.pop(entry.task_id, None)
        return True

    def forget(self) -> None:
        """Nobody waits any more."""
        self._late, self._last_seen = {}, OrderedDict()

    def last_known(self, entry: Entry) -> Task | None:
        """A task as it was last seen; None if it never was. At least its ID, status and action are known."""
        if entry.status is None:
            return None
        sketch = {
            "region_id": self._region_id,
            "task_id": entry.task_id,
            "task_status": entry.status,
            "task_action": entry.action,
        }
        return Task(**self._last_seen.get(entry.task_id, sketch))

    # -- what is told -------------------------------------------------------------------------------------------------

    def changes(self, changes: Iterable[Change], tasks: Sequence[Task]) -> None:
        """Tell what an answer says of its tasks: all who wait, or only those who joined late of one that is not new."""
        finished: list[Task] = []
        ended: list[Entry] = []
        by_subscriber: defaultdict[Subscriber, list[Task]] = defaultdict(list)
        others: list[tuple[Entry, Task, bool]] = []
        for entry, index, is_new in changes:
            task = tasks[index]
            if self._shows_changes:
                self._show(entry, task, is_new=is_new)
            if task.task_status == _FINISHED:
                finished.append(task)
                ended.append(entry)
                # Most have one who waits, and few are worth a call for each.
                held = entry.subscribers
                if isinstance(held, dict):
                    for subscriber in held:
                        by_subscriber[subscriber].append(task)
                elif held is not None:
                    by_subscriber[held].append(task)
            else:
                others.append((entry, task, is_new))
        for subscriber, theirs in by_subscriber.items():
            subscriber.tasks_finished(theirs)
        if finished:
            self._note_finished(finished, ended)
        for entry, task, is_new in others:
            self._other(entry, task, is_new=is_new)

    def gone(self, entry: Entry) -> None:
        """Tell that a task's grace is over: the region does not know it."""
        self.error(entry, TaskNotFoundError(entry.task_id, self._region_id, self.last_known(entry)))

    def error(self, entry: Entry, error: EcsWaiterError) -> None:
        """Tell the error that ended the wait for one task."""
        self._late.pop(entry.task_id, None)
        word, task = "error", None
        if isinstance(error, TaskError):
            word, task = "canceled" if isinstance(error, TaskCanceledError) else "not_found", error.task
        self._note(entry, word, task)
        self.only(entry, Copies(error))

    def only(self, entry: Entry, copies: Copies) -> None:
        """Tell an error of one task, and count nothing."""
        for subscriber in subscribers_of(entry):
            subscriber.task_failed(entry.task_id, copies.copy_for(subscriber), is_regional=False)

    def all_failed(self, entries: dict[str, Entry], error: EcsWaiterError) -> None:
        """Report the region's error to everyone who waits, one copy for each, and empty `entries`."""
        late, self._late = self._late, {}
        self._last_seen = OrderedDict()
        copies = Copies(error)

        def notify(piece: list[str]) -> None:
            for task_id in piece:
                late.pop(task_id, None)
                for subscriber in subscribers_of(entries.pop(task_id)):
                    subscriber.task_failed(task_id, copies.copy_for(subscriber), is_regional=True)

        do_in_slices(list(entries), notify)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _show(self, entry: Entry, task: Task, *, is_new: bool) -> None:
        late = self._late.pop(entry.task_id, ())
        for subscriber in subscribers_of(entry) if is_new else late:
            if subscriber.wants_changes:
                subscriber.task_changed(task)

    def _watched(self, entry: Entry) -> float:
        """Seconds for which a task was waited for; infinite once it was seen running."""
        return math.inf if entry.status is not None else self._clock.time() - entry.born

    def _note_finished(self, tasks: list[Task], entries: list[Entry]) -> None:
        self.settled += len(tasks)
        if self._last_seen:
            for task in tasks:
                self._last_seen.pop(task.task_id, None)
        log_finished(self._region_id, tasks)
        if self._observer is not None:
            watched = list(map(self._watched, entries))
            self._observer.settled(self._region_id, "finished", tasks, watched, self.service_clock)

    def _other(self, entry: Entry, task: Task, *, is_new: bool) -> None:
        """A task that goes on, or that has ended otherwise than it was meant to."""
        status = task.task_status
        if status == _FAILED:
            self._note(entry, "failed", task)
            self._reasons.add(task, subscribers_of(entry))
        elif is_settled(status):
            self.error(entry, TaskCanceledError(task))
        else:
            if is_new:
                log_seen(self._region_id, entry.task_id, status)
            entry.see(status, task.task_action[:_LONGEST_ACTION])
            self._last_seen[entry.task_id] = vars(task)
            self._last_seen.move_to_end(entry.task_id)
            if len(self._last_seen) > _MOST_KEPT:
                self._last_seen.popitem(last=False)
            self._odd_words.note(task)

    def _note(self, entry: Entry, outcome: str, task: Task | None) -> None:
        self.settled += 1
        self._last_seen.pop(entry.task_id, None)
        log_settled(self._region_id, entry.task_id, outcome, task)
        if self._observer is not None:
            self._observer.settled(self._region_id, outcome, (task,), (self._watched(entry),), self.service_clock)
