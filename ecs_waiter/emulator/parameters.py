"""Reads a request's parameters as the service does; an invalid one becomes a ServiceError."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ecs_waiter.emulator.wire import ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ecs_waiter.emulator.clock import ServiceTime

__all__ = ["invalid", "required", "task_ids", "utc_time", "values", "whole"]

_WHOLE = re.compile(r"[0-9]{1,9}", re.ASCII)
_MAX_VALUES = 100


def invalid(name: str, why: str) -> ServiceError:
    """Return the error for one parameter's value."""
    return ServiceError(400, "InvalidParameter", f"The specified parameter {name} is not valid: {why}.")


def required(params: Mapping[str, str], name: str) -> str:
    """Return a mandatory parameter."""
    value = params.get(name, "")
    if not value:
        message = f'The input parameter "{name}" that is mandatory for processing this request is not supplied.'
        raise ServiceError(400, "MissingParameter", message)
    return value


def whole(params: Mapping[str, str], name: str, *, default: int, least: int, most: int) -> int:
    """Return a whole number within its bounds."""
    value = params.get(name, "")
    if not value:
        return default
    if not _WHOLE.fullmatch(value) or not least <= int(value) <= most:
        raise invalid(name, f"it takes a whole number from {least} to {most}")
    return int(value)


def utc_time(params: Mapping[str, str], name: str, time: ServiceTime) -> datetime | None:
    """Return a UTC time, or None if none is given."""
    value = params.get(name, "")
    if not value:
        return None
    try:
        return time.parse(value)
    except ValueError:
        raise invalid(name, "it takes a UTC time, yyyy-MM-ddTHH:mm:ssZ") from None


def task_ids(params: Mapping[str, str]) -> tuple[str, ...]:
    """Return the IDs in ``TaskIds``, or the one in ``TaskId``."""
    text = params.get("TaskIds", "") or params.get("TaskId", "")
    return tuple(part.strip() for part in text.split(",") if part.strip())


def values(params: Mapping[str, str], name: str) -> tuple[str, ...]:
    """Return the values of a list parameter: ``Name.1``, ``Name.2``, ..."""
    numbered = re.compile(rf"{re.escape(name)}\.[0-9]{{1,9}}", re.ASCII)
    found = tuple(value for key, value in params.items() if numbered.fullmatch(key) and value)
    if len(found) > _MAX_VALUES:
        raise invalid(name, f"it takes at most {_MAX_VALUES} values")
    return found
