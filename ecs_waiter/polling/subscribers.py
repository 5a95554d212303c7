"""Subscriber: what waits for tasks, as the poller sees it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ecs_waiter.errors import EcsWaiterError
    from ecs_waiter.models import Task
    from ecs_waiter.polling.batch import Entry

__all__ = ["Copies", "Subscriber", "attach", "detach", "subscribers_of"]


class Subscriber(Protocol):
    """Waits for one task or for many. Nothing here may raise or call back into the poller."""

    @property
    def wants_changes(self) -> bool:
        """Whether `task_changed` is wanted."""
        ...

    @property
    def needs_detail(self) -> bool:
        """Whether a failure is reported with the service's details, which costs a look-up."""
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


def attach(entry: Entry, subscriber: Subscriber) -> None:
    """Have a subscriber told about an entry. Most entries have one: an ordered set is made for the second only."""
    held = entry.subscribers
    if held is None:
        entry.subscribers = subscriber
    elif isinstance(held, dict):
        held[subscriber] = None
    else:
        entry.subscribers = {held: None, subscriber: None}


def detach(entry: Entry, subscriber: Subscriber) -> bool:
    """Have a subscriber told no more; whether nobody is left."""
    held = entry.subscribers
    if held is subscriber:
        entry.subscribers = None
    elif isinstance(held, dict):
        held.pop(subscriber, None)
    return not entry.subscribers


def subscribers_of(entry: Entry) -> Iterable[Subscriber]:
    """Those who are told about an entry, as of now."""
    held = entry.subscribers
    if held is None:
        return ()
    return tuple(held) if isinstance(held, dict) else (held,)


class Copies:
    """Copies of one error, one for each subscriber, so that each has its own traceback."""

    def __init__(self, error: EcsWaiterError) -> None:
        self._error = error
        self._copies: dict[int, EcsWaiterError] = {}

    def copy_for(self, subscriber: Subscriber) -> EcsWaiterError:
        """The copy that is this subscriber's, the same for each of its tasks."""
        key = id(subscriber)
        if key not in self._copies:
            self._copies[key] = copy.copy(self._error)
        return self._copies[key]
