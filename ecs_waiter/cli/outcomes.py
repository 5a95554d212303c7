"""Outcomes: what became of each task, as JSON, and the exit code of them all."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

from ecs_waiter.cli.failure import ExitCode
from ecs_waiter.cli.messages import explain
from ecs_waiter.errors import (
    ApiError,
    EcsWaiterError,
    TaskCanceledError,
    TaskError,
    TaskFailedError,
    TaskNotFoundError,
)
from ecs_waiter.models import Task, TaskDetail, TaskStatus
from ecs_waiter.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from ecs_waiter.cli.task_refs import TaskRef

__all__ = [
    "COLOURS",
    "OUTCOMES",
    "Record",
    "Seen",
    "Why",
    "exit_code",
    "in_order",
    "reason_of",
    "record_of",
    "status_outcome",
    "summary",
]

COLOURS = {"finished": "green", "failed": "red", "error": "red", "canceled": "yellow", "not_found": "red"}
OUTCOMES = ("finished", "failed", "canceled", "not_found", "error", "pending")

_OF_ERRORS: tuple[tuple[type[EcsWaiterError], str], ...] = (
    (TaskFailedError, "failed"),
    (TaskCanceledError, "canceled"),
    (TaskNotFoundError, "not_found"),
)


class Seen:
    """What is kept of a task that was seen: the fields of a `Task`, in a tenth of the memory."""

    __slots__ = ("creation_time", "finished_time", "ref", "resource_id", "support_cancel", "task_action", "task_status")

    def __init__(self, ref: TaskRef, task: Task) -> None:
        self.ref = ref
        # One copy of the words for all tasks.
        self.task_status = (
            task.task_status if isinstance(task.task_status, TaskStatus) else sys.intern(task.task_status)
        )
        self.task_action = sys.intern(task.task_action)
        self.resource_id = task.resource_id
        self.creation_time = task.creation_time
        self.finished_time = task.finished_time
        self.support_cancel = task.support_cancel

    @property
    def task_id(self) -> str:
        """The task's ID."""
        return self.ref.task_id

    @property
    def region_id(self) -> str:
        """The task's region."""
        return self.ref.region_id

    def as_task(self) -> Task:
        """Return the task again."""
        return Task(**{name: getattr(self, name) for name in Task.model_fields})


class Why:
    """What is kept of the error of a task that did not finish.

    Attributes:
        as_json: What scripts are given.
        shown: What a line of text says.
    """

    __slots__ = ("as_json", "shown")

    def __init__(self, error: EcsWaiterError) -> None:
        self.as_json = _error_json(error)
        self.shown = _shown(error)


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
    task: Task | Seen | None = None
    error: EcsWaiterError | Why | None = None

    @property
    def why(self) -> Why | None:
        """What is to be kept of the error."""
        return Why(self.error) if isinstance(self.error, EcsWaiterError) else self.error

    def as_json(self) -> dict[str, Any]:
        """Return what scripts are given."""
        task, why = self.task, self.why
        return {
            "region_id": self.ref.region_id,
            "task_id": self.ref.task_id,
            "task_status": _text(task.task_status if task else None),
            "task_action": _text(task.task_action if task else None),
            "resource_id": _text(task.resource_id if task else None),
            "creation_time": _time(task.creation_time if task else None),
            "finished_time": _time(task.finished_time if task else None),
            "outcome": self.outcome,
            "error": None if why is None else why.as_json,
        }


def record_of(ref: TaskRef, result: Task | EcsWaiterError, last_seen: Seen | None = None) -> Record:
    """Return the record of what a wait gave for a task."""
    if isinstance(result, Task):
        return Record(ref, "finished", Seen(ref, result))
    outcome = next((word for kind, word in _OF_ERRORS if isinstance(result, kind)), "error")
    task = result.task if isinstance(result, TaskError) else None
    return Record(ref, outcome, Seen(ref, task) if task else last_seen, result)


def status_outcome(task: Task | Seen) -> str:
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
    return in_order(Counter(record.outcome for record in records))


def in_order(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the counts that are not zero, in the order of `OUTCOMES`."""
    return {outcome: count for outcome in OUTCOMES if (count := counts.get(outcome, 0))}


def exit_code(outcomes: Iterable[str], *, timed_out: bool = False) -> ExitCode:
    """Return the exit code: a deadline outweighs errors, an error outweighs failures."""
    if timed_out:
        return ExitCode.TIMED_OUT
    found = set(outcomes)
    if "error" in found:
        return ExitCode.ERROR
    return ExitCode.FAILED if found & {"failed", "canceled", "not_found"} else ExitCode.FINISHED


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


def _shown(error: EcsWaiterError) -> str:
    if isinstance(error, TaskFailedError):
        told = ": ".join(filter(None, reason_of(error.detail)))
        return printable(told) or "the service gave no reason"
    if isinstance(error, TaskCanceledError):
        return f"status {printable(error.task.task_status)}" if error.task else "-"
    return "not found in this region" if isinstance(error, TaskNotFoundError) else explain(error)


def _text(value: str | None) -> str | None:
    return str(value) if value else None


def _time(value: datetime | None) -> str | None:
    return None if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")
