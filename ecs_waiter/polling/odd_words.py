"""OddWords: statuses that the documentation does not name, logged once each."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ecs_waiter.models import TaskStatus
from ecs_waiter.printable import printable

if TYPE_CHECKING:
    from ecs_waiter.models import Task

__all__ = ["OddWords"]

logger = logging.getLogger("ecs_waiter")


class OddWords:
    """The words one waiter has met; a flood of them does not flood the log."""

    _MOST = 20

    def __init__(self) -> None:
        self._words: set[str] = set()

    def note(self, task: Task) -> None:
        """Log the task's status if it is odd and new."""
        word = task.task_status
        if isinstance(word, TaskStatus) or word in self._words or len(self._words) >= self._MOST:
            return
        self._words.add(word)
        logger.warning(
            "unknown status %r for task %s in %s; still polling%s",
            printable(word)[:100],
            printable(task.task_id),
            task.region_id,
            "; further unknown words are not logged" if len(self._words) == self._MOST else "",
        )
