"""Waits on one event loop after another, as scripts and test suites have them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from helpers import add_tasks, every, polls

from ecs_waiter import TaskWaiter, wait_for_task

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator


def test_one_loop_after_another(virtual_ecs: EcsEmulator) -> None:
    """Module-level waits share within their loop only, and each loop's end leaves nothing to the next."""
    task_id = virtual_ecs.add_task(duration=15)
    policy = every(10)
    for _ in range(3):
        assert asyncio.run(wait_for_task(task_id, policy=policy)).task_id == task_id


def test_a_run_cut_off(virtual_ecs: EcsEmulator) -> None:
    """A loop that ends under its waits takes them along, without a warning."""
    ids = add_tasks(virtual_ecs, 3, duration=1e9)

    async def main() -> None:
        policy = every(10)
        waits = [asyncio.create_task(wait_for_task(task_id, policy=policy)) for task_id in ids]
        await asyncio.sleep(15)
        assert not any(wait.done() for wait in waits)

    asyncio.run(main())
    assert polls(virtual_ecs) == [(0, 3), (10, 3)]


def test_debug_mode(virtual_ecs: EcsEmulator) -> None:
    """Asyncio's debug mode finds nothing to complain about."""
    ids = add_tasks(virtual_ecs, 150, duration=15)

    async def main() -> None:
        async with TaskWaiter(policy=every(10)) as waiter:
            assert list(await waiter.wait(ids)) == ids

    asyncio.run(main(), debug=True)
