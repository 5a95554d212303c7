"""Cancel at the service what an interrupted wait leaves behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ecs_waiter.cli.messages import explain
from ecs_waiter.errors import ApiError, TaskCanceledError
from ecs_waiter.models import Task
from ecs_waiter.printable import printable

if TYPE_CHECKING:
    from ecs_waiter.api.client import EcsClient
    from ecs_waiter.cli.progress import Progress
    from ecs_waiter.cli.reporting import Reporter
    from ecs_waiter.cli.task_refs import TaskRef

__all__ = ["cancel_pending"]

_PATIENCE = 30.0
_AT_ONCE = 8


async def cancel_pending(client: EcsClient, progress: Progress, reporter: Reporter) -> None:
    """Cancel every pending task that can be, and say of each of the others why it could not."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def cancel(ref: TaskRef) -> None:
        task = progress.tasks.get(ref.task_id)
        if task is not None and task.support_cancel is False:
            what = printable(task.task_action) or "its operation"
            reporter.say(f"not canceled: {ref}: {what} cannot be canceled, it runs on")
            return
        try:
            async with places, asyncio.timeout(_PATIENCE):
                await client.cancel_task(ref.region_id, ref.task_id)
        except TimeoutError:
            reporter.say(f"not canceled: {ref}: no answer within {_PATIENCE:g} s, it may run on")
        except ApiError as error:
            reporter.say(f"not canceled: {ref}: {explain(error)}")
        else:
            reporter.say(f"canceled: {ref}")
            known = task or Task(region_id=ref.region_id, task_id=ref.task_id)
            canceled = known.model_copy(update={"task_status": "Canceled"})
            progress.settle(ref, TaskCanceledError(canceled))

    await asyncio.gather(*(cancel(ref) for ref in tuple(progress.pending())))
