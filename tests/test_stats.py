"""What a TaskWaiter tells of itself while it waits."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import pytest
from support.helpers import REGION, clock, every, since

from ecs_waiter import ServiceUnavailableError, TaskWaiter
from ecs_waiter.api.limiter import RegionLimiter
from ecs_waiter.api.signing import Signer
from ecs_waiter.polling.poller import RegionPoller

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
        await waiter.client.describe_task_attribute(task_id, region_id=REGION)
        assert waiter.stats.regions[REGION].calls == before + 1
    with pytest.raises(RuntimeError, match="closed"):
        await waiter.client.describe_task_attribute(task_id, region_id=REGION)


def _alive(*kinds: type) -> int:
    gc.collect()
    return sum(type(thing) in kinds for thing in gc.get_objects())


async def test_idle_regions_are_forgotten(virtual_ecs: EcsEmulator) -> None:
    """What is kept for a region ends with its use, however many names are asked, and its counts stay in the totals."""
    before = _alive(RegionPoller, Signer, RegionLimiter)
    async with TaskWaiter(policy=every(10)) as waiter:
        sums = []
        long = waiter.submit(virtual_ecs.add_task(region_id="cn-long", duration=30_000), region_id="cn-long")
        for number in range(1200):
            region = f"cn-made-up-{number}"
            await waiter.wait([virtual_ecs.add_task(region_id=region)], region_id=region)
            await waiter.client.describe_tasks(region_id=region)
            if number % 100 == 0:
                stats = waiter.stats.regions.values()
                sums.append(tuple(sum(getattr(each, name) for each in stats) for name in ("calls", "polls", "settled")))
        assert _alive(RegionPoller, Signer, RegionLimiter) - before <= 3 * 40
        assert sums == sorted(sums)
        regions = waiter.stats.regions
        assert len(regions) <= 1100
        assert regions["cn-made-up-1199"].settled == regions["cn-made-up-1100"].settled == 1
        polls = regions["cn-long"].polls
        assert sum(each.settled for each in regions.values()) == 1200
        assert sum(each.calls for each in regions.values()) == 2400 + polls
        assert sum(each.polls for each in regions.values()) == 1200 + polls
        assert regions["cn-long"].waiting == 1
        # A region that comes back counts on.
        await waiter.wait([virtual_ecs.add_task(region_id="cn-made-up-500")], region_id="cn-made-up-500")
        assert waiter.stats.regions["cn-made-up-500"].settled == 2
        long.cancel()


async def test_a_blocked_region_is_not_forgotten(virtual_ecs: EcsEmulator) -> None:
    """A pause that the service asked for holds, whatever other regions are asked meanwhile."""
    virtual_ecs.inject("throttle", times=1, retry_after=300, region_id="cn-slow")
    async with TaskWaiter(policy=every(10)) as waiter:
        future = waiter.submit("t-1", region_id="cn-slow")
        await asyncio.sleep(1)
        future.cancel()
        for number in range(100):
            region = f"cn-made-up-{number}"
            await waiter.wait([virtual_ecs.add_task(region_id=region)], region_id=region)
        assert waiter.stats.regions["cn-slow"].throttled == 1
        start = clock()
        await waiter.wait([virtual_ecs.add_task(region_id="cn-slow")], region_id="cn-slow")
        assert since(start) >= 290
