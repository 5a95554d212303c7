"""Transitions of tasks in the log: at DEBUG each status seen, at INFO each end, with their fields in `extra`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ecs_waiter.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ecs_waiter.models import Task

__all__ = ["log_finished", "log_seen", "log_settled"]

logger = logging.getLogger("ecs_waiter.tasks")


def log_seen(region_id: str, task_id: str, status: str) -> None:
    """A task goes on, and was seen for the first time or in another status than before."""
    if logger.isEnabledFor(logging.DEBUG):
        word = printable(status)
        fields = {"region_id": region_id, "task_id": task_id, "task_status": word}
        logger.debug("task %s in %s: %s", task_id, region_id, word, extra=fields)


def log_finished(region_id: str, tasks: Iterable[Task]) -> None:
    """Tasks have finished."""
    if logger.isEnabledFor(logging.INFO):
        for task in tasks:
            log_settled(region_id, task.task_id, "finished", task)


def log_settled(region_id: str, task_id: str, outcome: str, task: Task | None) -> None:
    """A task has ended, in one of the words of `Observer.settled`."""
    if logger.isEnabledFor(logging.INFO):
        fields = {
            "region_id": region_id,
            "task_id": task_id,
            "outcome": outcome,
            "task_status": None if task is None else printable(task.task_status),
            "task_action": None if task is None else printable(task.task_action),
            "resource_id": None if task is None else printable(task.resource_id),
        }
        logger.info("task %s in %s: %s", task_id, region_id, outcome, extra=fields)
