"""What the poller reads today."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ecs_waiter.models import Task

__all__ = ["Snapshot", "age_of"]


@dataclass(slots=True, eq=False)
class Snapshot:
    """One answer to a poll."""

    tasks: list[Task]
    total_count: int | None
    date: float | None
    fingerprint: int
    unread: int = 0


def age_of(task: Task, date: float | None) -> float | None:
    """Return the seconds since a task was created, by the service's own clock; None if it does not say."""
    created = task.creation_time
    return None if created is None or date is None else max(0.0, date - created.timestamp())
