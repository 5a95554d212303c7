"""Remembers across the tries of a task instance which task it has started, so that a retry starts nothing twice."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = ["TASK_ID_KEY", "Earlier", "client_token", "recall", "remember"]

TASK_ID_KEY = "ecs_task_id"
"""The XCom that holds the ID of the started task, from the start on."""

_STORE_KEY = "ecs_task"


class Earlier(NamedTuple):
    """What earlier tries have started.

    Attributes:
        task_id: A task whose end no try has seen.
        ended: A task whose end a try has seen: clearing the task instance starts a new one.
    """

    task_id: str | None = None
    ended: str = ""


def recall(context: Context) -> Earlier:
    """Return what this task instance has started before.

    Airflow drops a task instance's XComs before a retry, but keeps its task state store (Airflow 3.3).
    """
    store: Any = context.get("task_state_store")
    kept = store.get(_STORE_KEY) if store is not None else None
    if isinstance(kept, dict) and isinstance(task_id := kept.get("task_id"), str):
        return Earlier(ended=task_id) if kept.get("ended") else Earlier(task_id)
    ti: Any = context["ti"]
    if ti.try_number == 1:
        return Earlier()
    pulled = ti.xcom_pull(task_ids=ti.task_id, key=TASK_ID_KEY, map_indexes=ti.map_index)
    return Earlier(pulled) if isinstance(pulled, str) and pulled else Earlier()


def remember(context: Context, task_id: str, *, ended: bool = False) -> None:
    """Store the ID of the task that was started or resumed, and later that it has ended, successfully or not."""
    store: Any = context.get("task_state_store")
    if store is not None:
        store.set(_STORE_KEY, {"task_id": task_id, "ended": ended})
    if not ended:
        context["ti"].xcom_push(key=TASK_ID_KEY, value=task_id)


def client_token(ti: Any, ended: str) -> str:
    """Return the same token for every try of a task instance, until a try sees the end of the started task."""
    parts = json.dumps([ti.dag_id, ti.run_id, ti.task_id, ti.map_index, ended], default=str)
    return hashlib.sha256(parts.encode()).hexdigest()
