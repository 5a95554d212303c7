"""Cancellation belongs to the caller alone: it stops one's own interest and no one else's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from support.helpers import REASON, REGION, clock, collect, every, failure, others, polls, since, times, turns

from ecs_waiter import Credentials, TaskWaiter, wait_for_task, wait_for_tasks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio


async def canceled(task: asyncio.Task[object]) -> None:
    """Cancel a task, which must end by that."""
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_a_canceled_wait_stops_polling(virtual_ecs: EcsEmulator) -> None:
    """The last to leave takes the ID off the schedule."""
    task_id = virtual_ecs.add_task(duration=1e9)
    async with TaskWaiter(policy=every(10)) as waiter:
        waiting = asyncio.ensure_future(waiter.wait([task_id]))
        await asyncio.sleep(25)
        await canceled(waiting)
        assert waiter.stats.regions[REGION].waiting == 0
        await asyncio.sleep(100)
    assert times(virtual_ecs) == [0, 10, 20]


async def test_others_wait_on(virtual_ecs: EcsEmulator) -> None:
    """A canceled wait takes nothing from others who wait for the same task."""
    task_id = virtual_ecs.add_task(duration=45)
    async with TaskWaiter(policy=every(10)) as waiter:
        leaving = asyncio.ensure_future(waiter.wait([task_id]))
        await turns(2)
        future = waiter.submit(task_id)
        staying = asyncio.ensure_future(waiter.wait([task_id]))
        await asyncio.sleep(15)
        await canceled(leaving)
        future.cancel()
        assert (await staying)[task_id].task_id == task_id
    assert times(virtual_ecs) == [0, 10, 20, 30, 40, 50]


async def test_a_canceled_future(virtual_ecs: EcsEmulator) -> None:
    """Canceling one future of an ID leaves the others; canceling the last stops the polls."""
    task_id = virtual_ecs.add_task(duration=1e9)
    async with TaskWaiter(policy=every(10)) as waiter:
        futures = [waiter.submit(task_id) for _ in range(3)]
        await asyncio.sleep(5)
        for future in futures[:2]:
            assert future.cancel()
        await asyncio.sleep(10)
        assert not futures[2].done()
        futures[2].cancel()
        await asyncio.sleep(100)
        assert waiter.stats.regions[REGION].waiting == 0
    assert polls(virtual_ecs) == [(0, 1), (10, 1)]


async def test_canceled_before_the_first_call(virtual_ecs: EcsEmulator) -> None:
    """What is canceled in the turn in which it was submitted costs no call."""
    async with TaskWaiter() as waiter:
        waiter.submit(virtual_ecs.add_task()).cancel()
        await asyncio.sleep(100)
    assert virtual_ecs.requests == []


async def test_a_call_goes_without_those_who_left(virtual_ecs: EcsEmulator) -> None:
    """The next call asks for those alone who are still waited for."""
    ids = [virtual_ecs.add_task(duration=1e9) for _ in range(10)]
    async with TaskWaiter(policy=every(10)) as waiter:
        futures = [waiter.submit(task_id) for task_id in ids]
        await asyncio.sleep(5)
        for future in futures[:7]:
            future.cancel()
        await asyncio.sleep(10)
    assert polls(virtual_ecs) == [(0, 10), (10, 3)]
    assert virtual_ecs.requests[-1].task_ids == tuple(sorted(ids[7:]))


async def test_leaving_and_coming_back_during_a_call(virtual_ecs: EcsEmulator) -> None:
    """An ID that all have left while its call is under way, and that is asked again, is settled by that answer."""
    virtual_ecs.inject("delay", seconds=5, times=1)
    task_id = virtual_ecs.add_task()
    start = clock()
    async with TaskWaiter() as waiter:
        future = waiter.submit(task_id)
        await asyncio.sleep(2)
        future.cancel()
        await turns(3)
        assert (await waiter.submit(task_id)).task_id == task_id
        assert since(start) == 5
    assert polls(virtual_ecs) == [(0, 1)]


async def test_timeouts_of_asyncio(virtual_ecs: EcsEmulator) -> None:
    """Asyncio's own timeouts and shields work around a wait."""
    task_id = virtual_ecs.add_task(duration=25)
    start = clock()
    policy = every(10)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await wait_for_task(task_id, policy=policy)
    assert since(start) == 5
    shielded = asyncio.ensure_future(wait_for_task(task_id, policy=policy))
    await failure(TimeoutError, asyncio.wait_for(asyncio.shield(shielded), 5))
    assert (await shielded).task_id == task_id
    assert others() == set()


async def test_a_group_that_fails(virtual_ecs: EcsEmulator) -> None:
    """A TaskGroup whose one wait fails cancels its other waits, and nothing is left."""
    failed, endless = virtual_ecs.add_task(outcome="Failed", error=REASON), virtual_ecs.add_task(duration=1e9)

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(wait_for_task(failed))
            group.create_task(wait_for_task(endless))

    error = await failure(ExceptionGroup, both())
    assert len(error.exceptions) == 1
    assert others() == set()


async def waits(waiter: TaskWaiter, ids: list[str]) -> object:
    """A wait with everything on."""
    return await waiter.wait(ids, timeout=100, on_update=lambda _task: None, return_exceptions=True)


