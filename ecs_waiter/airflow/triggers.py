"""EcsTaskTrigger: waits for tasks in a triggerer; all its triggers share one TaskWaiter."""

from __future__ import annotations

import asyncio
import contextvars
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from ecs_waiter.airflow.cancel import cancel_if_ended
from ecs_waiter.airflow.hooks import EcsTaskHook
from ecs_waiter.airflow.policies import policy_from_numbers
from ecs_waiter.airflow.trigger_events import event_of_error, event_of_results
from ecs_waiter.errors import EcsWaiterError
from ecs_waiter.escaping import escape_control
from ecs_waiter.runtimes import finished

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from ecs_waiter.models import Task

__all__ = ["EcsTaskTrigger"]


class EcsTaskTrigger(BaseTrigger):
    """Fires one event when all tasks have ended or the deadline has passed.

    All triggers of one event loop with equal connections and policies share one TaskWaiter, which polls up to a
    hundred of their tasks in a call. The first of them opens it, and the last closes it.

    Another triggerer can take over with the arguments alone, because the pace of polling depends on the tasks' age.

    Args:
        task_ids: The tasks.
        region_id: Their region; the connection's by default.
        alibabacloud_conn_id: The connection; None for the default credentials chain.
        deadline: An aware datetime, or ISO 8601 text with an offset; None for no deadline.
        policy: The numbers of a PollPolicy; None for the default.
        cancel_on_kill: Whether to cancel the tasks at the service if a user ends the task instance.
    """

    def __init__(  # noqa: PLR0913 - the options of a wait
        self,
        *,
        task_ids: Sequence[str],
        region_id: str | None = None,
        alibabacloud_conn_id: str | None = EcsTaskHook.default_conn_name,
        deadline: datetime | str | None = None,
        policy: Mapping[str, Any] | None = None,
        cancel_on_kill: bool = False,
    ) -> None:
        # Check nothing here: an exception in a constructor ends the whole triggerer.
        super().__init__()
        self.task_ids = task_ids
        self.region_id = region_id
        self.alibabacloud_conn_id = alibabacloud_conn_id
        self.deadline = deadline
        self.policy = policy
        self.cancel_on_kill = cancel_on_kill
        self._waiting: asyncio.Task[dict[str, Any]] | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what recreates this trigger, as plain JSON."""
        arguments = {
            "task_ids": self.task_ids,
            "region_id": self.region_id,
            "alibabacloud_conn_id": self.alibabacloud_conn_id,
            "deadline": self.deadline.isoformat() if isinstance(self.deadline, datetime) else self.deadline,
            "policy": self.policy,
            "cancel_on_kill": self.cancel_on_kill,
        }
        return f"{EcsTaskTrigger.__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield exactly one event, unless this trigger is canceled."""
        yield TriggerEvent(await self._event())

    async def cleanup(self) -> None:
        """Stop this trigger's wait."""
        if self._waiting is not None:
            self._waiting.cancel()

    async def on_kill(self) -> None:
        """Cancel the tasks if `cancel_on_kill` is set, a user ended the task instance, and the deadline is not over."""
        if not self.cancel_on_kill or self._seconds_left() == 0:
            return
        hook = EcsTaskHook(self.alibabacloud_conn_id, self.region_id)
        work = asyncio.create_task(cancel_if_ended(hook, self.task_instance, self.task_ids, self.log))
        # Airflow cancels this method again each second. The work has its own timeout.
        await finished(work)
        work.result()

    async def _event(self) -> dict[str, Any]:
        context = contextvars.copy_context()

        def log_update(task: Task) -> None:
            # Airflow finds the log of the task instance by this trigger's context.
            context.run(self.log.info, "task %s is %s", escape_control(task.task_id), escape_control(task.task_status))

        # Don't inherit this trigger's contextvars: the shared waiter serves other triggers too, and outlives this one.
        create_task = asyncio.get_running_loop().create_task
        self._waiting = contextvars.Context().run(create_task, self._wait(log_update))
        try:
            return await self._waiting
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is None or current.cancelling():
                raise
            return event_of_error(RuntimeError("the wait was canceled"))
        except EcsWaiterError as error:
            return event_of_error(error)
        except Exception as error:
            self.log.exception("the wait failed")
            return event_of_error(error)

    async def _wait(self, on_update: Any) -> dict[str, Any]:
        policy = policy_from_numbers(self.policy)
        access = await EcsTaskHook(self.alibabacloud_conn_id).get_async_access()
        # In a thread, because the first import takes 0.1 s and would block the loop.
        functions = await asyncio.to_thread(import_module, "ecs_waiter.functions")
        results = await functions.wait_for_tasks(
            self.task_ids,
            region_id=access.region(self.region_id),
            timeout=self._seconds_left(),
            return_exceptions=True,
            on_update=on_update,
            **access.options(policy),
        )
        return event_of_results(results)

    def _seconds_left(self) -> float | None:
        """Return the seconds to the deadline, or None; raises TypeError or ValueError if the deadline is invalid."""
        deadline = self.deadline
        if deadline is None:
            return None
        if isinstance(deadline, str):
            deadline = datetime.fromisoformat(deadline)
        if not isinstance(deadline, datetime) or deadline.tzinfo is None:
            raise TypeError(f"deadline takes a time with its offset, not {deadline!r}")
        return max(0.0, (deadline - datetime.now(UTC)).total_seconds())
