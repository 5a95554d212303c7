"""Percentages: how far the tasks on show are, looked up slowly and after everything else."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from ecs_waiter.api.limiter import Priority
from ecs_waiter.errors import ApiError, ServiceUnavailableError, ThrottledError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from ecs_waiter.api.client import EcsClient
    from ecs_waiter.cli.outcomes import Seen
    from ecs_waiter.models import Task

__all__ = ["Percentages"]

_PAUSE = 2.0
_AGAIN = 15.0
_PATIENCE = 15.0


class Percentages:
    """The progress of tasks in percent, as DescribeTaskAttribute tells it.

    Args:
        client: Whose limits the look-ups share.
    """

    def __init__(self, client: EcsClient) -> None:
        self._client = client
        self._shown: dict[str, Task | Seen] = {}
        self._percents: dict[str, int] = {}
        self._asked_at: dict[str, float] = {}
        # The service tells it for some operations only.
        self._untold: set[str] = set()

    def show(self, tasks: Iterable[Task | Seen]) -> None:
        """Look up these from now on, and no others."""
        self._shown = {task.task_id: task for task in tasks}

    def of(self, task_id: str) -> int | None:
        """Return the percentage last told; None if none is known."""
        return self._percents.get(task_id)

    @contextlib.asynccontextmanager
    async def looking_up(self) -> AsyncIterator[None]:
        """Look up until the block ends."""
        worker = asyncio.create_task(self._look_up())
        try:
            yield
        finally:
            worker.cancel()
            await asyncio.wait({worker})

    async def _look_up(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            task = self._next(loop.time())
            if task is not None:
                self._asked_at[task.task_id] = loop.time()
                await self._ask(task)
            await asyncio.sleep(_PAUSE)

    def _next(self, now: float) -> Task | Seen | None:
        due = [
            task
            for task_id, task in self._shown.items()
            if task_id not in self._untold and now - self._asked_at.get(task_id, now - _AGAIN) >= _AGAIN
        ]
        return min(due, key=lambda task: self._asked_at.get(task.task_id, 0.0), default=None)

    async def _ask(self, task: Task | Seen) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                detail = await self._client.describe_task_attribute(
                    task.region_id, task.task_id, priority=Priority.LOOKUP
                )
        except (TimeoutError, ThrottledError, ServiceUnavailableError):
            return
        except ApiError:
            self._untold.add(task.task_id)
            return
        if detail.task_process is not None:
            self._percents[task.task_id] = detail.task_process