async def one_of_the_module(_waiter: TaskWaiter, ids: list[str]) -> object:
    """A wait of the module, on a waiter that is shared."""
    return await wait_for_tasks(ids[:2], policy=every(3), return_exceptions=True)


async def completes(waiter: TaskWaiter, ids: list[str]) -> object:
    """All outcomes."""
    return await collect(waiter.as_completed(ids))


async def everything(waiter: TaskWaiter, ids: list[str]) -> object:
    """All events."""
    return await collect(waiter.events(ids, timeout=50))


async def starts(waiter: TaskWaiter, _ids: list[str]) -> object:
    """A start alone."""
    return await waiter.start("ExportImage", params={"ImageId": "m-1"})


async def updates(waiter: TaskWaiter, ids: list[str]) -> object:
    """All changes."""
    return await collect(waiter.updates(ids, timeout=50))


async def runs(waiter: TaskWaiter, _ids: list[str]) -> object:
    """A start and its task."""
    return await waiter.run("ExportImage", params={"ImageId": "m-1"})


async def submits(waiter: TaskWaiter, ids: list[str]) -> object:
    """A future for each."""
    return await asyncio.gather(*(waiter.submit(task_id) for task_id in ids), return_exceptions=True)


@pytest.mark.parametrize("delay", [0, 2])
@pytest.mark.parametrize("way", [waits, one_of_the_module, everything, completes, updates, starts, runs, submits])
async def test_at_every_await(
    virtual_ecs: EcsEmulator, way: Callable[[TaskWaiter, list[str]], Awaitable[object]], delay: float
) -> None:
    """Canceled at any await, a caller leaves nothing behind: no interest, no loop's task, no harm to others."""
    if delay:
        virtual_ecs.inject("delay", seconds=delay)
    for turn in range(60):
        ids = [
            virtual_ecs.add_task(duration=5),
            virtual_ecs.add_task(outcome="Failed", error=REASON),
            virtual_ecs.add_task(outcome="Deleted"),
        ]
        bystander = virtual_ecs.add_task(duration=12)
        async with TaskWaiter(policy=every(3)) as waiter:
            staying = waiter.submit(bystander)

            async def go(waiter: TaskWaiter = waiter, ids: list[str] = ids) -> object:
                return await way(waiter, ids)

            task = asyncio.create_task(go())
            await turns(turn % 30)
            if delay and turn >= 30:
                await asyncio.sleep(delay)
                await turns(turn - 30)
            task.cancel()
            await asyncio.wait([task])
            await turns(3)
            assert waiter.stats.regions[REGION].waiting == 1
            assert (await staying).task_id == bystander
            assert virtual_ecs.requests[-1].task_ids == (bystander,)
        assert others() == set()


async def test_a_provider_canceled_by_others(virtual_ecs: EcsEmulator) -> None:
    """A credentials provider that lets out somebody else's cancellation ends the waits; nobody hangs."""

    class Canceled:
        async def get_credentials(self) -> Credentials:
            raise asyncio.CancelledError

    async with TaskWaiter(Canceled()) as waiter, asyncio.timeout(1000):
        await failure(Exception, waiter.wait([virtual_ecs.add_task()]))


@pytest.mark.parametrize("at", [29.5, 30, 30.5, 60])
async def test_in_the_instant_of_another_timeout(virtual_ecs: EcsEmulator, at: float) -> None:
    """A caller's deadline in the very instant in which a call times out is not lost."""
    virtual_ecs.inject("hang")
    start = clock()
    async with TaskWaiter() as waiter:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(at):
                await waiter.run("ImportImage")
        assert since(start) == at
    assert since(start) == at


@pytest.mark.parametrize("at", [29.5, 30, 30.5])
async def test_closing_in_the_instant_of_another_timeout(virtual_ecs: EcsEmulator, at: float) -> None:
    """Closing in the very instant in which calls time out takes no time."""
    failed = virtual_ecs.add_task(outcome="Failed", error=REASON)
    virtual_ecs.inject("hang", action="DescribeTaskAttribute")
    start = clock()
    async with TaskWaiter() as waiter:
        waiter.submit(failed).add_done_callback(lambda future: future.exception())
        await asyncio.sleep(at)
    assert since(start) == at


async def test_coming_back_after_the_region_failed(virtual_ecs: EcsEmulator) -> None:
    """Who asks again during a call that outlived its region's waits, and leaves, is not asked about for ever."""
    task_id = virtual_ecs.add_task(duration=1e9)
    refused = virtual_ecs.add_task(duration=1e9)
    virtual_ecs.inject("delay", seconds=20, where=lambda request: request.task_ids == (task_id,))
    virtual_ecs.inject("refuse", where=lambda request: request.task_ids == (refused,))
    async with TaskWaiter(policy=every(10)) as waiter:
        first = waiter.submit(task_id)
        await asyncio.sleep(1)
        second = waiter.submit(refused)
        await asyncio.wait([first, second])
        third = waiter.submit(task_id)
        await asyncio.sleep(1)
        third.cancel()
        await asyncio.sleep(100)
        assert waiter.stats.regions[REGION].waiting == 0
    assert first.exception() is not None
    assert second.exception() is not None
    assert times(virtual_ecs) == [0, 1]
