"""How a wait ended: as plain JSON, which a trigger's event carries, and as the exception that Airflow is to see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from ecs_waiter.errors import EcsWaiterError, TaskError, WaitTimeoutError
from ecs_waiter.models import Task

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["checked_event", "event_of_error", "event_of_results", "tasks_of"]

_TOLD = 10


def event_of_results(results: Mapping[str, Task | EcsWaiterError], end: EcsWaiterError | None = None) -> dict[str, Any]:
    """Describe what became of each task.

    ``status`` is ``failed`` if a task failed, was canceled or is unknown, which no retry changes; else ``error`` if a
    region could not be asked, ``timeout`` if the deadline passed, or ``success``.

    Args:
        results: The tasks that finished, and the errors.
        end: What ended the wait before all had finished.
    """
    errors = {task_id: found for task_id, found in results.items() if isinstance(found, EcsWaiterError)}
    known = {task_id: error.task if isinstance(error, TaskError) else None for task_id, error in errors.items()}
    tasks = {**results, **known}
    # An error of a whole region stands under each of its IDs, and is told once.
    told = list(dict.fromkeys(map(_told, errors.values())))
    if end is not None:
        told.append(_told(end))
    if any(isinstance(error, TaskError) for error in errors.values()):
        status = "failed"
    elif errors or not (end is None or isinstance(end, WaitTimeoutError)):
        status = "error"
    else:
        status = "success" if end is None else "timeout"
    return {
        "status": status,
        "message": "; ".join(told[:_TOLD]) + _more(len(told)),
        "tasks": {task_id: task.model_dump(mode="json") for task_id, task in tasks.items() if isinstance(task, Task)},
        "errors": {task_id: _told(error) for task_id, error in errors.items()},
        "pending": [] if end is None else list(end.pending),
    }


def event_of_error(error: Exception) -> dict[str, Any]:
    """Describe what ended the wait as a whole, whatever it is."""
    if isinstance(error, EcsWaiterError):
        return event_of_results(error.results, error)
    message = f"{type(error).__name__}: {error}"
    return {"status": "error", "message": message, "tasks": {}, "errors": {}, "pending": []}


def checked_event(event: object) -> dict[str, Any]:
    """Return the event of a wait that ended well.

    Raises:
        AirflowFailException: A task failed at the service, was canceled or is unknown: a retry would find it so again.
        AirflowException: The deadline passed, or the service could not be asked; also what is no event of ours.
    """
    if not isinstance(event, dict) or "status" not in event:
        raise AirflowException(f"the trigger gave no event of a wait: {event!r}")
    status, message = event["status"], event.get("message") or "no more is known"
    if status == "failed":
        raise AirflowFailException(message)
    if status == "timeout":
        raise AirflowException(f"the deadline passed, and the service works on: {message}")
    if status != "success":
        raise AirflowException(f"the wait ended: {message}")
    return event


def tasks_of(event: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the tasks that an event knows, by ID, each a plain dict of a Task's fields."""
    tasks = event.get("tasks")
    return tasks if isinstance(tasks, dict) else {}


def _told(error: Exception) -> str:
    notes = [f"{note}" for note in getattr(error, "__notes__", ())]
    return "; ".join([str(error), *notes])


def _more(count: int) -> str:
    return f"; and {count - _TOLD} more" if count > _TOLD else ""
