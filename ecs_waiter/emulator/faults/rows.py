"""Faults in the content of an answer: its rows, its numbers, its headers, its times."""
# ruff: noqa: D102 - Fault documents the methods that its kinds override

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ecs_waiter.emulator.faults.base import Fault, check_choice, check_number, check_status, check_whole
from ecs_waiter.emulator.faults.refusals import ratelimit

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecs_waiter.emulator.wire import Answer, Request

__all__ = [
    "Backwards",
    "Body",
    "ClockSkew",
    "CutShort",
    "Double",
    "Drop",
    "Foreign",
    "OldShape",
    "RateLimit",
    "Rewrite",
    "Unreadable",
]

_RATELIMIT_HEADERS = ("x-ratelimit-user-api", "x-ratelimit-user")


def _rows_of(content: object) -> list[Any] | None:
    """Return the rows of an answer in either of its shapes; None if another fault has removed them."""
    found = content.get("TaskSet") if isinstance(content, dict) else None
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    rows = found.get("Task") if isinstance(found, dict) else None
    return rows if isinstance(rows, list) else None


@dataclass(kw_only=True)
class RowFault(Fault):
    """A fault in the rows of DescribeTasks."""

    exclusive: ClassVar[bool] = False

    def applies(self, request: Request) -> bool:
        return request.action == "DescribeTasks"

    def modify(self, answer: Answer) -> None:
        content = answer.content
        rows = _rows_of(content)
        if isinstance(content, dict) and rows is not None:
            self.change(content, rows)

    def change(self, content: dict[str, Any], rows: list[Any], /) -> None:
        """Change the rows in place."""
        raise NotImplementedError


@dataclass(kw_only=True)
class TaskFault(RowFault):
    """A fault in one task's row, in answers to requests that name the task or no task at all.

    Attributes:
        task_id: The task; None takes all tasks.
    """

    task_id: str | None = None

    def applies(self, request: Request) -> bool:
        asked = self.task_id is None or not request.task_ids or self.task_id in request.task_ids
        return asked and super().applies(request)

    def has_fault(self, row: Any) -> bool:
        """Whether the fault changes this row."""
        return isinstance(row, dict) and self.task_id in (None, row.get("TaskId"))


@dataclass(kw_only=True)
class Drop(TaskFault):
    """Tasks are missing from the answer as if they were unknown.

    Attributes:
        counted: Whether `TotalCount` still counts them.
    """

    counted: bool = False

    def change(self, content: dict[str, Any], rows: list[Any]) -> None:
        kept = [row for row in rows if not self.has_fault(row)]
        if not self.counted:
            content["TotalCount"] -= len(rows) - len(kept)
        rows[:] = kept


@dataclass(kw_only=True)
class CutShort(RowFault):
    """The answer has fewer rows than `TotalCount` says.

    Attributes:
        rows: How many rows are left.
    """

    rows: int = 0

    def __post_init__(self) -> None:
        check_whole("rows", self.rows)

    def change(self, _content: dict[str, Any], rows: list[Any]) -> None:
        del rows[self.rows :]


@dataclass(kw_only=True)
class Double(TaskFault):
    """A row occurs twice."""

    def change(self, _content: dict[str, Any], rows: list[Any]) -> None:
        rows[:] = [row for row in rows for _ in range(2 if self.has_fault(row) else 1)]


@dataclass(kw_only=True)
class Foreign(RowFault):
    """The answer has rows of tasks that were not requested.

    Attributes:
        rows: How many.
    """

    rows: int = 1

    def __post_init__(self) -> None:
        check_whole("rows", self.rows)

    def change(self, _content: dict[str, Any], rows: list[Any]) -> None:
        usual = {"TaskAction": "ImportImage", "SupportCancel": "true", "ResourceId": "m-foreign"}
        pattern = next((row for row in rows if isinstance(row, dict)), usual)
        more = [{**pattern, "TaskId": f"t-foreign{n}", "TaskStatus": "Finished"} for n in range(self.rows)]
        rows[:] = more + rows


@dataclass(kw_only=True)
class Backwards(TaskFault):
    """A status goes back to an earlier one.

    Attributes:
        status: The earlier status.
    """

    status: str = "Processing"

    def change(self, _content: dict[str, Any], rows: list[Any]) -> None:
        for row in rows:
            if self.has_fault(row):
                row["TaskStatus"] = self.status
                row.pop("FinishedTime", None)


