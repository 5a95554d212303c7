"""Tasks on the wire: the query for up to 100 IDs, and the reader of the rows that the service answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ecs_waiter.api.answers import _rows_in, _unreadable, task_of, total_of
from ecs_waiter.api.signing import canonical_query
from ecs_waiter.models import TaskStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ecs_waiter.api.transport import Answer
    from ecs_waiter.models import Task

__all__ = ["FINAL_STATUSES", "PollAnswer", "poll_answer", "poll_query"]

FINAL_STATUSES = frozenset({TaskStatus.FINISHED, TaskStatus.FAILED, *filter(lambda word: word.is_canceled, TaskStatus)})
"""The statuses of tasks that have ended."""

_KNOWN_STATUSES: dict[str, str] = {status.value: status for status in TaskStatus}


class PollAnswer:
    """What one DescribeTasks answer says about the tasks that were asked for.

    Attributes:
        statuses: The status of each task by its ID, as the service wrote it. If several rows of one ID contradict each
            other, the first row that says that the task has ended is used, otherwise the last row.
        row_count: Readable rows, those of repeated IDs included.
        unread: Rows that could not be read or have no status.
        total_count: How many tasks the service says there are, if it does. It is more than `row_count` if the answer is
            cut short.
        date: The service's clock in seconds since the epoch, if the answer has a date.
    """

    __slots__ = ("_region_id", "_rows", "_tasks", "date", "row_count", "statuses", "total_count", "unread")

    def __init__(
        self, region_id: str, rows: Iterable[object], *, total_count: int | None, date: float | None = None
    ) -> None:
        self._region_id = region_id
        self._rows: dict[str, dict[str, Any]] = {}
        self._tasks: dict[str, Task] = {}
        self.statuses: dict[str, str] = {}
        self.row_count = self.unread = 0
        self.total_count = total_count
        self.date = date
        for row in rows:
            self._add(row)

    def __repr__(self) -> str:
        return f"PollAnswer({self._region_id!r}, {self.row_count} rows, {self.unread} unread)"

    def _add(self, row: object) -> None:
        if not isinstance(row, dict) or not isinstance(task_id := row.get("TaskId"), str):
            self.unread += 1
            return
        status = row.get("TaskStatus")
        if not status or not isinstance(status, str):
            self.unread += 1
            return
        self.row_count += 1
        if self.statuses.get(task_id) not in FINAL_STATUSES:
            # One shared string for each known status: a string per waiting task would cost memory.
            self.statuses[task_id] = _KNOWN_STATUSES.get(status, status)
            self._rows[task_id] = row

    def task(self, task_id: str) -> Task:
        """Return the task of a listed ID. It is validated on first use, because most rows of an answer are unchanged.

        Raises:
            KeyError: The answer does not list this ID.
        """
        task = self._tasks.get(task_id)
        if task is None:
            task = task_of(self._region_id, self._rows[task_id])
            assert task is not None  # noqa: S101 - the row has an ID
            self._tasks[task_id] = task
        return task

    def age_of(self, task_id: str) -> float | None:
        """Return the seconds since a task's creation by the service's clock; None if the answer does not say."""
        created = self.task(task_id).creation_time
        return None if created is None or self.date is None else max(0.0, self.date - created.timestamp())


def poll_query(region_id: str, task_ids: Sequence[str]) -> str:
    """Return the query that asks for up to 100 checked IDs, in sorted order so that equal polls are equal requests."""
    return canonical_query(
        {
            "PageNumber": "1",
            "PageSize": str(len(task_ids)),
            "RegionId": region_id,
            "TaskIds": ",".join(sorted(task_ids)),
        }
    )


def poll_answer(region_id: str, answer: Answer) -> PollAnswer:
    """Return what a DescribeTasks answer says.

    Raises:
        ServiceUnavailableError: It holds no set of tasks, or no row of it can be read. Nothing is known about the tasks
            asked for in that case, so they are not absent.
    """
    rows = _rows_in(answer)
    read = PollAnswer(region_id, rows, total_count=total_of(answer), date=answer.date)
    if rows and not read.row_count:
        has_id = any(isinstance(row, dict) and isinstance(row.get("TaskId"), str) for row in rows)
        raise _unreadable(answer, "a row with a status" if has_id else "a row that can be read")
    return read
