"""What the service says of a task, as typed and frozen values that tolerate what the wire may hold.

The wire format: https://www.alibabacloud.com/help/en/ecs/developer-reference/api-ecs-2014-05-26-describetasks
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core.core_schema import with_default_schema

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

__all__ = ["LONGEST", "OperationProgress", "Task", "TaskDetail", "TaskPage", "TaskStatus", "flag_in", "moment_in"]


class TaskStatus(StrEnum):
    """The words the service's documentation uses for a task's state, today's and those of older pages."""

    PROCESSING = "Processing"
    FINISHED = "Finished"
    FAILED = "Failed"
    WAITING = "Waiting"
    PENDING = "Pending"
    PAUSED = "Paused"
    DELETED = "Deleted"
    CANCELED = "Canceled"
    CANCELLED = "Cancelled"

    @property
    def is_canceled(self) -> bool:
        """Whether this word means that the task was canceled: the service says Deleted for it."""
        return self in {TaskStatus.DELETED, TaskStatus.CANCELED, TaskStatus.CANCELLED}


@dataclass(frozen=True, slots=True)
class _OrElse:
    """Annotates a field: what cannot be read is `instead`; nothing is raised, and no Python code runs for it."""

    instead: object

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return with_default_schema(handler(source), default=self.instead, on_error="default")


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    # A number where a word is due keeps its meaning; a list or a map has none.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


LONGEST = 40
"""Letters of a time or a flag; what is longer is none, and is kept nowhere."""


@lru_cache(maxsize=1024)  # many tasks begin in one second, and end between two polls
def moment_in(text: str) -> datetime | None:
    """Return the time that a text of at most `LONGEST` letters tells, in UTC; None for what is no time."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return _utc(moment)


def _utc(moment: datetime) -> datetime | None:
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        return None


def _moment_of(value: object) -> datetime | None:
    """A time as the wire writes it, in UTC; None for what is no time."""
    if isinstance(value, str):
        return moment_in(value) if len(value) <= LONGEST else None
    return _utc(value) if isinstance(value, datetime) else None


_FLAGS = {"true": True, "false": False}


@lru_cache(maxsize=64)
def flag_in(text: str) -> bool | None:
    """Return what a text of at most `LONGEST` letters says, true or false; None if it says neither."""
    return _FLAGS.get(text.strip().lower())


def _flag(value: object) -> bool | None:
    if isinstance(value, str):
        return flag_in(value) if len(value) <= LONGEST else None
    return value if isinstance(value, bool) else None


# Compiled by `re` when first used: most programs never meet a detail.
_COUNT = r"(?a)\s*([0-9]{1,18})\s*"
_PERCENT = r"(?a)\s*(100|[0-9]{1,2})(?:\.[0-9]{1,9})?\s*%?\s*"


def _matched(pattern: str, value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    found = re.fullmatch(pattern, value if isinstance(value, str) else repr(value))
    return int(found[1]) if found else None


def _count(value: object) -> int | None:
    return _matched(_COUNT, value)


def _percent(value: object) -> int | None:
    return _matched(_PERCENT, value)


def rows_of(value: object, name: str) -> list[Any]:
    """The rows of one of the service's sets: ``{"Task": [...]}`` by the book, a bare list or a single map as seen."""
    if isinstance(value, dict):
        value = value.get(name)
    if isinstance(value, dict):
        return [value]
    return value if isinstance(value, list) else []


# A number where a word is due keeps its meaning.
Text = Annotated[str, Field(coerce_numbers_to_str=True), _OrElse("")]
Status = Annotated[TaskStatus | str, Field(union_mode="left_to_right"), _OrElse("")]
Time = Annotated[datetime | None, BeforeValidator(_moment_of)]
Flag = Annotated[bool | None, BeforeValidator(_flag)]
Count = Annotated[int | None, BeforeValidator(_count)]
Percent = Annotated[int | None, BeforeValidator(_percent)]


def _pascal_case(name: str) -> str:
    return name.title().replace("_", "")


class _Model(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=_pascal_case, populate_by_name=True, strict=False
    )

    def __setstate__(self, state: dict[Any, Any]) -> None:
        # Where the first of its kind comes out of a pickle, older versions of pydantic would not serialize it.
        type(self).model_rebuild()
        super().__setstate__(state)


class Task(_Model):
    """One task as DescribeTasks lists it. What the service left out is empty text or None."""

    region_id: str
    task_id: str
    task_action: Text = ""
    task_status: Status = ""
    resource_id: Text = ""
    creation_time: Time = None
    finished_time: Time = None
    support_cancel: Flag = None

    def __hash__(self) -> int:
        # Equal tasks are equal in these two; the others may hold what has no hash, such as a detail's maps.
        return hash((self.region_id, self.task_id))


def _items(value: object) -> dict[str, str]:
    return {_text(key): _text(item) for key, item in value.items()} if isinstance(value, dict) else {}


class OperationProgress(_Model, defer_build=True):  # most programs never meet one
    """One step of a task and, if it failed, why."""

    operation_status: Text = ""
    error_code: Text = ""
    error_msg: Text = ""
    # No alias: the wire has no such field, and might get one of that name.
    related_items: Annotated[dict[str, str], BeforeValidator(_items)] = Field(default={}, alias="related_items")

    @model_validator(mode="before")
    @classmethod
    def _from_wire(cls, data: Any) -> Any:
        if isinstance(data, OperationProgress):
            return data
        if not isinstance(data, dict):
            return {}
        if "RelatedItemSet" not in data:
            return data
        items = [row for row in rows_of(data["RelatedItemSet"], "RelatedItem") if isinstance(row, dict)]
        return {**data, "related_items": {_text(row.get("Name")): _text(row.get("Value")) for row in items}}


def _steps(value: object) -> object:
    return value if isinstance(value, list | tuple) else ()


class TaskDetail(Task, defer_build=True):
    """One task as DescribeTaskAttribute tells it: with its progress in percent and the reason of a failure."""

    task_process: Percent = None
    total_count: Count = None
    success_count: Count = None
    failed_count: Count = None
    operations: Annotated[tuple[OperationProgress, ...], BeforeValidator(_steps)] = Field(
        default=(), alias="operations"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_wire(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "OperationProgressSet" not in data:
            return data
        return {**data, "operations": rows_of(data["OperationProgressSet"], "OperationProgress")}

    @property
    def reason(self) -> str | None:
        """The service's own words for what went wrong: each distinct ``code: message`` of the operations."""
        told = (": ".join(filter(None, (step.error_code, step.error_msg))) for step in self.operations)
        return "; ".join(dict.fromkeys(filter(None, told))) or None


class TaskPage(_Model, defer_build=True):
    """One answer of DescribeTasks."""

    tasks: tuple[Task, ...]
    total_count: int
    page_number: int
    page_size: int
    region_id: str
    request_id: str
