"""Teller: who is told what of one region's tasks - changes, ends and errors, each to those who wait."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Any, TypeAlias

from ecs_waiter.api.answers import task_of
from ecs_waiter.errors import EcsWaiterError, TaskCanceledError, TaskError, TaskNotFoundError
from ecs_waiter.models import Task, TaskStatus
from ecs_waiter.polling.schedule import is_settled
from ecs_waiter.polling.transitions import log_seen, log_settled
from ecs_waiter.polling.watch import Copies, Watcher, attach, detach, watchers_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from ecs_waiter.polling.batch import Entry
    from ecs_waiter.polling.observer import Observer
    from ecs_waiter.polling.odd_words import OddWords
    from ecs_waiter.polling.reasons import Reasons

__all__ = ["Teller"]

_SLICE = 2_000
_ROWS_KEPT = 1_000
"""Tasks whose last row is kept, for the error of one that vanishes; of more, only the status is."""

_DOCUMENTED = frozenset(TaskStatus)


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
        self._last_rows: dict[str, Any] = {}
        self._shows_changes = False
        self._once: weakref.WeakSet[Watcher] = weakref.WeakSet()
        self.settled = 0
        self.service_clock: float | None = None

    def __len__(self) -> int:
        """What is kept of tasks that are waited for: their last rows, and who joined late."""
        return len(self._late) + len(self._last_rows)

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

    def attach(self, entry: Entry, watcher: Watcher) -> bool:
        """Have a watcher told of a task; whether it joins late, and is to be shown the task's present state."""
        attach(entry, watcher)
        if entry.status is None or not watcher.sees_changes:
            return False
        self._late.setdefault(entry.task_id, {})[watcher] = None
        return True

    def detach(self, entry: Entry, watcher: Watcher) -> bool:
        """Have a watcher told no more; whether nobody is left."""
        if entry.task_id in self._late:
            self._late[entry.task_id].pop(watcher, None)
        if not detach(entry, watcher):
            return False
        self._late.pop(entry.task_id, None)
        self._last_rows.pop(entry.task_id, None)
        return True

    # -- what is told -------------------------------------------------------------------------------------------------

    def change(self, entry: Entry, row: Any, *, is_new: bool) -> None:
        """Tell what an answer's row says of a task: all who wait, or only those who joined late if it is not new."""
        late = self._late.pop(entry.task_id, ()) if self._late else ()
        seen = [w for w in (watchers_of(entry) if is_new else late) if w.sees_changes] if self._shows_changes else ()
        status = entry.status or ""
        is_over = is_settled(status)
        if not is_over:
            if is_new:
                log_seen(self._region_id, entry.task_id, status)
            self._keep(entry, row)
            if not seen and status in _DOCUMENTED:
                return
        elif self._last_rows:
            self._last_rows.pop(entry.task_id, None)
        task = task_of(self._region_id, row) or self._sketch(entry)
        for watcher in seen:
            watcher.task_changed(task)
        if status == TaskStatus.FINISHED:
            self._finished(entry, task)
        elif status == TaskStatus.FAILED:
            self._note(entry, "failed", task)
            self._reasons.add(task, watchers_of(entry))
        elif is_over:
            self.error(entry, TaskCanceledError(task))
        elif status not in _DOCUMENTED:
            self._odd_words.note(task)

    def gone(self, entry: Entry) -> None:
        """Tell that a task's grace is over: the region does not know it."""
        row = self._last_rows.pop(entry.task_id, None)
        last = None if entry.status is None else task_of(self._region_id, row) or self._sketch(entry)
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
            watcher.task_settled(entry.task_id, copies.for_(watcher), is_regional=False)

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
        self._last_rows.clear()
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

    def _finished(self, entry: Entry, task: Task) -> None:
        self._note(entry, "finished", task)
        for watcher in watchers_of(entry):
            watcher.task_settled(entry.task_id, task, is_regional=False)

    def _note(self, entry: Entry, outcome: str, task: Task | None) -> None:
        self.settled += 1
        log_settled(self._region_id, entry.task_id, outcome, task)
        if self._observer is not None:
            self._observer.settled(self._region_id, outcome, task, self.service_clock)

    def _keep(self, entry: Entry, row: Any) -> None:
        if entry.task_id in self._last_rows or len(self._last_rows) < _ROWS_KEPT:
            self._last_rows[entry.task_id] = row

    def _sketch(self, entry: Entry) -> Task:
        """What the schedule knows of a task by itself."""
        return Task(region_id=self._region_id, task_id=entry.task_id, task_status=entry.status or "")


_Crowd: TypeAlias = "list[tuple[str, Iterable[Watcher]]]"


async def _tell_the_rest(crowd: _Crowd, copies: Copies) -> None:
    """Tell a crowd slice by slice, so that the loop breathes."""
    for start in range(_SLICE, len(crowd), _SLICE):
        await asyncio.sleep(0)
        _tell_failed(crowd[start : start + _SLICE], copies)


def _tell_failed(crowd: _Crowd, copies: Copies) -> None:
    for task_id, watchers in crowd:
        for watcher in watchers:
            watcher.task_settled(task_id, copies.for_(watcher), is_regional=True)
