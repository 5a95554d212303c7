"""The filters of DescribeTasks, checked and as they go on the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ecs_waiter.ids import check_task_ids, several

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["filters", "whole"]

_MAX_RESOURCES = 100


def filters(  # noqa: PLR0913 - the operation's parameters
    *,
    task_ids: Iterable[str] | None,
    task_action: str | None,
    task_status: str | None,
    start_time: datetime | None,
    end_time: datetime | None,
    resource_ids: Iterable[str] | None,
) -> dict[str, str]:
    """Return the wire's parameters; what is None is left out.

    Raises:
        TypeError: An argument is of another type, such as a single text for a list.
        ValueError: A list is empty or too long, a text is empty, or a time has no time zone or is past the other.
    """
    params: dict[str, str] = {}
    if task_ids is not None:
        params["TaskIds"] = ",".join(check_task_ids(task_ids))
    for name, word in (("task_action", task_action), ("task_status", task_status)):
        if word is not None:
            params["TaskAction" if name == "task_action" else "TaskStatus"] = _word(name, word)
    if start_time is not None:
        params["StartTime"] = _time("start_time", start_time)
    if end_time is not None:
        params["EndTime"] = _time("end_time", end_time)
    if start_time is not None and end_time is not None and end_time < start_time:
        raise ValueError(f"end_time {end_time} is before start_time {start_time}")
    if resource_ids is not None:
        params |= {f"ResourceIds.{number}": value for number, value in enumerate(_resources(resource_ids), 1)}
    return params


def whole(name: str, value: object, most: int = 2**31 - 1) -> int:
    """Return `value` if it is a whole number from 1 to `most`.

    Raises:
        TypeError: It is no whole number.
        ValueError: It is out of this range.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} takes a whole number, not {type(value).__name__}")
    if not 1 <= value <= most:
        raise ValueError(f"{name} takes 1 to {most}, not {value}")
    return value


def _word(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} takes text, not {type(value).__name__}")
    if not value:
        raise ValueError(f"{name} is empty: leave it out for all")
    # The base's own text: that of an enum may be the name of its member.
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


def _resources(values: Iterable[str]) -> list[str]:
    checked = list(dict.fromkeys(_word("resource_ids", value) for value in several("resource_ids", values)))
    if not 1 <= len(checked) <= _MAX_RESOURCES:
        raise ValueError(f"resource_ids takes 1 to {_MAX_RESOURCES} IDs, not {len(checked)}")
    return checked
