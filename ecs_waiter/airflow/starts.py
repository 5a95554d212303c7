"""What a task instance has started: remembered over its tries, so that a retry starts nothing twice."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = ["TASK_ID_KEY", "Started", "client_token", "recall", "remember", "remember_end"]

TASK_ID_KEY = "ecs_task_id"
"""The XCom that holds the ID of the task that was started, from the start on."""

_STORE_KEY = "ecs_task"


class Started(NamedTuple):
    """What earlier tries have left.

    Attributes:
        task_id: The task that was started and not seen to end.
        superseded: The task that was seen to end: whoever clears its task instance wants another one.
    """

    task_id: str | None = None
    superseded: str = ""


def recall(context: Context) -> Started:
    """Return what this task instance has started before.

    Airflow drops a task instance's XComs before a retry. Its task state store (Airflow 3.3) outlives them.
    """
    store: Any = context.get("task_state_store")
    kept = store.get(_STORE_KEY) if store is not None else None
    if isinstance(kept, dict) and isinstance(task_id := kept.get("task_id"), str):
        return Started(superseded=task_id) if kept.get("ended") else Started(task_id)
    ti: Any = context["ti"]
    if ti.try_number == 1:
        return Started()
    told = ti.xcom_pull(task_ids=ti.task_id, key=TASK_ID_KEY, map_indexes=ti.map_index)
    return Started(told) if isinstance(told, str) and told else Started()


def remember(context: Context, task_id: str) -> None:
    """Keep the ID of the task that has just been started, or taken up again."""
    _keep(context, task_id, ended=False)
    context["ti"].xcom_push(key=TASK_ID_KEY, value=task_id)


def remember_end(context: Context, task_id: str) -> None:
    """Note that the task has ended, well or not."""
    _keep(context, task_id, ended=True)


def client_token(ti: Any, superseded: str) -> str:
    """Return the same token for every try of a task instance, until the task that it started has been seen to end."""
    told = json.dumps([ti.dag_id, ti.run_id, ti.task_id, ti.map_index, superseded], default=str)
    return hashlib.sha256(told.encode()).hexdigest()


def _keep(context: Context, task_id: str, *, ended: bool) -> None:
    store: Any = context.get("task_state_store")
    if store is not None:
        store.set(_STORE_KEY, {"task_id": task_id, "ended": ended})
