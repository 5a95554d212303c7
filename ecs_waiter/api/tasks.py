"""Tasks on the wire: the queries of DescribeTasks, and the readers of what the service answers."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ecs_waiter.api.signing import canonical_query
from ecs_waiter.errors import ServiceUnavailableError
from ecs_waiter.escaping import escape_control
from ecs_waiter.ids import MAX_BATCH, check_task_ids, several
from ecs_waiter.models import Task, TaskDetail, TaskPage, TaskStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ecs_waiter.api.transport import ApiResponse

__all__ = [
    "FINAL_STATUSES",
    "PollAnswer",
    "check_page",
    "detail_of",
    "filters",
    "page_of",
    "page_query",
    "poll_answer",
    "poll_query",
    "task_of",
    "tasks_in",
]

FINAL_STATUSES = frozenset({TaskStatus.FINISHED, TaskStatus.FAILED, *filter(lambda word: word.is_canceled, TaskStatus)})
"""The statuses of tasks that have ended."""

_MAX_ROWS = 10_000
"""Rows of one answer. A page has at most a hundred; reading a flood of them would block the event loop."""

_MAX_RESOURCES = 100
_MINUTE = 60.0
# `Task.model_validate` takes a third longer.
_validate: Callable[[object], Task] = Task.__pydantic_validator__.validate_python


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

    __slots__ = ("_readable", "_region_id", "_rows", "_tasks", "date", "row_count", "statuses", "total_count", "unread")

    def __init__(
        self, region_id: str, rows: Sequence[object], *, total_count: int | None, date: float | None = None
    ) -> None:
        self._region_id = region_id
        self._tasks: dict[str, Task] = {}
        self._rows: dict[str, dict[str, Any]] = {}
        readable = [
            row
            for row in rows
            if isinstance(row, dict)
            and isinstance(row.get("TaskId"), str)
            and isinstance(status := row.get("TaskStatus"), str)
            and status
        ]
        self.row_count = len(readable)
        self.statuses: dict[str, str] = {row["TaskId"]: row["TaskStatus"] for row in readable}
        if len(self.statuses) < len(readable):
            # Contradicting rows: of each task, the row that is last in this order counts.
            readable += [row for row in reversed(readable) if row["TaskStatus"] in FINAL_STATUSES]
            self.statuses = {row["TaskId"]: row["TaskStatus"] for row in readable}
        self._readable = readable
        self.unread = len(rows) - self.row_count
        self.total_count = total_count
        self.date = date

    def __repr__(self) -> str:
        return f"PollAnswer({self._region_id!r}, {self.row_count} rows, {self.unread} unread)"

    def is_complete(self, asked: set[str]) -> bool:
        """Whether an ID of those asked that is not listed is absent.

        That is so if all rows could be read, are as many as the service counts, and are about IDs that were asked. An
        answer without a count is complete if it is about one ID.
        """
        if self.total_count is None:
            is_counted = len(asked) == 1
        else:
            is_counted = self.total_count in {len(self.statuses), self.row_count}
        return is_counted and not self.unread and asked.issuperset(self.statuses)

    def task(self, task_id: str) -> Task:
        """Return the task of a listed ID. It is validated on first use, because most rows of an answer are unchanged.

        Raises:
            KeyError: The answer does not list this ID.
        """
        task = self._tasks.get(task_id)
        if task is None:
            # Made on first use: most answers change nothing.
            self._rows = self._rows or {row["TaskId"]: row for row in self._readable}
            task = self._tasks[task_id] = _validated(self._region_id, self._rows[task_id])
        return task

    def age_of(self, task_id: str) -> float | None:
        """Return the seconds since a task's creation by the service's clock; None if the answer does not say.

        A time by the minute, as in the documentation (``2020-11-24T12:50Z``), counts as the end of that minute, which
        may still be ahead.
        """
        created = self.task(task_id).creation_time
        if created is None or self.date is None:
            return None
        is_by_minute = str(self._rows[task_id].get("CreationTime")).count(":") == 1
        return self.date - created.timestamp() - (_MINUTE if is_by_minute else 0)

    def finished_ago(self, task: Task) -> tuple[float, float] | None:
        """Return how many seconds ago a listed task finished by the service's clock, at most and at least."""
        if task.finished_time is None or self.date is None:
            return None
        seconds = self.date - task.finished_time.timestamp()
        is_by_minute = str(self._rows[task.task_id].get("FinishedTime")).count(":") == 1
        return seconds + 1, seconds - (_MINUTE if is_by_minute else 1)


