"""The result of a wait: as plain JSON, which a trigger's event carries, and as the exception that Airflow expects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from ecs_waiter.errors import EcsWaiterError, TaskError, WaitTimeoutError
from ecs_waiter.models import Task

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["checked_event", "event_of_error", "event_of_results", "tasks_of"]

_SHOWN = 10


def event_of_results(results: Mapping[str, Task | EcsWaiterError], end: EcsWaiterError | None = None) -> dict[str, Any]:
    """Return the event for the results of a wait.

    ``status`` is ``failed`` if a task failed, was canceled or is unknown, which no retry changes; else ``error`` if a
    region did not respond, ``timeout`` if the deadline passed, or ``success``.

    Args:
        results: The tasks that finished, and the errors.
        end: The error that ended the wait before all tasks had finished.
    """
    errors = {task_id: found for task_id, found in results.items() if isinstance(found, EcsWaiterError)}
    known = {task_id: error.task if isinstance(error, TaskError) else None for task_id, error in errors.items()}
    tasks = {**results, **known}
    # Each ID of a region has the region's error; show it once.
    messages = list(dict.fromkeys(map(_message, errors.values())))
    if end is not None:
        messages.append(_message(end))
    if any(isinstance(error, TaskError) for error in errors.values()):
        status = "failed"
    elif errors or not (end is None or isinstance(end, WaitTimeoutError)):
        status = "error"
    else:
        status = "success" if end is None else "timeout"
    more = f"; and {len(messages) - _SHOWN} more" if len(messages) > _SHOWN else ""
    return {
        "status": status,
        "message": "; ".join(messages[:_SHOWN]) + more,
        "tasks": {task_id: task.model_dump(mode="json") for task_id, task in tasks.items() if isinstance(task, Task)},
        "errors": {task_id: _message(error) for task_id, error in errors.items()},
        "pending": [] if end is None else list(end.pending),
    }


def event_of_error(error: Exception) -> dict[str, Any]:
    """Return the event for any error that ended the whole wait."""
    if isinstance(error, EcsWaiterError):
        return event_of_results(error.results, error)
    message = f"{type(error).__name__}: {error}"
    return {"status": "error", "message": message, "tasks": {}, "errors": {}, "pending": []}


def checked_event(event: object) -> dict[str, Any]:
    """Return the event of a successful wait.

    Raises:
        AirflowFailException: A task failed, was canceled or is unknown, so a retry is useless.
        AirflowException: The deadline passed, the service did not respond, or this is not an event of a wait.
    """
    if not isinstance(event, dict) or "status" not in event:
        raise AirflowException(f"the trigger returned an invalid event: {event!r}")
    status, message = event["status"], event.get("message") or "no details"
    if status == "failed":
        raise AirflowFailException(message)
    if status == "timeout":
        raise AirflowException(f"the deadline passed, but the service is still working: {message}")
    if status != "success":
        raise AirflowException(f"the wait failed: {message}")
    return event


def tasks_of(event: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the tasks in an event, by ID, each a plain dict of a Task's fields."""
    tasks = event.get("tasks")
    return tasks if isinstance(tasks, dict) else {}


def _message(error: Exception) -> str:
    return "; ".join([str(error), *map(str, getattr(error, "__notes__", ()))])
