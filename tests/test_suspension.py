"""A process that is stopped, suspended or blocked: budgets count tries, not the time in which the loop did not run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from support.helpers import REASON, REGION, add_tasks, clock, every, failure, others, since

from ecs_waiter import (
    EcsClient,
    ServiceUnavailableError,
    TaskFailedError,
    TaskNotFoundError,
    TaskWaiter,
    WaiterClosedError,
    WaitTimeoutError,
    wait_for_task,
    wait_for_tasks,
)

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio

HOURS = 3 * 3600


def suspend(seconds: float) -> None:
    """Let time pass in which the loop does not run."""
    clock: Any = asyncio.get_running_loop().time
    clock.__self__.jump(seconds)


@pytest.mark.parametrize("kind", ["hang", "status", "reset"])
@pytest.mark.parametrize("at", [0.2, 5, 29.9])
async def test_a_gap_does_not_use_up_the_outage_budget(virtual_ecs: EcsEmulator, kind: str, at: float) -> None:
    """With one fault before the gap, or a call in flight, a healthy region is tried again after it."""
    task_id = virtual_ecs.add_task(duration=60)
    virtual_ecs.inject(kind, times=2)
    async with TaskWaiter(policy=every(10)) as waiter:
        future = waiter.submit(task_id)
        await asyncio.sleep(at)
        suspend(HOURS)
        assert (await future).task_status == "Finished"


async def test_an_outage_on_both_sides_of_a_gap(virtual_ecs: EcsEmulator) -> None:
    """A region that fails on both sides of a gap has its whole budget of time in which it was tried."""
    virtual_ecs.inject("status")
    start = clock()
    async with TaskWaiter(policy=every(10)) as waiter:
        future = waiter.submit("t-1")
        await asyncio.sleep(300)
        suspend(HOURS)
        error = await failure(ServiceUnavailableError, future)
    assert isinstance(error.__cause__, ServiceUnavailableError)
    # Of a pause between two tries, the part before its timer was due counts: it looks like any other pause.
    assert 600 - 20 <= since(start) - HOURS <= 640


async def test_a_blocked_loop(virtual_ecs: EcsEmulator) -> None:
    """A program that blocks its loop for longer than the budget, between a fault and the next try, ends nothing."""
    task_id = virtual_ecs.add_task(duration=60)
    virtual_ecs.inject("status", times=1)
    async with TaskWaiter(policy=every(10, outage_budget=30)) as waiter:
        future = waiter.submit(task_id)
        await asyncio.sleep(0.1)
        for _ in range(5):
            suspend(40)
            await asyncio.sleep(0)
        assert (await future).task_status == "Finished"


async def test_a_gap_does_not_use_up_the_grace(virtual_ecs: EcsEmulator) -> None:
    """A new task that was not listed before a gap still has the rest of its grace after it."""
    hidden = virtual_ecs.add_task(duration=HOURS + 200, visible_after=HOURS + 45)
    unknown = "t-unknown"
    start = clock()
    async with TaskWaiter(policy=every(10)) as waiter:
        waiting, gone = waiter.submit(hidden), waiter.submit(unknown)
        await asyncio.sleep(15)
        suspend(HOURS)
        await failure(TaskNotFoundError, gone)
        assert 60 - 10 <= since(start) - HOURS <= 70
        assert (await waiting).task_status == "Finished"


async def test_a_gap_does_not_use_up_the_time_of_a_look_up(virtual_ecs: EcsEmulator) -> None:
    """The reason of a failure is still looked up after a gap."""
    task_id = virtual_ecs.add_task(duration=5, outcome="Failed", error=REASON)
    virtual_ecs.inject("hang", action="DescribeTaskAttribute", times=1)
    async with TaskWaiter(policy=every(10)) as waiter:
        future = waiter.submit(task_id)
        await asyncio.sleep(12)
        suspend(HOURS)
        error = await failure(TaskFailedError, future)
        assert error.detail is not None


async def test_a_gap_does_not_use_up_the_budget_of_a_call(virtual_ecs: EcsEmulator) -> None:
    """A single call, too, is tried again after a gap."""
    virtual_ecs.inject("hang", times=1)
    async with EcsClient() as client:
        calling = asyncio.ensure_future(client.describe_tasks(region_id=REGION))
        await asyncio.sleep(1)
        suspend(HOURS)
        assert (await calling).tasks == ()


@pytest.mark.parametrize("at", [0.1, 1.4, 1.75])
async def test_each_gap_is_followed_by_a_try(virtual_ecs: EcsEmulator, at: float) -> None:
    """Whatever part of a gap is seen, an outage ends only with a try that began after it."""
    task_id = virtual_ecs.add_task(duration=1)
    virtual_ecs.inject("hang", times=1)
    async with TaskWaiter(policy=every(10, outage_budget=2, call_timeout=1.8)) as waiter:
        future = waiter.submit(task_id)
        await asyncio.sleep(at)
        suspend(4)
        assert (await future).task_status == "Finished"
    virtual_ecs.inject("hang", times=1)
    async with EcsClient(policy=every(10, outage_budget=2, call_timeout=1.8)) as client:
        calling = asyncio.ensure_future(client.describe_tasks(region_id=REGION))
        await asyncio.sleep(at)
        suspend(4)
        assert (await calling).total_count == 1


@pytest.mark.parametrize("count", [1, 250])
async def test_a_deadline_that_passed_in_a_gap_has_one_last_look(virtual_ecs: EcsEmulator, count: int) -> None:
    """What finished while the loop did not run is found, though the deadline has passed."""
    ids = add_tasks(virtual_ecs, count, duration=600)
    async with TaskWaiter(policy=every(10)) as waiter:
        waiting = asyncio.ensure_future(waiter.wait(ids, timeout=60))
        await asyncio.sleep(15)
        suspend(HOURS)
        start = clock()
        assert list(await waiting) == ids
        assert since(start) <= 1


async def test_the_last_look_repeats_no_update(virtual_ecs: EcsEmulator) -> None:
    """A task that runs on at the last look is not shown again."""
    task_id = virtual_ecs.add_task(duration=10 * HOURS)
    seen: list[str] = []
    async with TaskWaiter(policy=every(10)) as waiter:
        on_update = lambda task: seen.append(task.task_status)  # noqa: E731 - a plain callback
        waiting = asyncio.ensure_future(waiter.wait([task_id], timeout=60, on_update=on_update))
        await asyncio.sleep(15)
        suspend(HOURS)
        await failure(WaitTimeoutError, waiting)
    assert seen == ["Processing"]


async def test_the_last_look_may_find_nothing(virtual_ecs: EcsEmulator) -> None:
    """What still runs at the last look is pending; what failed is reported; and there is no second look."""
    slow, done = virtual_ecs.add_task(duration=10 * HOURS), virtual_ecs.add_task(duration=600)
    failed = virtual_ecs.add_task(duration=600, outcome="Failed", error=REASON)
    async with TaskWaiter(policy=every(10)) as waiter:
        waiting = asyncio.ensure_future(waiter.wait([slow, done, failed], timeout=60))
        await asyncio.sleep(15)
        suspend(HOURS)
        start = clock()
        error = await failure(WaitTimeoutError, waiting)
        assert since(start) <= 1
        assert error.pending == (slow,)
        assert isinstance(error.results[failed], TaskFailedError)


async def test_the_last_look_is_bounded(virtual_ecs: EcsEmulator) -> None:
    """A last look at a region that does not answer takes no longer than one call."""
    task_id = virtual_ecs.add_task(duration=600)
    async with TaskWaiter(policy=every(10, call_timeout=20)) as waiter:
        waiting = asyncio.ensure_future(waiter.wait([task_id], timeout=60))
        await asyncio.sleep(15)
        virtual_ecs.inject("hang")
        suspend(HOURS)
        start = clock()
        await failure(WaitTimeoutError, waiting)
        assert since(start) <= 21


async def test_without_a_gap_a_deadline_is_exact(virtual_ecs: EcsEmulator) -> None:
    """A loop that runs gives no last look: the deadline is the wall's time."""
    start = clock()
    task_id = virtual_ecs.add_task(duration=60)
    await failure(WaitTimeoutError, wait_for_tasks([task_id], timeout=59.5, policy=every(10)))
    assert since(start) == 59.5
    assert (await wait_for_task(task_id)).task_status == "Finished"


async def test_a_close_during_the_last_look(virtual_ecs: EcsEmulator) -> None:
    """A waiter that is closed while a crowd has its last look leaves nothing behind."""
    ids = add_tasks(virtual_ecs, 9000, duration=10 * HOURS)
    async with TaskWaiter(policy=every(10)) as waiter:
        waiting = asyncio.ensure_future(waiter.wait(ids, timeout=200))
        await asyncio.sleep(150)
        suspend(HOURS)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await failure(WaiterClosedError, waiting)
    await asyncio.sleep(1)
    assert others() == set()
