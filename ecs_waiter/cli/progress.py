"""Progress: what is known by now of all that is waited for."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from ecs_waiter.cli.outcomes import Record, record_of, status_outcome
from ecs_waiter.errors import TaskFailedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ecs_waiter.cli.task_refs import TaskRef
    from ecs_waiter.errors import EcsWaiterError
    from ecs_waiter.models import Task

__all__ = ["Progress"]

_UNSEEN = "unseen"


class Progress:
    """The last known state and the outcome of each task, with running counts.

    Args:
        refs: The tasks, in the order asked.
    """

    def __init__(self, refs: Sequence[TaskRef]) -> None:
        self.refs = {ref.task_id: ref for ref in refs}
        self.regions: dict[str, list[str]] = {}
        for ref in refs:
            self.regions.setdefault(ref.region_id, []).append(ref.task_id)
        self.tasks: dict[str, Task] = {}
        self.settled_in: Counter[str] = Counter()
        self._records: dict[str, Record] = {}
        self._labels = Counter({_UNSEEN: len(self.refs)})
        self._began = time.monotonic()

    def __len__(self) -> int:
        return len(self.refs)

    @property
    def seconds(self) -> float:
        """Seconds since the wait began."""
        return time.monotonic() - self._began

    @property
    def settled(self) -> int:
        """How many have an outcome."""
        return len(self._records)

    def counts(self) -> dict[str, int]:
        """Return how many there are of each outcome, and of each status among those without one."""
        return {label: count for label, count in self._labels.most_common() if count}

    def pending(self) -> Iterator[TaskRef]:
        """The tasks without an outcome, in the order asked."""
        return (ref for task_id, ref in self.refs.items() if task_id not in self._records)

    def saw(self, task: Task) -> bool:
        """Note a task's state; whether its status is news of a task that goes on."""
        before = self.tasks.get(task.task_id)
        self.tasks[task.task_id] = task
        if task.task_id in self._records:
            return False
        self._labels[_label(before)] -= 1
        self._labels[_label(task)] += 1
        return status_outcome(task) == "pending"

    def settle(self, ref: TaskRef, result: Task | EcsWaiterError) -> Record | None:
        """Note what a wait gave for a task; None if its outcome was known already."""
        if ref.task_id in self._records:
            return None
        seen = self.tasks.get(ref.task_id)
        record = self._records[ref.task_id] = record_of(ref, result, seen)
        self._labels[_label(seen)] -= 1
        self._labels[record.outcome] += 1
        self.settled_in[ref.region_id] += 1
        return record

    def settle_known_failures(self) -> list[Record]:
        """Give those that are known to have failed their outcome, though the reason has not come."""
        known = [(ref, self.tasks.get(ref.task_id)) for ref in self.pending()]
        records = (
            self.settle(ref, TaskFailedError(task)) for ref, task in known if task and status_outcome(task) == "failed"
        )
        return [record for record in records if record is not None]

    def records(self) -> list[Record]:
        """Return all tasks in the order asked; those without an outcome are pending."""
        return [
            self._records.get(task_id) or Record(ref, "pending", self.tasks.get(task_id))
            for task_id, ref in self.refs.items()
        ]


def _label(task: Task | None) -> str:
    return _UNSEEN if task is None else str(task.task_status).lower() or _UNSEEN
