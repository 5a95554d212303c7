"""Subscriber and Observer: what a poller reports to - waits for tasks, and telemetry."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ecs_waiter.errors import EcsWaiterError
    from ecs_waiter.models import Task
    from ecs_waiter.polling.batch import Entry

__all__ = ["Observer", "Subscriber", "attach", "detach", "notify_failed", "subscribers_of"]


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

    def task_failed(self, task_id: str, error: EcsWaiterError, *, is_regional: bool, task: Task | None) -> None:
        """The task has failed, or the wait for it has; `is_regional` if the error ended all waits of the region.

        `task` is its last known state, if the error has none of its own and the subscriber wants changes.
        """
        ...


class Observer(Protocol):
    """Telemetry, called in the poller's own tasks. Nothing here may raise or call back into the poller."""

    def served(self, subscribers: Iterable[Subscriber]) -> None:
        """A call made for these has ended in the running task, and none of them was notified so far."""
        ...

    def settled(
        self,
        region_id: str,
        outcome: str,
        tasks: Sequence[Task | None],
        watched: Sequence[float],
        date: float | None,
    ) -> None:
        """Tasks have ended.

        Args:
            region_id: Their region.
            outcome: finished, failed, canceled, not_found, or error where the service rejected an ID.
            tasks: The last state of each, where it is known.
            watched: For how many seconds each was waited for; infinite for one that was seen running.
            date: The service's clock in that answer, in seconds since the epoch; None without a `Date`.
        """
        ...


def attach(entry: Entry, subscriber: Subscriber) -> None:
    """Have a subscriber notified about an entry. Most entries have one: only the second makes an ordered set."""
    held = entry.subscribers
    if held is None:
        entry.subscribers = subscriber
    elif isinstance(held, dict):
        held[subscriber] = None
    else:
        entry.subscribers = {held: None, subscriber: None}


def detach(entry: Entry, subscriber: Subscriber) -> bool:
    """Stop notifying a subscriber; return whether no subscriber is left."""
    held = entry.subscribers
    if held is subscriber:
        entry.subscribers = None
    elif isinstance(held, dict):
        held.pop(subscriber, None)
    return not entry.subscribers


def subscribers_of(entry: Entry) -> Sequence[Subscriber]:
    """Return the subscribers of an entry."""
    held = entry.subscribers
    if held is None:
        return ()
    return tuple(held) if isinstance(held, dict) else (held,)


def notify_failed(  # noqa: PLR0913 - what a subscriber gets
    subscribers: Iterable[Subscriber],
    task_id: str,
    error: EcsWaiterError,
    *,
    is_regional: bool = False,
    task: Task | None = None,
    copies: dict[int, EcsWaiterError] | None = None,
) -> None:
    """Report an error to subscribers, each of which gets a copy, so that tracebacks do not grow in a shared one.

    Args:
        subscribers: Who is notified.
        task_id: The task.
        error: Its error.
        is_regional: Whether the error ended all waits of the region.
        task: The task's last known state.
        copies: The copies made for earlier tasks, by the `id` of their subscriber.
    """
    copies = {} if copies is None else copies
    for subscriber in subscribers:
        if id(subscriber) not in copies:
            copies[id(subscriber)] = copy.copy(error)
        subscriber.task_failed(task_id, copies[id(subscriber)], is_regional=is_regional, task=task)
