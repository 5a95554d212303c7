"""From the service's answers to our models; an unreadable row affects that row alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ecs_waiter.errors import ServiceUnavailableError
from ecs_waiter.models import Task, TaskDetail, TaskPage
from ecs_waiter.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecs_waiter.api.transport import Answer

__all__ = ["MOST_ROWS", "Snapshot", "age_of", "detail_of", "page_of", "snapshot_of", "task_of", "tasks_in", "total_of"]


MOST_ROWS = 10_000
"""Rows that are read of one answer: a page has a hundred at most, and a flood would hold the loop."""

_read: Callable[[object], Task] = Task.__pydantic_validator__.validate_python
_NAMES = [str(field.validation_alias) for field in Task.model_fields.values()]


@dataclass(slots=True, eq=False)
class Snapshot:
    """One answer to a poll.

    Attributes:
        tasks: The tasks listed.
        total_count: How many the service says there are, where it says; more than `tasks` if the answer is cut short.
        date: The service's clock, in seconds since the epoch, where it says.
        fingerprint: What is the same for an answer that tells the same.
        unread: Rows that could not be read.
    """

    tasks: list[Task]
    total_count: int | None
    date: float | None
    fingerprint: int
    unread: int = 0


def snapshot_of(region_id: str, answer: Answer) -> Snapshot:
    """Return what a DescribeTasks answer lists of the region asked.

    Raises:
        ServiceUnavailableError: It holds no set of tasks, or no row of it can be read.
    """
    if answer.listing is None:
        tasks, rows = tasks_in(region_id, answer)
        total_count = total_of(answer)
    else:
        tasks, count = answer.listing
        rows, total_count = len(tasks), _whole(count)
    # A row without a status says nothing about its task.
    read = [task for task in tasks if task.task_status]
    if tasks and not read:
        raise _unreadable(answer, "a row with a status")
    return Snapshot(read, total_count, answer.date, answer.fingerprint, rows - len(read))


def tasks_in(region_id: str, answer: Answer) -> tuple[list[Task], int]:
    """Return the tasks that a DescribeTasks answer lists, and how many rows it has; some may be unreadable.

    Raises:
        ServiceUnavailableError: It holds no set of tasks, or rows of which none can be read. That is a fault of the
            service: nothing is known of the tasks asked for, so they are not absent.
    """
    rows = _rows_in(answer)
    tasks = [task for row in rows if (task := task_of(region_id, row)) is not None]
    if rows and not tasks:
        raise _unreadable(answer, "a row that can be read")
    return tasks, len(rows)


def _rows_in(answer: Answer) -> list[Any]:
    """The raw rows of a DescribeTasks answer, of any type and shape."""
    found = answer.data.get("TaskSet")
    if isinstance(found, list) and found and all(isinstance(part, dict) and "Task" in part for part in found):
        # The documentation's JSON of 2018 to 2020: a list of one object that holds the list.
        parts = [part["Task"] for part in found]
        rows: object = [row for part in parts for row in (part if isinstance(part, list) else [part])]
    else:
        # Documented as a map with a list; the bare list and a single row have been seen. No rows may be null, or left
        # out, where the service counts none.
        rows = found
        if isinstance(found, dict) and ("Task" in found or not found):
            rows = found.get("Task")
            if rows is None and total_of(answer) == 0:
                rows = []
        if isinstance(rows, dict) and ("TaskId" in rows or rows is not found):
            rows = [rows]
    if not isinstance(rows, list):
        raise _unreadable(answer, "a set of tasks")
    if len(rows) > MOST_ROWS:
        raise _unreadable(answer, f"a page of tasks, but {len(rows)} rows")
    return rows


def total_of(answer: Answer) -> int | None:
    """Return how many tasks a DescribeTasks answer says there are, where it says."""
    return _whole(answer.data.get("TotalCount"))


def task_of(region_id: str, row: object) -> Task | None:
    """The task in a row, in the region asked; None if the row cannot be read."""
    if not isinstance(row, dict) or not isinstance(row.get("TaskId"), str):
        return None
    # By the wire's names alone: a model takes its own names as well.
    return _read({**{name: row[name] for name in _NAMES if name in row}, "RegionId": region_id})


def age_of(task: Task, date: float | None) -> float | None:
    """Return the seconds since a task was created, by the service's own clock; None if it does not say."""
    created = task.creation_time
    return None if created is None or date is None else max(0.0, date - created.timestamp())


def page_of(region_id: str, answer: Answer, *, page_number: int, page_size: int) -> TaskPage:
    """Return a DescribeTasks answer as a page; what the service left out is as asked.

    Raises:
        ServiceUnavailableError: It holds no set of tasks, or no row of it can be read.
    """
    tasks, _ = tasks_in(region_id, answer)
    total_count = total_of(answer)
    return TaskPage(
        tasks=tuple(tasks),
        total_count=len(tasks) if total_count is None else total_count,
        page_number=_whole(answer.data.get("PageNumber")) or page_number,
        page_size=_whole(answer.data.get("PageSize")) or page_size,
        region_id=region_id,
        request_id=_request_id(answer) or "",
    )


def detail_of(region_id: str, task_id: str, answer: Answer) -> TaskDetail:
    """Return a DescribeTaskAttribute answer.

    Raises:
        ServiceUnavailableError: It tells of another task.
    """
    if answer.data.get("TaskId", task_id) != task_id:
        raise _unreadable(answer, "the task asked for")
    return TaskDetail.model_validate({**answer.data, "TaskId": task_id, "RegionId": region_id})


def _unreadable(answer: Answer, what: str) -> ServiceUnavailableError:
    request_id = _request_id(answer)
    shown = None if request_id is None else printable(request_id)
    return ServiceUnavailableError(None, f"the answer does not hold {what}", shown, 200)


def _request_id(answer: Answer) -> str | None:
    request_id = answer.data.get("RequestId")
    return request_id if isinstance(request_id, str) else None


def _whole(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:18])
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
