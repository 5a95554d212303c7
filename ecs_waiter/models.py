"""The tasks of the service as typed and frozen models, which accept whatever an answer may contain.

The wire format: https://www.alibabacloud.com/help/en/ecs/developer-reference/api-ecs-2014-05-26-describetasks
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core.core_schema import with_default_schema

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

__all__ = ["OperationProgress", "Task", "TaskDetail", "TaskPage", "TaskStatus"]


class TaskStatus(StrEnum):
    """The statuses in the service's documentation, those of older pages included."""

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
        """Whether the task was canceled. The service uses Deleted for it."""
        return self in {TaskStatus.DELETED, TaskStatus.CANCELED, TaskStatus.CANCELLED}


@dataclass(frozen=True, slots=True)
class _OrElse:
    """Annotates a field: a value that cannot be read becomes `instead`. Unlike a validator, it is not Python code."""

    instead: object

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return with_default_schema(handler(source), default=self.instead, on_error="default")


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


_MAX_TIME = 40
"""Characters of a time. Longer text is not parsed, so that the cache holds no large keys."""


def _time(value: object) -> datetime | None:
    if isinstance(value, str):
        return _parsed_time(value) if len(value) <= _MAX_TIME else None
    return _in_utc(value) if isinstance(value, datetime) else None


@lru_cache(maxsize=1024)  # tasks that begin in the same second share one datetime
def _parsed_time(text: str) -> datetime | None:
    try:
        return _in_utc(datetime.fromisoformat(text.strip()))
    except ValueError:
        return None


def _in_utc(time: datetime) -> datetime | None:
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError:
        return None


def _flag(value: object) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return value if isinstance(value, bool) else None


# Patterns as text, because `re` caches what it compiles and most programs never read a detail.
_COUNT = r"(?a)\s*([0-9]{1,18})\s*"
_PERCENT = r"(?a)\s*(100|[0-9]{1,2})(?:\.[0-9]{1,9})?\s*%?\s*"


def _matched(pattern: str, value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    found = re.fullmatch(pattern, value if isinstance(value, str) else repr(value))
    return int(found[1]) if found else None


def _rows(value: object, name: str) -> list[Any]:
    """Return the rows of a set: documented as ``{"Task": [...]}``, seen as a bare list or a single map too."""
    if isinstance(value, dict):
        value = value.get(name)
    if isinstance(value, dict):
        return [value]
    return value if isinstance(value, list) else []


Text = Annotated[str, Field(coerce_numbers_to_str=True), _OrElse("")]
Status = Annotated[TaskStatus | str, Field(union_mode="left_to_right"), _OrElse("")]
Time = Annotated[datetime | None, BeforeValidator(_time)]
Flag = Annotated[bool | None, BeforeValidator(_flag)]
Count = Annotated[int | None, BeforeValidator(partial(_matched, _COUNT))]
Percent = Annotated[int | None, BeforeValidator(partial(_matched, _PERCENT))]


def _pascal_case(name: str) -> str:
    return name.title().replace("_", "")


class _Model(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=_pascal_case, populate_by_name=True, strict=False
    )

    def __setstate__(self, state: dict[Any, Any]) -> None:
        # If the first instance of a class comes from a pickle, older versions of pydantic cannot serialize it.
        type(self).model_rebuild()
        super().__setstate__(state)


class Task(_Model):
    """One task as DescribeTasks lists it. A field that the service left out is empty text or None."""

    region_id: str
    task_id: str
    task_action: Text = ""
    task_status: Status = ""
    resource_id: Text = ""
    creation_time: Time = None
    finished_time: Time = None
    support_cancel: Flag = None

    def __hash__(self) -> int:
        # Not of all fields: some of TaskDetail cannot be hashed.
        return hash((self.region_id, self.task_id))


def _items(value: object) -> dict[str, str]:
    return {_text(key): _text(item) for key, item in value.items()} if isinstance(value, dict) else {}


class OperationProgress(_Model, defer_build=True):  # most programs never use it
    """One step of a task and, if it failed, why."""

    operation_status: Text = ""
    error_code: Text = ""
    error_msg: Text = ""
    # Its own name is the alias, because the service may add a field RelatedItems.
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
        items = [row for row in _rows(data["RelatedItemSet"], "RelatedItem") if isinstance(row, dict)]
        return {**data, "related_items": {_text(row.get("Name")): _text(row.get("Value")) for row in items}}


def _steps(value: object) -> object:
    return value if isinstance(value, list | tuple) else ()


class TaskDetail(Task, defer_build=True):
    """One task as DescribeTaskAttribute returns it: with its progress in percent and the reason of a failure."""

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
        return {**data, "operations": _rows(data["OperationProgressSet"], "OperationProgress")}

    @property
    def reason(self) -> str | None:
        """Why the task failed: each distinct ``code: message`` of the operations, joined by ``; ``."""
        reasons = (": ".join(filter(None, (step.error_code, step.error_msg))) for step in self.operations)
        return "; ".join(dict.fromkeys(filter(None, reasons))) or None


class TaskPage(_Model, defer_build=True):
    """One answer of DescribeTasks."""

    tasks: tuple[Task, ...]
    total_count: int
    page_number: int
    page_size: int
    region_id: str
    request_id: str
