"""What a TaskWaiter tells of itself while it waits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from helpers import REGION, every

from ecs_waiter import ServiceUnavailableError, TaskWaiter

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio


async def test_fault_while_a_region_gives_no_answer(virtual_ecs: EcsEmulator) -> None:
    """A region's stats tell why it gives no answer, until it answers again."""
    task_id = virtual_ecs.add_task(duration=3600)
    async with TaskWaiter(policy=every(10)) as waiter:
        future = waiter.submit(task_id, region_id=REGION)
        await asyncio.sleep(5)
        assert waiter.stats.regions[REGION].fault is None
        outage = virtual_ecs.inject("status", status=503)
        await asyncio.sleep(30)
        assert isinstance(waiter.stats.regions[REGION].fault, ServiceUnavailableError)
        outage.remove()
        await asyncio.sleep(60)
        assert waiter.stats.regions[REGION].fault is None
        assert not future.done()


async def test_next_poll(virtual_ecs: EcsEmulator) -> None:
    """A region's stats tell in how many seconds it is polled next; None when nobody waits there."""
    task_id = virtual_ecs.add_task(duration=3600)
    async with TaskWaiter(policy=every(10)) as waiter:
        future = waiter.submit(task_id, region_id=REGION)
        await asyncio.sleep(4)
        assert waiter.stats.regions[REGION].next_poll == pytest.approx(6, abs=0.1)
        future.cancel()
        await asyncio.sleep(1)
        assert waiter.stats.regions[REGION].next_poll is None


async def test_calls_of_its_client_count_and_end_with_it(virtual_ecs: EcsEmulator) -> None:
    """Other calls go through the waiter's client, under its limits and in its stats, and no longer than it lives."""
    task_id = virtual_ecs.add_task(duration=3600)
    async with TaskWaiter(policy=every(10)) as waiter:
        waiter.submit(task_id, region_id=REGION)
        await asyncio.sleep(1)
        before = waiter.stats.regions[REGION].calls
        await waiter.client.describe_task_attribute(REGION, task_id)
        assert waiter.stats.regions[REGION].calls == before + 1
    with pytest.raises(RuntimeError, match="closed"):
        await waiter.client.describe_task_attribute(REGION, task_id)
