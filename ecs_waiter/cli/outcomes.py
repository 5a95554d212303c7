"""Outcomes: the last known state and the result of each task, as JSON, counts and an exit code."""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ecs_waiter.cli.exit_codes import ExitCode
from ecs_waiter.cli.messages import explain
from ecs_waiter.errors import (
    ApiError,
    EcsWaiterError,
    TaskCanceledError,
    TaskError,
    TaskFailedError,
    TaskNotFoundError,
)
from ecs_waiter.escaping import escape_control
from ecs_waiter.models import Task, TaskDetail, TaskStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from ecs_waiter.cli.inputs import TaskRef
    from ecs_waiter.polling.durations import Eta

__all__ = [
    "COLORS",
    "OUTCOMES",
    "ErrorSummary",
    "KnownTask",
    "Record",
    "WatchedTasks",
    "exit_code",
    "in_order",
    "reason_of",
    "record_of",
    "status_outcome",
    "summary_of",
]

COLORS = {"finished": "green", "failed": "red", "error": "red", "canceled": "yellow", "not_found": "red"}
OUTCOMES = ("finished", "failed", "canceled", "not_found", "error", "pending")

_OUTCOME_OF_ERROR: tuple[tuple[type[EcsWaiterError], str], ...] = (
    (TaskFailedError, "failed"),
    (TaskCanceledError, "canceled"),
    (TaskNotFoundError, "not_found"),
)
_NO_REASON = "the service gave no reason"
_UNSEEN = "unseen"


class KnownTask:
    """The fields of a `Task`, in a tenth of its memory."""

    __slots__ = ("creation_time", "finished_time", "ref", "resource_id", "support_cancel", "task_action", "task_status")

    def __init__(self, ref: TaskRef, task: Task) -> None:
        self.ref = ref
        # Interned, because a million tasks share a few statuses and actions.
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
        """Return it as a `Task`."""
        return Task(**{name: getattr(self, name) for name in Task.model_fields})


class ErrorSummary:
    """What the results need of an error, without its traceback and task.

    Attributes:
        as_json: The value of ``error`` in JSON.
        text: The last column of a line of text.
    """

    __slots__ = ("as_json", "text")

    def __init__(self, error: EcsWaiterError) -> None:
        self.as_json = _error_json(error)
        self.text = _error_text(error)


@dataclass(frozen=True, slots=True)
class Record:
    """The result of one task.

    Attributes:
        ref: The task.
        outcome: One of `OUTCOMES`.
        task: Its last known state; None if it was never seen.
        error: Why it did not finish.
    """

    ref: TaskRef
    outcome: str
    task: KnownTask | None = None
    error: ErrorSummary | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the task's object in the JSON output."""
        task, error = self.task, self.error
        return {
            "region_id": self.ref.region_id,
            "task_id": self.ref.task_id,
            "task_status": _text(task.task_status if task else None),
            "task_action": _text(task.task_action if task else None),
            "resource_id": _text(task.resource_id if task else None),
            "creation_time": _time(task.creation_time if task else None),
            "finished_time": _time(task.finished_time if task else None),
            "outcome": self.outcome,
            "error": None if error is None else error.as_json,
        }


class WatchedTasks:
    """The last known state and the outcome of each task, with running counts.

    It keeps a few hundred bytes per task, because there may be a million.

    Args:
        refs: The tasks, in the order asked.

    Attributes:
        eta: The time left of all tasks; None if it is not known.
    """

    def __init__(self, refs: Sequence[TaskRef]) -> None:
        self.eta: Eta | None = None
        self.refs = {ref.task_id: ref for ref in refs}
        self.regions: dict[str, list[str]] = {}
        for ref in refs:
            self.regions.setdefault(ref.region_id, []).append(ref.task_id)
        self.done_in: Counter[str] = Counter()
        self._known: dict[str, KnownTask | Record] = {}
        self._outcomes: Counter[str] = Counter()
        self._labels = Counter({_UNSEEN: len(self.refs)})
        self._few_pending: list[TaskRef] | None = None
        self._began = time.monotonic()

    def __len__(self) -> int:
        return len(self.refs)

    @property
    def seconds(self) -> float:
        """Seconds since the wait began."""
        return time.monotonic() - self._began

    @property
    def done(self) -> int:
        """How many tasks have an outcome."""
        return self._outcomes.total()

    def counts(self) -> dict[str, int]:
        """Count the tasks by outcome, or by status if they have none yet."""
        return {label: count for label, count in self._labels.most_common() if count}

    def outcomes(self) -> dict[str, int]:
        """Count the tasks by outcome; those without one are pending."""
        return in_order({**self._outcomes, "pending": len(self) - self.done})

    def pending_task(self, task_id: str) -> KnownTask | None:
        """Return the last known state of a pending task; None if it was never seen."""
        known = self._known.get(task_id)
        return known if isinstance(known, KnownTask) else None

    def pending(self) -> Iterator[TaskRef]:
        """Iterate over the tasks without an outcome, in the order asked."""
        return (ref for ref, known in self.states() if not isinstance(known, Record))

    def few_pending(self, most: int) -> list[TaskRef]:
        """Return the pending tasks; none if there are more than `most`."""
        if len(self) - self.done > most:
            return []
        # Kept once there are few, so that a redraw does not search a million tasks.
        refs = self.refs.values() if self._few_pending is None else self._few_pending
        self._few_pending = [ref for ref in refs if not isinstance(self._known.get(ref.task_id), Record)]
        return self._few_pending

    def update(self, task: Task) -> KnownTask:
        """Store the state of a pending task."""
        before = self.pending_task(task.task_id)
        known = self._known[task.task_id] = KnownTask(self.refs[task.task_id], task)
        self._labels[_label(before)] -= 1
        self._labels[_label(known)] += 1
        return known

    def finish(self, ref: TaskRef, result: Task | EcsWaiterError) -> Record:
        """Store the result of a pending task; returns its record."""
        before = self.pending_task(ref.task_id)
        record = self._known[ref.task_id] = record_of(ref, result, before)
        self._labels[_label(before)] -= 1
        self._labels[record.outcome] += 1
        self._outcomes[record.outcome] += 1
        self.done_in[ref.region_id] += 1
        return record

    def record(self, ref: TaskRef) -> Record:
        """Return the record of a task, which may be pending."""
        known = self._known.get(ref.task_id)
        return known if isinstance(known, Record) else Record(ref, "pending", known)

    def records(self) -> Iterator[Record]:
        """Iterate over the records of all tasks, in the order asked."""
        return map(self.record, self.refs.values())

    def states(self) -> Iterator[tuple[TaskRef, KnownTask | Record | None]]:
        """Iterate over all tasks in the order asked: their record, else their last state, else None."""
        return zip(self.refs.values(), map(self._known.get, self.refs), strict=True)


