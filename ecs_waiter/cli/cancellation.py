"""Cancel at the service what an interrupted wait leaves behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ecs_waiter.cli.messages import explain
from ecs_waiter.errors import ApiError, TaskCanceledError
from ecs_waiter.models import Task
from ecs_waiter.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecs_waiter.api.client import EcsClient
    from ecs_waiter.cli.outcomes import Record, Seen
    from ecs_waiter.cli.progress import Progress
    from ecs_waiter.cli.reporting import Reporter
    from ecs_waiter.cli.task_refs import TaskRef

__all__ = ["cancel_pending"]

_PATIENCE = 30.0
_AT_ONCE = 8


async def cancel_pending(
    client: EcsClient, progress: Progress, reporter: Reporter, on_settled: Callable[[Record], None]
) -> None:
    """Cancel every pending task that can be, and say of each of the others why it could not."""
    refs = iter(tuple(progress.pending()))

    async def work() -> None:
        for ref in refs:
            if await _is_canceled(client, ref, progress.seen(ref.task_id), reporter):
                seen = progress.seen(ref.task_id)
                known = Task(region_id=ref.region_id, task_id=ref.task_id) if seen is None else seen.as_task()
                canceled = TaskCanceledError(known.model_copy(update={"task_status": "Canceled"}))
                if (record := progress.settle(ref, canceled)) is not None:
                    on_settled(record)

    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))


async def _is_canceled(client: EcsClient, ref: TaskRef, task: Seen | None, reporter: Reporter) -> bool:
    if task is not None and task.support_cancel is False:
        what = printable(task.task_action) or "its operation"
        reporter.say(f"not canceled: {ref}: {what} cannot be canceled, it runs on")
        return False
    try:
        async with asyncio.timeout(_PATIENCE):
            await client.cancel_task(ref.region_id, ref.task_id)
    except TimeoutError:
        reporter.say(f"not canceled: {ref}: no answer within {_PATIENCE:g} s, it may run on")
    except ApiError as error:
        reporter.say(f"not canceled: {ref}: {explain(error)}")
    else:
        reporter.say(f"canceled: {ref}")
        return True
    return False
