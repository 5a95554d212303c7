"""EcsTaskTrigger: waits for tasks in a triggerer, whose triggers all share one TaskWaiter."""

from __future__ import annotations

import asyncio
import contextvars
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from ecs_waiter.airflow.hooks import EcsTaskHook
from ecs_waiter.airflow.kills import cancel_if_left
from ecs_waiter.airflow.outcomes import event_of_error, event_of_results
from ecs_waiter.airflow.policies import policy_from_numbers
from ecs_waiter.errors import EcsWaiterError
from ecs_waiter.printable import printable
from ecs_waiter.runtimes import finished

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from ecs_waiter.models import Task

__all__ = ["EcsTaskTrigger"]


class EcsTaskTrigger(BaseTrigger):
    """Fires one event when all tasks have ended or the deadline has passed.

    All triggers of one event loop whose connections say the same, with the same policy, share one TaskWaiter: up to a
    hundred of their tasks go into a call. The first of them makes it, and the last closes it.

    A takeover by another triggerer needs nothing but the arguments, for a wait's pace follows each task's own age.

    Args:
        task_ids: The tasks.
        region_id: Their region; the connection's by default.
        alibabacloud_conn_id: The connection; None for the default credentials chain.
        deadline: The time when to give up, aware or as ISO 8601 text with an offset; None for never.
        policy: The numbers of a PollPolicy; None for the default.
        cancel_on_kill: Whether to cancel the tasks at the service if a user ends the task instance meanwhile.
    """

    def __init__(  # noqa: PLR0913 - what a wait is made of
        self,
        *,
        task_ids: Sequence[str],
        region_id: str | None = None,
        alibabacloud_conn_id: str | None = EcsTaskHook.default_conn_name,
        deadline: datetime | str | None = None,
        policy: Mapping[str, Any] | None = None,
        cancel_on_kill: bool = False,
    ) -> None:
        # Nothing is checked here: what a trigger raises while it is made ends the whole triggerer.
        super().__init__()
        self.task_ids = task_ids
        self.region_id = region_id
        self.alibabacloud_conn_id = alibabacloud_conn_id
        self.deadline = deadline
        self.policy = policy
        self.cancel_on_kill = cancel_on_kill
        self._waiting: asyncio.Task[dict[str, Any]] | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes this trigger anew, as plain JSON."""
        deadline = self.deadline.isoformat() if isinstance(self.deadline, datetime) else self.deadline
        return (
            f"{EcsTaskTrigger.__module__}.{type(self).__qualname__}",
            {
                "task_ids": self.task_ids,
                "region_id": self.region_id,
                "alibabacloud_conn_id": self.alibabacloud_conn_id,
                "deadline": deadline,
                "policy": self.policy,
                "cancel_on_kill": self.cancel_on_kill,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event, whatever happens; only a cancellation ends without it."""
        yield TriggerEvent(await self._event())

    async def cleanup(self) -> None:
        """Stop this trigger's own interest in its tasks, and no one else's."""
        if self._waiting is not None:
            self._waiting.cancel()

    async def on_kill(self) -> None:
        """Cancel the tasks, if that is wanted, the user has ended the task instance, and the deadline has not."""
        if not self.cancel_on_kill or self._seconds_left() == 0:
            return
        hook = EcsTaskHook(self.alibabacloud_conn_id)
        work = asyncio.create_task(cancel_if_left(hook, self.task_instance, self.region_id, self.task_ids, self.log))
        # Airflow repeats its cancellation each second, here too. The work has its own time limit.
        await finished(work)
        work.result()

    async def _event(self) -> dict[str, Any]:
        told = contextvars.copy_context()

        def tell(task: Task) -> None:
            # In this trigger's own context, which is what leads a line into the log of its task instance.
            told.run(self.log.info, "task %s is %s", printable(task.task_id), printable(task.task_status))

        # Don't pass this trigger's context variables on: what starts here serves other triggers and outlives this one.
        create_task = asyncio.get_running_loop().create_task
        self._waiting = contextvars.Context().run(create_task, self._wait(tell))
        try:
            return await self._waiting
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if me is None or me.cancelling():
                raise
            return event_of_error(RuntimeError("the wait was canceled"))
        except EcsWaiterError as error:
            return event_of_error(error)
        except Exception as error:
            self.log.exception("the wait has failed")
            return event_of_error(error)

    async def _wait(self, tell: Any) -> dict[str, Any]:
        policy = policy_from_numbers(self.policy)
        access = await EcsTaskHook(self.alibabacloud_conn_id).get_async_access()
        # The first time this takes a tenth of a second, in which the loop has others to serve.
        waiter = await asyncio.to_thread(import_module, "ecs_waiter.waiter")
        results = await waiter.wait_for_tasks(
            self.task_ids,
            region_id=access.region(self.region_id),
            timeout=self._seconds_left(),
            return_exceptions=True,
            on_update=tell,
            credentials=access.credentials,
            endpoint=access.endpoint,
            policy=policy,
            trust_env=access.trust_env,
        )
        return event_of_results(results)

    def _seconds_left(self) -> float | None:
        """Seconds to the deadline, None if there is none; raises TypeError or ValueError if it is no time."""
        deadline = self.deadline
        if deadline is None:
            return None
        if isinstance(deadline, str):
            deadline = datetime.fromisoformat(deadline)
        if not isinstance(deadline, datetime) or deadline.tzinfo is None:
            raise TypeError(f"deadline takes a time with its offset, not {deadline!r}")
        return max(0.0, (deadline - datetime.now(UTC)).total_seconds())
