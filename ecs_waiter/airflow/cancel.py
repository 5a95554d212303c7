"""Cancels the ECS tasks of a killed task instance, unless something still waits for them."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async

from ecs_waiter.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ecs_waiter.airflow.hooks import EcsTaskHook

__all__ = ["cancel_if_ended", "cancel_if_ended_blocking"]

# In any other state the task instance waits, here or elsewhere, or will wait in its next try.
_ENDED = frozenset({"failed", "success", "skipped", "upstream_failed", "removed"})
_TIMEOUT = 25.0  # seconds; Airflow's own limit is 30


async def cancel_if_ended(hook: EcsTaskHook, ti: Any, task_ids: Iterable[str], log: Any) -> None:
    """Cancel the tasks if the task instance has ended in Airflow.

    Airflow also calls `on_kill` for a trigger that another triggerer took over while this one was paused, and for one
    whose task instance was cleared so that it runs again.

    Raises:
        TimeoutError: It took longer than 25 seconds.
        AirflowNotFoundException, ValueError: The connection does not exist or is invalid.
    """
    async with asyncio.timeout(_TIMEOUT):
        state = await sync_to_async(_state_of)(ti)
        if state not in _ENDED:
            log.info("not canceled: %s, because the task instance is %s", ", ".join(task_ids), state or "gone")
            return
        region_id = (await hook.get_async_access()).region(hook.region_id)
        async with await hook.get_async_conn() as client:
            for task_id in task_ids:
                try:
                    await client.cancel_task(task_id, region_id=region_id)
                except ApiError as error:
                    log.warning("not canceled: %s: %s", task_id, error)
                else:
                    log.info("canceled: %s", task_id)


def cancel_if_ended_blocking(hook: EcsTaskHook, ti: Any, task_ids: Iterable[str], log: Any) -> None:
    """Do the same from a signal handler.

    It needs a thread: the main thread may be running an event loop or talking to its supervisor.
    """

    def cancel() -> None:
        try:
            asyncio.run(cancel_if_ended(hook, ti, task_ids, log))
        except Exception as error:  # noqa: BLE001 - the process ends now, so only its log can report any error
            log.warning("not canceled: %s: %s", ", ".join(task_ids), error)

    thread = threading.Thread(target=cancel, name="ecs_waiter-cancel", daemon=True)
    thread.start()
    thread.join(_TIMEOUT)


def _state_of(ti: Any) -> str | None:
    # Loaded already where tasks run, but not where DAGs are only parsed.
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance  # noqa: PLC0415

    states = RuntimeTaskInstance.get_task_states(
        dag_id=ti.dag_id, map_index=ti.map_index, task_ids=[ti.task_id], run_ids=[ti.run_id]
    )
    name = ti.task_id if ti.map_index is None or ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}"
    state = states.get(ti.run_id, {}).get(name)
    return None if state is None else str(getattr(state, "value", state))
