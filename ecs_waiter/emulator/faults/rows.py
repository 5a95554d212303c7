"""Faults in what an answer of status 200 says: its rows, its figures, its headers, its clock."""
# ruff: noqa: D102 - Fault documents what its kinds override

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ecs_waiter.emulator.faults.base import Fault, check_choice, check_number, check_whole
from ecs_waiter.emulator.faults.refusals import ratelimit

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecs_waiter.emulator.answer import Answer
    from ecs_waiter.emulator.request import Request

__all__ = [
    "Backwards",
    "Body",
    "Clock",
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
    """Return the rows of an answer in either of its shapes; None where another fault has left none."""
    found = content.get("TaskSet") if isinstance(content, dict) else None
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    rows = found.get("Task") if isinstance(found, dict) else None
    return rows if isinstance(rows, list) else None


@dataclass(kw_only=True)
class RowFault(Fault):
    """A fault of DescribeTasks' rows; several of them add up."""

    alone: ClassVar[bool] = False

    def applies(self, request: Request) -> bool:
        return request.action == "DescribeTasks"

    def spoil(self, _request: Request, answer: Answer) -> None:
        content = answer.content
        rows = _rows_of(content)
        if isinstance(content, dict) and rows is not None:
            self.change(content, rows)

    def change(self, content: dict[str, Any], rows: list[Any], /) -> None:
        """Change the rows in place."""
        raise NotImplementedError


@dataclass(kw_only=True)
class TaskFault(RowFault):
    """A fault of one task's row, in the answers to requests that ask for it or name no ID.

    Attributes:
        task_id: The task; None takes all of them.
    """

    task_id: str | None = None

    def applies(self, request: Request) -> bool:
        asked = self.task_id is None or not request.task_ids or self.task_id in request.task_ids
        return asked and super().applies(request)

    def takes(self, row: Any) -> bool:
        """Whether it is this row's fault."""
        return isinstance(row, dict) and self.task_id in (None, row.get("TaskId"))


@dataclass(kw_only=True)
class Drop(TaskFault):
    """Tasks are missing from the answer as if they were unknown.

    Attributes:
        counted: Whether `TotalCount` still counts them.
    """

    counted: bool = False

    def change(self, content: dict[str, Any], rows: list[Any]) -> None:
        kept = [row for row in rows if not self.takes(row)]
        if not self.counted:
            content["TotalCount"] -= len(rows) - len(kept)
        rows[:] = kept


@dataclass(kw_only=True)
class CutShort(RowFault):
    """Fewer rows than `TotalCount` and the page's size promise.

    Attributes:
        rows: How many are left.
    """

    rows: int = 0

    def __post_init__(self) -> None:
        check_whole("rows", self.rows)

    def change(self, _content: dict[str, Any], rows: list[Any]) -> None:
        del rows[self.rows :]


@dataclass(kw_only=True)
class Double(TaskFault):
    """A row stands twice."""

    def change(self, _content: dict[str, Any], rows: list[Any]) -> None:
        rows[:] = [row for row in rows for _ in range(2 if self.takes(row) else 1)]


@dataclass(kw_only=True)
class Foreign(RowFault):
    """Rows of tasks that nobody asked for.

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
    """A status that goes back to an earlier one.

    Attributes:
        status: What it goes back to.
    """

    status: str = "Processing"

    def change(self, _content: dict[str, Any], rows: list[Any]) -> None:
        for row in rows:
            if self.takes(row):
                row["TaskStatus"] = self.status
                row.pop("FinishedTime", None)


@dataclass(kw_only=True)
class Unreadable(TaskFault):
    """A row that cannot be read stands in a task's place; `TotalCount` counts it.

    Attributes:
        row: What stands there, as JSON.
    """

    row: Any = None

    def __post_init__(self) -> None:
        try:
            json.dumps(self.row)
        except (TypeError, ValueError):
            raise ValueError(f"row takes what JSON can hold, not {self.row!r}") from None

    def change(self, _content: dict[str, Any], rows: list[Any]) -> None:
        rows[:] = [self.row if self.takes(row) else row for row in rows]


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
    """Answers of every status carry a header that says how many calls remain, as older gateways do.

    Attributes:
        remain: How many calls remain
        limit: of this many
        window: in this many seconds,
        time_left: which end in this many seconds.
        header: ``x-ratelimit-user-api`` or ``x-ratelimit-user``.
    """

    alone: ClassVar[bool] = False
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

    def spoil(self, _request: Request, answer: Answer) -> None:
        # A throttled answer keeps its own retry delay.
        told = ratelimit(limit=self.limit, remain=self.remain, time_left=self.time_left, window=self.window)
        answer.headers.setdefault(self.header, told)


@dataclass(kw_only=True)
class Rewrite(Fault):
    """Any other change of an answer's fields.

    Attributes:
        change: Takes the fields and returns those to send instead, or changes them in place and returns None.
    """

    alone: ClassVar[bool] = False
    change: Callable[[dict[str, Any]], dict[str, Any] | None]

    def __post_init__(self) -> None:
        if not callable(self.change):
            raise ValueError(f"change takes a function of the answer's fields, not {self.change!r}")  # noqa: TRY004

    def spoil(self, _request: Request, answer: Answer) -> None:
        if isinstance(answer.content, dict):
            answer.content = self.change(answer.content) or answer.content


@dataclass(kw_only=True)
class Body(Fault):
    """Another body altogether.

    Attributes:
        content: Bytes and text are sent as they are; anything else as JSON.
        content_type: Its media type.
        status: Its HTTP status.
    """

    content: Any = b""
    content_type: str = "application/json;charset=utf-8"
    status: int = 200

    def __post_init__(self) -> None:
        check_whole("status", self.status, least=200, most=599)
        if isinstance(self.content, bytes):
            self._bytes = self.content
        elif isinstance(self.content, str):
            self._bytes = self.content.encode()
        else:
            try:
                self._bytes = json.dumps(self.content).encode()
            except TypeError:
                raise ValueError(f"content takes bytes, text or what JSON can hold, not {self.content!r}") from None

    def spoil(self, _request: Request, answer: Answer) -> None:
        answer.content = self._bytes
        answer.status = self.status
        answer.headers["Content-Type"] = self.content_type


@dataclass(kw_only=True)
class Clock(Fault):
    """The service's clock is off from the client's.

    Attributes:
        offset: By how many seconds: positive is fast.
    """

    alone: ClassVar[bool] = False
    offset: float = 0

    def __post_init__(self) -> None:
        check_number("offset", self.offset, least=-1e9, most=1e9)

    def clock_offset(self) -> float:
        return self.offset