def record_of(ref: TaskRef, result: Task | EcsWaiterError, last_known: KnownTask | None = None) -> Record:
    """Return the record for the result of a wait."""
    if isinstance(result, Task):
        return Record(ref, "finished", KnownTask(ref, result))
    outcome = next((name for kind, name in _OUTCOME_OF_ERROR if isinstance(result, kind)), "error")
    task = result.task if isinstance(result, TaskError) else None
    return Record(ref, outcome, KnownTask(ref, task) if task else last_known, summary_of(result))


@lru_cache(maxsize=1)
def summary_of(error: EcsWaiterError) -> ErrorSummary:
    """Return the summary of an error; the tasks of a region that failed share their error, and so its summary."""
    return ErrorSummary(error)


def status_outcome(task: Task) -> str:
    """Return the outcome for a task's status."""
    match task.task_status:
        case TaskStatus.FINISHED:
            return "finished"
        case TaskStatus.FAILED:
            return "failed"
        case TaskStatus() as status if status.is_canceled:
            return "canceled"
    return "pending"


def in_order(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the counts that are not zero, in the order of `OUTCOMES`."""
    return {outcome: count for outcome in OUTCOMES if (count := counts.get(outcome, 0))}


def exit_code(outcomes: Iterable[str], *, timed_out: bool = False) -> ExitCode:
    """Return the exit code: a timeout outweighs errors, an error outweighs failures."""
    if timed_out:
        return ExitCode.TIMED_OUT
    found = set(outcomes)
    if "error" in found:
        return ExitCode.ERROR
    return ExitCode.FAILED if found & {"failed", "canceled", "not_found"} else ExitCode.FINISHED


def reason_of(detail: TaskDetail | None) -> tuple[str | None, str | None]:
    """Return the error code and message of a failed task; of several steps the first code and all messages."""
    steps = detail.operations if detail is not None else ()
    code = next((step.error_code for step in steps if step.error_code), None)
    messages = dict.fromkeys(step.error_msg for step in steps if step.error_msg)
    return code, "; ".join(messages) or None


def _error_json(error: EcsWaiterError) -> dict[str, str | None]:
    code: str | None = None
    message: str | None = str(error)
    request_id = None
    if isinstance(error, ApiError):
        code, message, request_id = error.code, error.message, error.request_id
    elif isinstance(error, TaskFailedError):
        code, reason = reason_of(error.detail)
        message = reason or (None if code else _NO_REASON)
    return {"type": type(error).__name__, "code": code, "message": message, "request_id": request_id}


def _error_text(error: EcsWaiterError) -> str:
    if isinstance(error, TaskFailedError):
        return escape_control(": ".join(filter(None, reason_of(error.detail)))) or _NO_REASON
    if isinstance(error, TaskCanceledError):
        return f"status {escape_control(error.task.task_status)}" if error.task else "-"
    return "not found in this region" if isinstance(error, TaskNotFoundError) else explain(error)


def _label(known: KnownTask | None) -> str:
    return str(known.task_status).lower() or _UNSEEN if known else _UNSEEN


def _text(value: str | None) -> str | None:
    return str(value) if value else None


def _time(value: datetime | None) -> str | None:
    return None if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")