# -- queries ----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def poll_query(region_id: str, task_ids: tuple[str, ...]) -> str:
    """Return the query for up to 100 IDs, sorted so that equal polls are equal requests; most polls ask it again."""
    return page_query(region_id, {"TaskIds": ",".join(sorted(task_ids))}, number=1, size=len(task_ids))


def check_page(params: Mapping[str, str], number: object, size: object) -> tuple[int, int]:
    """Return the number and the size of a page; by default its size is the number of the IDs, or 100.

    Raises:
        TypeError: One of them is not a whole number.
        ValueError: One of them is out of range.
    """
    asked = params["TaskIds"].count(",") + 1 if "TaskIds" in params else MAX_BATCH
    size = _whole("page_size", asked if size is None else size, MAX_BATCH)
    return _whole("page_number", number, 2**31 - 1), size


def _whole(name: str, value: object, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} takes a whole number, not {type(value).__name__}")
    if not 1 <= value <= most:
        raise ValueError(f"{name} takes 1 to {most}, not {value}")
    return value


def page_query(region_id: str, params: Mapping[str, str], *, number: int, size: int) -> str:
    """Return the query for one page of tasks."""
    return canonical_query({**params, "PageNumber": str(number), "PageSize": str(size), "RegionId": region_id})


def filters(  # noqa: PLR0913 - the operation's parameters
    *,
    task_ids: Iterable[str] | None = None,
    task_action: str | None = None,
    task_status: str | None = None,
    start_time: datetime | None = None,
    end_time: datetime | None = None,
    resource_ids: Iterable[str] | None = None,
) -> dict[str, str]:
    """Return the parameters that select tasks; None is left out.

    Raises:
        TypeError: An argument has the wrong type, such as a string instead of a list.
        ValueError: A list is empty or too long, a string is empty, or a time has no time zone or follows the other.
    """
    params: dict[str, str] = {}
    if task_ids is not None:
        params["TaskIds"] = ",".join(check_task_ids(task_ids))
    if task_action is not None:
        params["TaskAction"] = _word("task_action", task_action)
    if task_status is not None:
        params["TaskStatus"] = _word("task_status", task_status)
    if start_time is not None:
        params["StartTime"] = _time("start_time", start_time)
    if end_time is not None:
        params["EndTime"] = _time("end_time", end_time)
    if start_time is not None and end_time is not None and end_time < start_time:
        raise ValueError(f"end_time {end_time} is before start_time {start_time}")
    if resource_ids is not None:
        found = list(dict.fromkeys(_word("resource_ids", value) for value in several("resource_ids", resource_ids)))
        if not 1 <= len(found) <= _MAX_RESOURCES:
            raise ValueError(f"resource_ids takes 1 to {_MAX_RESOURCES} IDs, not {len(found)}")
        params |= {f"ResourceIds.{number}": value for number, value in enumerate(found, 1)}
    return params


def _word(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} takes text, not {type(value).__name__}")
    if not value:
        raise ValueError(f"{name} is empty: leave it out for all")
    # `str(value)` of an enum member could be the member's name.
    return str.__str__(value)


def _time(name: str, value: object) -> str:
    if not isinstance(value, datetime):
        raise TypeError(f"{name} takes a datetime, not {type(value).__name__}")
    if value.utcoffset() is None:
        raise ValueError(f"{name} takes a datetime with a time zone, such as datetime.now(UTC)")
    try:
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except OverflowError:
        raise ValueError(f"{name} is out of range: {value}") from None


# -- answers ----------------------------------------------------------------------------------------------------------


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
    if not row.keys().isdisjoint(Task.model_fields):
        # The model also accepts its own field names, which are not the wire's.
        row = {name: value for name, value in row.items() if name not in Task.model_fields}
    # The region is the one that was called, whatever the row says.
    return _validate({**row, "RegionId": region_id})


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
    shown = None if request_id is None else escape_control(request_id)
    return ServiceUnavailableError(None, f"the answer does not hold {what}", shown, 200)
