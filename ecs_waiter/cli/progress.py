"""Progress: what is known by now of all that is waited for."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from ecs_waiter.cli.outcomes import Record, Seen, Why, in_order, record_of, status_outcome
from ecs_waiter.errors import EcsWaiterError, TaskFailedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ecs_waiter.cli.task_refs import TaskRef
    from ecs_waiter.models import Task

__all__ = ["Progress"]

_UNSEEN = "unseen"


class Progress:
    """The last known state and the outcome of each task, with running counts.

    It holds some hundred bytes for each: of a task and of an error only what the results need.

    Args:
        refs: The tasks, in the order asked.
    """

    def __init__(self, refs: Sequence[TaskRef]) -> None:
        self.refs = {ref.task_id: ref for ref in refs}
        self.regions: dict[str, list[str]] = {}
        for ref in refs:
            self.regions.setdefault(ref.region_id, []).append(ref.task_id)
        self.settled_in: Counter[str] = Counter()
        # A task's last state until it has its outcome.
        self._known: dict[str, Seen | Record] = {}
        self._outcomes: Counter[str] = Counter()
        self._labels = Counter({_UNSEEN: len(self.refs)})
        self._few: list[TaskRef] | None = None
        # The error that ended a region is that of each of its tasks.
        self._last_why: tuple[EcsWaiterError, Why] | None = None
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
        return self._outcomes.total()

    def counts(self) -> dict[str, int]:
        """Return how many there are of each outcome, and of each status among those without one."""
        return {label: count for label, count in self._labels.most_common() if count}

    def outcomes(self) -> dict[str, int]:
        """Return how many there are of each outcome; those without one are pending."""
        return in_order({**self._outcomes, "pending": len(self) - self.settled})

    def is_settled(self, task_id: str) -> bool:
        """Whether a task has its outcome."""
        return isinstance(self._known.get(task_id), Record)

    def seen(self, task_id: str) -> Seen | None:
        """Return the last known state of a task without an outcome; None if it was never seen."""
        known = self._known.get(task_id)
        return known if isinstance(known, Seen) else None

    def pending(self) -> Iterator[TaskRef]:
        """The tasks without an outcome, in the order asked."""
        return (ref for ref, known in self.states() if not isinstance(known, Record))

    def few_pending(self, most: int) -> list[TaskRef]:
        """Return the tasks without an outcome if they are few, else none."""
        if len(self) - self.settled > most:
            return []
        # Once they are few they are kept, for the others may be a million.
        pending = self.pending() if self._few is None else iter(self._few)
        self._few = [ref for ref in pending if not self.is_settled(ref.task_id)]
        return self._few

    def saw(self, task: Task) -> bool:
        """Note a task's state; whether its status is news of a task that goes on."""
        before = self._known.get(task.task_id)
        if isinstance(before, Record):
            return False
        seen = self._known[task.task_id] = Seen(self.refs[task.task_id], task)
        self._labels[_label(before)] -= 1
        self._labels[_label(seen)] += 1
        return status_outcome(seen) == "pending"

    def settle(self, ref: TaskRef, result: Task | EcsWaiterError) -> Record | None:
        """Note what a wait gave for a task; None if its outcome was known already."""
        before = self._known.get(ref.task_id)
        if isinstance(before, Record):
            return None
        record = record_of(ref, result, before)
        self._known[ref.task_id] = Record(ref, record.outcome, record.task, self._why(record.error))
        self._labels[_label(before)] -= 1
        self._labels[record.outcome] += 1
        self._outcomes[record.outcome] += 1
        self.settled_in[ref.region_id] += 1
        return record

    def settle_known_failures(self) -> list[Record]:
        """Give those that are known to have failed their outcome, though the reason has not come."""
        if not self._labels["failed"] - self._outcomes["failed"]:
            return []
        known = [(ref, self.seen(ref.task_id)) for ref in self.pending()]
        records = (
            self.settle(ref, TaskFailedError(seen.as_task()))
            for ref, seen in known
            if seen and status_outcome(seen) == "failed"
        )
        return [record for record in records if record is not None]

    def record(self, ref: TaskRef) -> Record:
        """Return what is known of a task; without an outcome it is pending."""
        known = self._known.get(ref.task_id)
        return known if isinstance(known, Record) else Record(ref, "pending", known)

    def records(self) -> Iterator[Record]:
        """All tasks in the order asked."""
        return map(self.record, self.refs.values())

    def states(self) -> Iterator[tuple[TaskRef, Seen | Record | None]]:
        """What is known of each task, in the order asked: its outcome, else its last state, else nothing."""
        return zip(self.refs.values(), map(self._known.get, self.refs), strict=True)

    def _why(self, error: EcsWaiterError | Why | None) -> Why | None:
        if not isinstance(error, EcsWaiterError):
            return error
        if self._last_why is None or self._last_why[0] is not error:
            self._last_why = error, Why(error)
        return self._last_why[1]


def _label(known: Seen | Record | None) -> str:
    return _UNSEEN if not isinstance(known, Seen) else str(known.task_status).lower() or _UNSEEN
