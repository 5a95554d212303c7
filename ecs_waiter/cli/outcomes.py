"""Outcomes: what became of each task, as JSON, and the exit code of them all."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

from ecs_waiter.cli.failure import ExitCode
from ecs_waiter.errors import (
    ApiError,
    EcsWaiterError,
    TaskCanceledError,
    TaskError,
    TaskFailedError,
    TaskNotFoundError,
)
from ecs_waiter.models import Task, TaskDetail, TaskStatus

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from ecs_waiter.cli.task_refs import TaskRef

__all__ = ["COLOURS", "OUTCOMES", "Record", "exit_code", "reason_of", "record_of", "status_outcome", "summary"]

COLOURS = {"finished": "green", "failed": "red", "error": "red", "canceled": "yellow", "not_found": "red"}
OUTCOMES = ("finished", "failed", "canceled", "not_found", "error", "pending")

_OF_ERRORS: tuple[tuple[type[EcsWaiterError], str], ...] = (
    (TaskFailedError, "failed"),
    (TaskCanceledError, "canceled"),
    (TaskNotFoundError, "not_found"),
)


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one task.

    Attributes:
        ref: The task.
        outcome: One of `OUTCOMES`.
        task: Its last known state; None if it was never seen.
        error: Why it did not finish.
    """

    ref: TaskRef
    outcome: str
    task: Task | None = None
    error: EcsWaiterError | None = None

    def as_json(self) -> dict[str, Any]:
        """Return what scripts are given."""
        task = self.task
        return {
            "region_id": self.ref.region_id,
            "task_id": self.ref.task_id,
            "task_status": _text(task.task_status if task else None),
            "task_action": _text(task.task_action if task else None),
            "resource_id": _text(task.resource_id if task else None),
            "creation_time": _time(task.creation_time if task else None),
            "finished_time": _time(task.finished_time if task else None),
            "outcome": self.outcome,
            "error": None if self.error is None else _error_json(self.error),
        }


def record_of(ref: TaskRef, result: Task | EcsWaiterError, last_seen: Task | None = None) -> Record:
    """Return the record of what a wait gave for a task."""
    if isinstance(result, Task):
        return Record(ref, "finished", result)
    outcome = next((word for kind, word in _OF_ERRORS if isinstance(result, kind)), "error")
    task = result.task if isinstance(result, TaskError) else None
    return Record(ref, outcome, task or last_seen, result)


def status_outcome(task: Task) -> str:
    """Return the outcome that a task's status by itself means."""
    match task.task_status:
        case TaskStatus.FINISHED:
            return "finished"
        case TaskStatus.FAILED:
            return "failed"
        case TaskStatus() as status if status.is_canceled:
            return "canceled"
    return "pending"


def summary(records: Iterable[Record]) -> dict[str, int]:
    """Return how many there are of each outcome that occurs."""
    counts = Counter(record.outcome for record in records)
    return {outcome: counts[outcome] for outcome in OUTCOMES if counts[outcome]}


def exit_code(records: Iterable[Record], *, timed_out: bool = False) -> ExitCode:
    """Return the exit code: a deadline outweighs errors, an error outweighs failures."""
    if timed_out:
        return ExitCode.TIMED_OUT
    outcomes = {record.outcome for record in records}
    if "error" in outcomes:
        return ExitCode.ERROR
    return ExitCode.FAILED if outcomes & {"failed", "canceled", "not_found"} else ExitCode.FINISHED


def reason_of(detail: TaskDetail | None) -> tuple[str | None, str | None]:
    """Return the service's own code and words for a failure; of several steps the first code and all the words."""
    steps = detail.operations if detail is not None else ()
    code = next((step.error_code for step in steps if step.error_code), None)
    words = dict.fromkeys(step.error_msg for step in steps if step.error_msg)
    return code, "; ".join(words) or None


def _error_json(error: EcsWaiterError) -> dict[str, str | None]:
    code: str | None = None
    message: str | None = str(error)
    request_id = None
    if isinstance(error, ApiError):
        code, message, request_id = error.code, error.message, error.request_id
    elif isinstance(error, TaskFailedError):
        code, told = reason_of(error.detail)
        message = told or (None if code else "the service gave no reason")
    return {"type": type(error).__name__, "code": code, "message": message, "request_id": request_id}


def _text(value: str | None) -> str | None:
    return str(value) if value else None


def _time(value: datetime | None) -> str | None:
    return None if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")
