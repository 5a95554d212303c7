"""Watcher: who is told about a task; the poller knows no more of those who wait than this."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ecs_waiter.errors import EcsWaiterError
    from ecs_waiter.models import Task
    from ecs_waiter.polling.batch import Entry

__all__ = ["Copies", "Watcher", "attach", "detach", "watchers_of"]


class Watcher(Protocol):
    """One who waits for one task or for many. Nothing here may raise or call back into the poller."""

    @property
    def sees_changes(self) -> bool:
        """Whether `task_changed` is wanted."""
        ...

    @property
    def needs_reason(self) -> bool:
        """Whether a failure is to be told with the service's reason, which costs a look-up."""
        ...

    @property
    def looks_once(self) -> bool:
        """Whether `task_looked_at` is wanted."""
        ...

    def task_changed(self, task: Task) -> None:
        """The task was seen for the first time, or in another status than before."""
        ...

    def tasks_finished(self, tasks: Sequence[Task]) -> None:
        """These tasks have finished."""
        ...

    def task_failed(self, task_id: str, error: EcsWaiterError, *, is_regional: bool) -> None:
        """The task has ended otherwise, or the wait for it has; `is_regional` if that ended all of the region's."""
        ...

    def task_looked_at(self, task_id: str) -> None:
        """A call that asked about the task has come back, well or not, and the task has not settled."""
        ...


def attach(entry: Entry, watcher: Watcher) -> None:
    """Have a watcher told about an entry. Most entries have one: an ordered set is made for the second only."""
    held = entry.watchers
    if held is None:
        entry.watchers = watcher
    elif isinstance(held, dict):
        held[watcher] = None
    else:
        entry.watchers = {held: None, watcher: None}


def detach(entry: Entry, watcher: Watcher) -> bool:
    """Have a watcher told no more; whether nobody is left."""
    held = entry.watchers
    if held is watcher:
        entry.watchers = None
    elif isinstance(held, dict):
        held.pop(watcher, None)
    return not entry.watchers


def watchers_of(entry: Entry) -> Iterable[Watcher]:
    """Those who are told about an entry, as of now."""
    held = entry.watchers
    if held is None:
        return ()
    return tuple(held) if isinstance(held, dict) else (held,)


class Copies:
    """One error told to many: each watcher gets a copy of its own, so that their tracebacks do not pile up in one."""

    def __init__(self, error: EcsWaiterError) -> None:
        self._error = error
        self._copies: dict[int, EcsWaiterError] = {}

    def for_(self, watcher: Watcher) -> EcsWaiterError:
        """The copy that is this watcher's, the same for each of its tasks."""
        key = id(watcher)
        if key not in self._copies:
            self._copies[key] = copy.copy(self._error)
        return self._copies[key]
