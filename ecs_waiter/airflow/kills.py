"""Canceling at the service what a killed task instance leaves behind - once it is sure that nobody waits for it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async

from ecs_waiter.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ecs_waiter.airflow.hooks import EcsTaskHook

__all__ = ["cancel_if_left", "cancel_if_left_blocking"]

# A state that only a new try leaves again. In any other the task instance waits, here or elsewhere, or will do so.
_LEFT = frozenset({"failed", "success", "skipped", "upstream_failed", "removed"})
_PATIENCE = 25.0  # seconds; Airflow has thirty


async def cancel_if_left(hook: EcsTaskHook, ti: Any, region_id: str | None, task_ids: Iterable[str], log: Any) -> None:
    """Cancel the tasks if the task instance has come to its end in Airflow.

    Airflow calls `on_kill` for every trigger that is no longer this triggerer's, which is also one that another
    triggerer took over while this one was paused, and one whose task instance has been cleared to be tried again.

    Raises:
        TimeoutError: It took too long.
        AirflowNotFoundException, ValueError: The connection is of no use.
    """
    async with asyncio.timeout(_PATIENCE):
        await _cancel_if_left(hook, ti, region_id, task_ids, log)


async def _cancel_if_left(hook: EcsTaskHook, ti: Any, region_id: str | None, task_ids: Iterable[str], log: Any) -> None:
    state = await sync_to_async(_state_of)(ti)
    if state not in _LEFT:
        log.info("not canceled: %s, for the task instance is %s", ", ".join(task_ids), state or "gone")
        return
    access = await hook.get_async_access()
    async with await hook.get_async_conn() as client:
        for task_id in task_ids:
            try:
                await client.cancel_task(access.region(region_id), task_id)
            except ApiError as error:
                log.warning("not canceled: %s: %s", task_id, error)
            else:
                log.info("canceled: %s", task_id)


def cancel_if_left_blocking(
    hook: EcsTaskHook, ti: Any, region_id: str | None, task_ids: Iterable[str], log: Any
) -> None:
    """Do the same from a signal's handler.

    In a thread, for the handler may have struck while the main thread runs a loop or speaks with its supervisor.
    """

    def cancel() -> None:
        try:
            asyncio.run(cancel_if_left(hook, ti, region_id, task_ids, log))
        except Exception as error:  # noqa: BLE001 - the process ends now, and its log is all that is left
            log.warning("not canceled: %s: %s", ", ".join(task_ids), error)

    thread = threading.Thread(target=cancel, name="ecs_waiter-cancel", daemon=True)
    thread.start()
    thread.join(_PATIENCE)


def _state_of(ti: Any) -> str | None:
    # Where tasks run this is loaded already; where DAGs are only parsed it need not be.
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance  # noqa: PLC0415

    states = RuntimeTaskInstance.get_task_states(
        dag_id=ti.dag_id, map_index=ti.map_index, task_ids=[ti.task_id], run_ids=[ti.run_id]
    )
    name = ti.task_id if ti.map_index is None or ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}"
    state = states.get(ti.run_id, {}).get(name)
    return None if state is None else str(getattr(state, "value", state))
