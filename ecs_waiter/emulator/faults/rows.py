"""Faults in what an answer of status 200 says: its rows, its figures, its clock."""
# ruff: noqa: D102 - Fault documents what its kinds override

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ecs_waiter.emulator.faults.base import Fault, check_number, check_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecs_waiter.emulator.answer import Answer
    from ecs_waiter.emulator.request import Request

__all__ = ["Backwards", "Body", "Clock", "CutShort", "Double", "Drop", "Foreign", "Rewrite"]


@dataclass(kw_only=True)
class RowFault(Fault):
    """A fault of DescribeTasks' rows; several of them add up."""

    alone: ClassVar[bool] = False

    def applies(self, request: Request) -> bool:
        return request.action == "DescribeTasks"

    def spoil(self, _request: Request, answer: Answer) -> None:
        content = answer.content
        if isinstance(content, dict) and "TaskSet" in content:
            self.change(content, content["TaskSet"]["Task"])

    def change(self, content: dict[str, Any], rows: list[dict[str, Any]], /) -> None:
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

    def takes(self, row: dict[str, Any]) -> bool:
        """Whether it is this row's fault."""
        return self.task_id in (None, row["TaskId"])


@dataclass(kw_only=True)
class Drop(TaskFault):
    """Tasks are missing from the answer as if they were unknown."""

    def change(self, content: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        kept = [row for row in rows if not self.takes(row)]
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

    def change(self, _content: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        del rows[self.rows :]


@dataclass(kw_only=True)
class Double(TaskFault):
    """A row stands twice."""

    def change(self, _content: dict[str, Any], rows: list[dict[str, Any]]) -> None:
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

    def change(self, _content: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        pattern = rows[0] if rows else {"TaskAction": "ImportImage", "SupportCancel": "true", "ResourceId": "m-foreign"}
        more = [{**pattern, "TaskId": f"t-foreign{n}", "TaskStatus": "Finished"} for n in range(self.rows)]
        rows[:] = more + rows


@dataclass(kw_only=True)
class Backwards(TaskFault):
    """A status that goes back to an earlier one.

    Attributes:
        status: What it goes back to.
    """

    status: str = "Processing"

    def change(self, _content: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if self.takes(row):
                row["TaskStatus"] = self.status
                row.pop("FinishedTime", None)


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
