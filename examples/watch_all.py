"""Watch everything that is under way in some regions, whoever started it, until the last task has ended.

python examples/watch_all.py cn-hangzhou us-west-1
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime

from ecs_waiter import Task, TaskWaiter


async def main(*region_ids: str) -> None:
    """List what is under way, region by region, then print each change."""
    async with TaskWaiter() as waiter:
        listed = await asyncio.gather(*(under_way(waiter, region_id) for region_id in region_ids))
        tasks = dict(zip(region_ids, listed, strict=True))
        print(f"{sum(map(len, listed))} tasks are under way")
        async for task in waiter.updates(tasks):
            print(
                f"{task.region_id:<15} {task.task_id:<24} {task.task_action:<16} {task.task_status:<12} {age_of(task)}"
            )


async def under_way(waiter: TaskWaiter, region_id: str) -> list[str]:
    """The IDs of a region's running tasks."""
    return [task.task_id async for task in waiter.client.iter_tasks(region_id=region_id, task_status="Processing")]


def age_of(task: Task) -> str:
    """How long it has been running, or ran."""
    if task.creation_time is None:
        return ""
    return str((task.finished_time or datetime.now(UTC)) - task.creation_time).partition(".")[0]


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