@dataclass(kw_only=True)
class Unreadable(TaskFault):
    """An unreadable row replaces a task's row; `TotalCount` counts it.

    Attributes:
        row: The row, as JSON.
    """

    row: Any = None

    def __post_init__(self) -> None:
        try:
            json.dumps(self.row)
        except (TypeError, ValueError):
            raise ValueError(f"row takes what JSON can hold, not {self.row!r}") from None

    def change(self, _content: dict[str, Any], rows: list[Any]) -> None:
        rows[:] = [self.row if self.has_fault(row) else row for row in rows]


@dataclass(kw_only=True)
class OldShape(RowFault):
    """The answer has the shape that the documentation showed from 2018 to 2020.

    `TaskSet` is a list of one object that holds the list, `SupportCancel` is a bare boolean, and no row has a
    `ResourceId`.
    """

    def change(self, content: dict[str, Any], rows: list[Any]) -> None:
        for row in rows:
            if isinstance(row, dict):
                row.pop("ResourceId", None)
                row["SupportCancel"] = row.get("SupportCancel") in ("true", True)
        content["TaskSet"] = [{"Task": rows}]


@dataclass(kw_only=True)
class RateLimit(Fault):
    """Answers of every status have a header with the number of calls that remain, as those of older gateways do.

    Attributes:
        remain: How many calls remain
        limit: of this many
        window: in this many seconds,
        time_left: which end in this many seconds.
        header: ``x-ratelimit-user-api`` or ``x-ratelimit-user``.
    """

    exclusive: ClassVar[bool] = False
    remain: int = 99
    limit: int = 100
    window: float = 60
    time_left: float = 30
    header: str = "x-ratelimit-user-api"

    def __post_init__(self) -> None:
        check_whole("remain", self.remain)
        check_whole("limit", self.limit)
        check_number("window", self.window, most=1e9)
        check_number("time_left", self.time_left, most=1e9)
        check_choice("header", self.header, _RATELIMIT_HEADERS)

    def modify(self, answer: Answer) -> None:
        # A throttled answer keeps its own retry delay.
        value = ratelimit(limit=self.limit, remain=self.remain, time_left=self.time_left, window=self.window)
        answer.headers.setdefault(self.header, value)


@dataclass(kw_only=True)
class Rewrite(Fault):
    """A function changes the answer's fields.

    Attributes:
        change: Takes the fields and returns the fields to send instead, or changes them in place and returns None.
    """

    exclusive: ClassVar[bool] = False
    change: Callable[[dict[str, Any]], dict[str, Any] | None]

    def __post_init__(self) -> None:
        if not callable(self.change):
            raise ValueError(f"change takes a function of the answer's fields, not {self.change!r}")  # noqa: TRY004

    def modify(self, answer: Answer) -> None:
        if isinstance(answer.content, dict):
            answer.content = self.change(answer.content) or answer.content


@dataclass(kw_only=True)
class Body(Fault):
    """The answer has another body.

    Attributes:
        content: Bytes and text are sent as they are; anything else as JSON.
        content_type: Its media type.
        status: Its HTTP status.
    """

    content: Any = b""
    content_type: str = "application/json;charset=utf-8"
    status: int = 200

    def __post_init__(self) -> None:
        check_status(self.status)
        if isinstance(self.content, bytes):
            self._bytes = self.content
        elif isinstance(self.content, str):
            self._bytes = self.content.encode()
        else:
            try:
                self._bytes = json.dumps(self.content).encode()
            except TypeError:
                raise ValueError(f"content takes bytes, text or what JSON can hold, not {self.content!r}") from None

    def modify(self, answer: Answer) -> None:
        answer.content = self._bytes
        answer.status = self.status
        answer.headers["Content-Type"] = self.content_type


@dataclass(kw_only=True)
class ClockSkew(Fault):
    """The service's clock is off.

    Attributes:
        offset: By how many seconds; a positive number is fast.
    """

    exclusive: ClassVar[bool] = False
    offset: float = 0

    def __post_init__(self) -> None:
        check_number("offset", self.offset, least=-1e9, most=1e9)

    def clock_offset(self) -> float:
        return self.offset
