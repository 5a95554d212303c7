"""Teller: who is told what of one region's tasks - changes, ends and errors, each to those who wait."""

from __future__ import annotations

import asyncio
import weakref
from collections import defaultdict
from typing import TYPE_CHECKING, Any, TypeAlias

from ecs_waiter.errors import EcsWaiterError, TaskCanceledError, TaskError, TaskNotFoundError
from ecs_waiter.models import Task, TaskStatus
from ecs_waiter.polling.schedule import is_settled
from ecs_waiter.polling.transitions import log_finished, log_seen, log_settled
from ecs_waiter.polling.watch import Copies, Watcher, attach, detach, watchers_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from ecs_waiter.polling.batch import Entry
    from ecs_waiter.polling.observer import Observer
    from ecs_waiter.polling.odd_words import OddWords
    from ecs_waiter.polling.reasons import Reasons
    from ecs_waiter.polling.schedule import Change

__all__ = ["Teller"]

_SLICE = 2_000
# Names of ours, for the enum looks its own up by Python code.
_FINISHED, _FAILED = TaskStatus.FINISHED, TaskStatus.FAILED
_MOST_KEPT = 500
"""Tasks that are kept as last seen, for the error of one that vanishes; of more, only the status is."""


class Teller:
    """Tells the watchers of one region what became of their tasks.

    Args:
        region_id: The region.
        reasons: Who tells of failures, with the service's reason.
        odd_words: Who logs statuses that the documentation does not name.
        observer: Told of each task that settled.

    Attributes:
        settled: Tasks that have ended.
        service_clock: The service's clock at its last answer, in seconds since the epoch, where it said.
    """

    def __init__(self, region_id: str, reasons: Reasons, odd_words: OddWords, observer: Observer | None) -> None:
        self._region_id = region_id
        self._reasons = reasons
        self._odd_words = odd_words
        self._observer = observer
        self._late: dict[str, dict[Watcher, None]] = {}
        # By ID; the fields alone, for a whole Task holds three times as much.
        self._last_seen: dict[str, dict[str, Any]] = {}
        self._shows_changes = False
        self._once: weakref.WeakSet[Watcher] = weakref.WeakSet()
        self.settled = 0
        self.service_clock: float | None = None

    def __len__(self) -> int:
        """What is kept of tasks that are waited for: how they were last seen, and who joined late."""
        return len(self._late) + len(self._last_seen)

    @property
    def looks_once(self) -> bool:
        """Whether anybody waits for one look only."""
        return bool(self._once)

    # -- who is told --------------------------------------------------------------------------------------------------

    def joins(self, watcher: Watcher) -> None:
        """A watcher is about to be told of tasks."""
        if watcher.looks_once:
            self._once.add(watcher)
        if watcher.sees_changes:
            self._shows_changes = True

    def attach(self, entries: Iterable[Entry], watcher: Watcher) -> Sequence[Entry]:
        """Have a watcher told of tasks; those it joins late, and is to be shown the present state of."""
        for entry in entries:
            attach(entry, watcher)
        if not watcher.sees_changes:
            return ()
        late = [entry for entry in entries if entry.status is not None]
        for entry in late:
            self._late.setdefault(entry.task_id, {})[watcher] = None
        return late

    def detach(self, entry: Entry, watcher: Watcher) -> bool:
        """Have a watcher told no more; whether nobody is left."""
        if entry.task_id in self._late:
            self._late[entry.task_id].pop(watcher, None)
        if not detach(entry, watcher):
            return False
        self._late.pop(entry.task_id, None)
        self._last_seen.pop(entry.task_id, None)
        return True

    # -- what is told -------------------------------------------------------------------------------------------------

    def changes(self, changes: Iterable[Change], tasks: Sequence[Task]) -> None:
        """Tell what an answer says of its tasks: all who wait, or only those who joined late of one that is not new."""
        finished: list[Task] = []
        by_watcher: defaultdict[Watcher, list[Task]] = defaultdict(list)
        others: list[tuple[Entry, Task, bool]] = []
        for entry, index, is_new in changes:
            task = tasks[index]
            if self._shows_changes:
                self._show(entry, task, is_new=is_new)
            if task.task_status == _FINISHED:
                finished.append(task)
                # Most have one who waits, and few are worth a call for each.
                held = entry.watchers
                if isinstance(held, dict):
                    for watcher in held:
                        by_watcher[watcher].append(task)
                elif held is not None:
                    by_watcher[held].append(task)
            else:
                others.append((entry, task, is_new))
        for watcher, theirs in by_watcher.items():
            watcher.tasks_finished(theirs)
        if finished:
            self._note_finished(finished)
        for entry, task, is_new in others:
            self._other(entry, task, is_new=is_new)

    def gone(self, entry: Entry) -> None:
        """Tell that a task's grace is over: the region does not know it."""
        last = None if entry.status is None else self._last_known(entry)
        self.error(entry, TaskNotFoundError(entry.task_id, self._region_id, last))

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
        for watcher in watchers_of(entry):
            watcher.task_failed(entry.task_id, copies.for_(watcher), is_regional=False)

    def looked_at(self, entries: Iterable[Entry]) -> None:
        """Tell that a call that asked about these has come back, to those who want no more than one look."""
        for entry in entries:
            for watcher in watchers_of(entry):
                if watcher.looks_once:
                    watcher.task_looked_at(entry.task_id)

    def all_failed(
        self, entries: list[Entry], error: EcsWaiterError, spawn: Callable[[Coroutine[Any, Any, None]], object]
    ) -> None:
        """Tell everybody the one error of the region: once for each of those who wait, a crowd slice by slice."""
        self._late.clear()
        self._last_seen.clear()
        crowd: _Crowd = []
        for entry in entries:
            crowd.append((entry.task_id, watchers_of(entry)))
            # Now: whoever comes before the others are told may be given this very entry.
            entry.watchers = None
        copies = Copies(error)
        _tell_failed(crowd[:_SLICE], copies)
        if len(crowd) > _SLICE:
            spawn(_tell_the_rest(crowd, copies))

    # -- inside -------------------------------------------------------------------------------------------------------

    def _show(self, entry: Entry, task: Task, *, is_new: bool) -> None:
        late = self._late.pop(entry.task_id, ())
        for watcher in watchers_of(entry) if is_new else late:
            if watcher.sees_changes:
                watcher.task_changed(task)

    def _note_finished(self, tasks: list[Task]) -> None:
        self.settled += len(tasks)
        if self._last_seen:
            for task in tasks:
                self._last_seen.pop(task.task_id, None)
        log_finished(self._region_id, tasks)
        if self._observer is not None:
            self._observer.settled(self._region_id, "finished", tasks, self.service_clock)

    def _other(self, entry: Entry, task: Task, *, is_new: bool) -> None:
        """A task that goes on, or that has ended otherwise than it was meant to."""
        status = task.task_status
        if status == _FAILED:
            self._note(entry, "failed", task)
            self._reasons.add(task, watchers_of(entry))
        elif is_settled(status):
            self.error(entry, TaskCanceledError(task))
        else:
            if is_new:
                log_seen(self._region_id, entry.task_id, status)
            if entry.task_id in self._last_seen or len(self._last_seen) < _MOST_KEPT:
                self._last_seen[entry.task_id] = vars(task)
            self._odd_words.note(task)

    def _note(self, entry: Entry, outcome: str, task: Task | None) -> None:
        self.settled += 1
        self._last_seen.pop(entry.task_id, None)
        log_settled(self._region_id, entry.task_id, outcome, task)
        if self._observer is not None:
            self._observer.settled(self._region_id, outcome, (task,), self.service_clock)

    def _last_known(self, entry: Entry) -> Task:
        """A task as it was last seen; of one that was not kept, what the schedule knows by itself."""
        sketch = {"region_id": self._region_id, "task_id": entry.task_id, "task_status": entry.status or ""}
        return Task(**self._last_seen.get(entry.task_id, sketch))


_Crowd: TypeAlias = "list[tuple[str, Iterable[Watcher]]]"


async def _tell_the_rest(crowd: _Crowd, copies: Copies) -> None:
    """Tell a crowd slice by slice, so that the loop breathes."""
    for start in range(_SLICE, len(crowd), _SLICE):
        await asyncio.sleep(0)
        _tell_failed(crowd[start : start + _SLICE], copies)


def _tell_failed(crowd: _Crowd, copies: Copies) -> None:
    for task_id, watchers in crowd:
        for watcher in watchers:
            watcher.task_failed(task_id, copies.for_(watcher), is_regional=True)
