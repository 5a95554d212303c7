"""From the service's parsed JSON to our models; one unreadable row harms that row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ecs_waiter.errors import ServiceUnavailableError
from ecs_waiter.models import Task, TaskDetail, TaskPage, moment_of
from ecs_waiter.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecs_waiter.api.transport import Answer

__all__ = ["Snapshot", "age_of", "detail_of", "page_of", "snapshot_of", "task_of"]


_read: Callable[[object], Task] = Task.__pydantic_validator__.validate_python


@dataclass(slots=True, eq=False)
class Snapshot:
    """One answer to a poll, its rows as they came.

    Attributes:
        rows: The tasks listed, of any type and shape.
        total_count: How many the service says there are, where it says; more than `rows` if the answer is cut short.
        date: The service's clock, in seconds since the epoch, where it says.
        fingerprint: What is the same for an answer that tells the same.
    """

    rows: list[Any]
    total_count: int | None
    date: float | None
    fingerprint: int


def snapshot_of(answer: Answer) -> Snapshot:
    """Return the raw rows of a DescribeTasks answer.

    Raises:
        ServiceUnavailableError: It holds no set of tasks, which is a fault of the service and no absence of tasks.
    """
    found = answer.data.get("TaskSet")
    # By the book a map with a list; the bare list and a single row have been seen, and no rows may be null.
    rows = (found.get("Task") or []) if isinstance(found, dict) and ("Task" in found or not found) else found
    if isinstance(rows, dict) and rows is not found:
        rows = [rows]
    if not isinstance(rows, list):
        raise _unreadable(answer, "a set of tasks")
    return Snapshot(rows, _whole(answer.data.get("TotalCount")), answer.date, answer.fingerprint)


def task_of(region_id: str, row: object) -> Task | None:
    """Return the task that a row tells of, in the region asked; None if it tells of none."""
    if not isinstance(row, dict) or not isinstance(row.get("TaskId"), str):
        return None
    return _read({**row, "RegionId": region_id})


def age_of(row: Any, date: float | None) -> float | None:
    """Return the seconds since the task in a row was created, by the service's own clock; None if it does not say."""
    created = moment_of(row.get("CreationTime")) if date is not None and isinstance(row, dict) else None
    return None if created is None or date is None else max(0.0, date - created.timestamp())


def page_of(region_id: str, answer: Answer, *, page_number: int, page_size: int) -> TaskPage:
    """Return a DescribeTasks answer as a page; what the service left out is as asked.

    Raises:
        ServiceUnavailableError: It holds no set of tasks.
    """
    snapshot = snapshot_of(answer)
    tasks = [task for row in snapshot.rows if (task := task_of(region_id, row)) is not None]
    return TaskPage(
        tasks=tuple(tasks),
        total_count=len(tasks) if snapshot.total_count is None else snapshot.total_count,
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
