"""Tasks on the wire: the query for up to 100 IDs, and the readers of what the service answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ecs_waiter.api.signing import canonical_query
from ecs_waiter.errors import ServiceUnavailableError
from ecs_waiter.models import Task, TaskDetail, TaskPage, TaskStatus
from ecs_waiter.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ecs_waiter.api.transport import ApiResponse

__all__ = ["FINAL_STATUSES", "PollAnswer", "detail_of", "page_of", "poll_answer", "poll_query", "task_of", "tasks_in"]

FINAL_STATUSES = frozenset({TaskStatus.FINISHED, TaskStatus.FAILED, *filter(lambda word: word.is_canceled, TaskStatus)})
"""The statuses of tasks that have ended."""

_MAX_ROWS = 10_000
"""Rows of one answer. A page has at most a hundred; reading a flood of them would block the event loop."""

_ALIASES = [str(field.validation_alias) for field in Task.model_fields.values()]


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
        self, region_id: str, rows: Sequence[object], *, total_count: int | None, date: float | None = None
    ) -> None:
        self._region_id = region_id
        self._rows: dict[str, dict[str, Any]] = {}
        self._tasks: dict[str, Task] = {}
        self.statuses: dict[str, str] = {}
        self.row_count = 0
        self.total_count = total_count
        self.date = date
        for row in rows:
            if not isinstance(row, dict):
                continue
            task_id, status = row.get("TaskId"), row.get("TaskStatus")
            if isinstance(task_id, str) and isinstance(status, str) and status:
                self.row_count += 1
                if self.statuses.get(task_id) not in FINAL_STATUSES:
                    self.statuses[task_id] = status
                    self._rows[task_id] = row
        self.unread = len(rows) - self.row_count

    def __repr__(self) -> str:
        return f"PollAnswer({self._region_id!r}, {self.row_count} rows, {self.unread} unread)"

    def task(self, task_id: str) -> Task:
        """Return the task of a listed ID. It is validated on first use, because most rows of an answer are unchanged.

        Raises:
            KeyError: The answer does not list this ID.
        """
        task = self._tasks.get(task_id)
        if task is None:
            task = self._tasks[task_id] = _validated(self._region_id, self._rows[task_id])
        return task

    def age_of(self, task_id: str) -> float | None:
        """Return the seconds since a task's creation by the service's clock; None if the answer does not say."""
        created = self.task(task_id).creation_time
        return None if created is None or self.date is None else max(0.0, self.date - created.timestamp())


def poll_query(region_id: str, task_ids: Iterable[str]) -> str:
    """Return the query for up to 100 checked IDs. They are sorted, so that equal polls are equal requests."""
    ids = sorted(task_ids)
    return canonical_query(
        {"PageNumber": "1", "PageSize": str(len(ids)), "RegionId": region_id, "TaskIds": ",".join(ids)}
    )


def poll_answer(region_id: str, response: ApiResponse) -> PollAnswer:
    """Return what the answer to a poll says.

    Raises:
        ServiceUnavailableError: It holds no set of tasks, or no row of it can be read.
    """
    rows = _rows_in(response)
    answer = PollAnswer(region_id, rows, total_count=_total_count(response), date=response.date)
    if rows and not answer.row_count:
        has_id = any(task_of(region_id, row) is not None for row in rows)
        raise _unreadable(response, "a row with a status" if has_id else "a row that can be read")
    return answer


def tasks_in(region_id: str, response: ApiResponse) -> tuple[list[Task], int, int | None]:
    """Return the tasks that a DescribeTasks answer lists, the number of its rows, and its total count if it has one.

    Raises:
        ServiceUnavailableError: It holds no set of tasks, or no row of it can be read. Nothing is known about the tasks
            asked for in that case, so they are not absent.
    """
    rows = _rows_in(response)
    tasks = [task for row in rows if (task := task_of(region_id, row)) is not None]
    if rows and not tasks:
        raise _unreadable(response, "a row that can be read")
    return tasks, len(rows), _total_count(response)


def page_of(region_id: str, response: ApiResponse, *, page_number: int, page_size: int) -> TaskPage:
    """Return a DescribeTasks answer as a page. The page's number and size are those asked for if it has none.

    Raises:
        ServiceUnavailableError: It holds no set of tasks, or no row of it can be read.
    """
    tasks, _, total_count = tasks_in(region_id, response)
    return TaskPage(
        tasks=tuple(tasks),
        total_count=len(tasks) if total_count is None else total_count,
        page_number=_whole_number(response.data.get("PageNumber")) or page_number,
        page_size=_whole_number(response.data.get("PageSize")) or page_size,
        region_id=region_id,
        request_id=_request_id(response) or "",
    )


def detail_of(region_id: str, task_id: str, response: ApiResponse) -> TaskDetail:
    """Return a DescribeTaskAttribute answer.

    Raises:
        ServiceUnavailableError: It describes another task.
    """
    if response.data.get("TaskId", task_id) != task_id:
        raise _unreadable(response, "the task asked for")
    return TaskDetail.model_validate({**response.data, "TaskId": task_id, "RegionId": region_id})


def task_of(region_id: str, row: object) -> Task | None:
    """Return the task in a row; None if the row has no readable ID."""
    if not isinstance(row, dict) or not isinstance(row.get("TaskId"), str):
        return None
    return _validated(region_id, row)


def _validated(region_id: str, row: dict[str, Any]) -> Task:
    # The wire's names only, because the model also accepts its own field names. The region is the one that was called.
    return Task.model_validate({**{name: row[name] for name in _ALIASES if name in row}, "RegionId": region_id})


def _rows_in(response: ApiResponse) -> list[Any]:
    """The raw rows of a DescribeTasks answer, of any type and shape."""
    found = response.data.get("TaskSet")
    if isinstance(found, list) and found and all(isinstance(part, dict) and "Task" in part for part in found):
        # The documentation of 2018 to 2020 shows a list of one object that holds the list.
        parts = [part["Task"] for part in found]
        rows: object = [row for part in parts for row in (part if isinstance(part, list) else [part])]
    else:
        # Documented as a map with a list. A bare list and a single row have been seen as well. The rows may be null or
        # missing if the service counts none.
        rows = found
        if isinstance(found, dict) and ("Task" in found or not found):
            rows = found.get("Task")
            if rows is None and _total_count(response) == 0:
                rows = []
        if isinstance(rows, dict) and ("TaskId" in rows or rows is not found):
            rows = [rows]
    if not isinstance(rows, list):
        raise _unreadable(response, "a set of tasks")
    if len(rows) > _MAX_ROWS:
        raise _unreadable(response, f"a page of tasks, but {len(rows)} rows")
    return rows


def _total_count(response: ApiResponse) -> int | None:
    return _whole_number(response.data.get("TotalCount"))


def _whole_number(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:18])
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _request_id(response: ApiResponse) -> str | None:
    request_id = response.data.get("RequestId")
    return request_id if isinstance(request_id, str) else None


def _unreadable(response: ApiResponse, what: str) -> ServiceUnavailableError:
    request_id = _request_id(response)
    shown = None if request_id is None else printable(request_id)
    return ServiceUnavailableError(None, f"the answer does not hold {what}", shown, 200)
