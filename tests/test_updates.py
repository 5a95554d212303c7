"""`updates` and `on_update`: each task at first sight and at every change of its status."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING

import pytest
from support.helpers import ELSEWHERE, REASON, REGION, clock, collect, every, failure, polls, since, timed, times

from ecs_waiter import (
    AuthenticationError,
    Task,
    TaskFailedError,
    TaskNotFoundError,
    TasksFailedError,
    TaskWaiter,
    WaitTimeoutError,
    wait_for_task,
    wait_for_tasks,
)

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio


def spoken(tasks: list[Task]) -> list[tuple[str, str]]:
    """IDs and statuses."""
    return [(task.task_id, task.task_status) for task in tasks]


async def test_first_sight_and_changes(virtual_ecs: EcsEmulator) -> None:
    """`updates` gives a task at first sight and when its status changes, and nothing in between."""
    task_id = virtual_ecs.add_task(duration=95, task_id="t-1")
    virtual_ecs.inject("backwards", where=lambda request: 25 < request.at.timestamp() % 3600 < 55, status="Paused")
    async with TaskWaiter(policy=every(10)) as waiter:
        seen = await timed(waiter.updates([task_id]))
    assert [(at, task.task_status) for at, task in seen] == [
        (0, "Processing"),
        (30, "Paused"),
        (60, "Processing"),
        (100, "Finished"),
    ]


async def test_failed_and_canceled_included(virtual_ecs: EcsEmulator) -> None:
    """Failed and canceled tasks are given like the others; nothing is raised, and no reason looked up."""
    ids = [virtual_ecs.add_task(outcome=outcome) for outcome in ("Failed", "Deleted", "Finished")]
    async with TaskWaiter() as waiter:
        seen = await collect(waiter.updates(ids))
    assert sorted(spoken(seen)) == sorted(zip(ids, ["Failed", "Deleted", "Finished"], strict=True))
    assert all(isinstance(task, Task) for task in seen)
    assert times(virtual_ecs, "DescribeTaskAttribute") == []


async def test_what_has_no_task(virtual_ecs: EcsEmulator) -> None:
    """What has no Task is raised after the others have ended; the only ID as itself."""
    slow = virtual_ecs.add_task(duration=95)
    start = clock()
    seen: list[Task] = []

    async with TaskWaiter(policy=every(10)) as waiter:
        failed = virtual_ecs.add_task(outcome="Failed")
        error = await failure(TasksFailedError, collect(waiter.updates(["t-unknown", slow, failed]), seen))
        assert since(start) == 100
        assert (slow, "Finished") in spoken(seen)
        assert [type(one) for one in error.exceptions] == [TaskNotFoundError]
        alone = await failure(TaskNotFoundError, collect(waiter.updates(["t-unknown"])))
        assert alone.task_id == "t-unknown"


async def test_a_refused_region(virtual_ecs: EcsEmulator) -> None:
    """A region that refuses has no Tasks: it is raised after the other region's have ended, as one error."""
    virtual_ecs.inject("refuse", region_id=ELSEWHERE)
    near = virtual_ecs.add_task(duration=15)
    start = clock()
    async with TaskWaiter(policy=every(10)) as waiter:
        await failure(AuthenticationError, collect(waiter.updates({ELSEWHERE: ["t-1", "t-2"], REGION: [near]})))
        assert since(start) == 20


async def test_a_deadline_of_updates(virtual_ecs: EcsEmulator) -> None:
    """At its deadline `updates` raises WaitTimeoutError, all that was seen given before."""
    ids = [virtual_ecs.add_task(duration=duration) for duration in (5, 1e9)]
    seen: list[Task] = []

    start = clock()
    async with TaskWaiter(policy=every(10)) as waiter:
        error = await failure(WaitTimeoutError, collect(waiter.updates(ids, timeout=25), seen))
    assert since(start) == 25
    assert error.pending == (ids[1],)
    assert list(error.results) == [ids[0]]
    assert len(seen) == 3


async def test_who_joins_late(virtual_ecs: EcsEmulator) -> None:
    """Who joins late is shown the task's present state, whole, at the next answer; who saw it already is not."""
    task_id = virtual_ecs.add_task(duration=55, resource_id="m-1", task_action="ExportImage")
    start = clock()
    early: list[tuple[float, str]] = []
    async with TaskWaiter(policy=every(10)) as waiter:
        first = asyncio.ensure_future(
            waiter.wait([task_id], on_update=lambda task: early.append((since(start), task.task_status)))
        )
        await asyncio.sleep(14)
        late = await timed(waiter.updates([task_id]))
        await first
    assert early == [(0, "Processing"), (60, "Finished")]
    assert [(at, task.task_status) for at, task in late] == [(6, "Processing"), (46, "Finished")]
    assert late[0][1].resource_id == "m-1"
    assert late[0][1].task_action == "ExportImage"
    assert late[0][1].creation_time is not None


async def test_many_join_late(virtual_ecs: EcsEmulator) -> None:
    """Each who joins late is shown the state once, whenever it joined; one who left meanwhile is no hindrance."""
    task_id = virtual_ecs.add_task(duration=55)
    seen: dict[int, list[str]] = {}
    async with TaskWaiter(policy=every(10)) as waiter:

        def note(number: int, task: Task) -> None:
            seen.setdefault(number, []).append(task.task_status)

        waits = []
        for number in range(6):
            update = functools.partial(note, number)
            waits.append(asyncio.ensure_future(waiter.wait([task_id], on_update=update)))
            await asyncio.sleep(7 if number < 5 else 1)
        waits[5].cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    assert seen == {number: ["Processing", "Finished"] for number in range(5)}


async def test_joining_a_known_failure(virtual_ecs: EcsEmulator) -> None:
    """Who joins while a failure's reason is being looked up is shown the failed task at once."""
    virtual_ecs.inject("hang", action="DescribeTaskAttribute")
    task_id = virtual_ecs.add_task(outcome="Failed", error=REASON)
    async with TaskWaiter() as waiter:
        future = waiter.submit(task_id)
        await asyncio.sleep(5)
        start = clock()
        assert spoken(await collect(waiter.updates([task_id]))) == [(task_id, "Failed")]
        assert since(start) == 0
        await failure(TaskFailedError, future)


async def test_on_update(virtual_ecs: EcsEmulator) -> None:
    """`on_update` is called as `updates` gives, before the wait returns, in module-level waits too."""
    ids = [virtual_ecs.add_task(duration=15), virtual_ecs.add_task()]
    seen: list[Task] = []
    await wait_for_tasks(ids, on_update=seen.append, policy=every(10))
    assert sorted(spoken(seen)) == sorted([(ids[0], "Processing"), (ids[1], "Finished"), (ids[0], "Finished")])
    seen.clear()
    await wait_for_task(ids[0], on_update=seen.append)
    assert spoken(seen) == [(ids[0], "Finished")]


async def test_on_update_sees_failures(virtual_ecs: EcsEmulator) -> None:
    """`on_update` sees a failed task before its failure is raised."""
    task_id = virtual_ecs.add_task(outcome="Failed")
    seen: list[Task] = []
    await failure(TaskFailedError, wait_for_task(task_id, on_update=seen.append))
    assert spoken(seen) == [(task_id, "Failed")]


async def test_a_callback_that_raises(virtual_ecs: EcsEmulator) -> None:
    """What someone's `on_update` raises is raised from that wait and no other, and ends that wait's interest."""
    shared, own = virtual_ecs.add_task(duration=15), virtual_ecs.add_task(duration=1e9)

    class OwnError(Exception):
        pass

    def callback(_task: Task) -> None:
        raise OwnError

    seen: list[Task] = []
    async with TaskWaiter(policy=every(10)) as waiter:
        future = waiter.submit(shared)
        bystander = asyncio.ensure_future(waiter.wait([shared], on_update=seen.append))
        await failure(OwnError, waiter.wait([shared, own], on_update=callback, return_exceptions=True))
        assert waiter.stats.regions[REGION].waiting == 1
        await bystander
        await future
    assert len(seen) == 2
    assert virtual_ecs.requests[-1].task_ids == (shared,)


async def test_a_callback_that_uses_the_waiter(virtual_ecs: EcsEmulator) -> None:
    """A callback may submit, cancel and read the stats."""
    first, second, third = (virtual_ecs.add_task(duration=15) for _ in range(3))
    futures: list[asyncio.Future[Task]] = []
    async with TaskWaiter(policy=every(10)) as waiter:
        unwanted = waiter.submit(third)

        def callback(task: Task) -> None:
            futures.append(waiter.submit(second))
            futures.append(waiter.submit(task.task_id))
            unwanted.cancel()
            assert waiter.stats.regions[REGION].waiting >= 1

        await waiter.wait([first], on_update=callback)
        tasks = await asyncio.gather(*futures)
        assert unwanted.cancelled()
    assert [task.task_id for task in tasks] == [second, first, second, first]


async def test_a_callback_that_starts_a_wait(virtual_ecs: EcsEmulator) -> None:
    """A callback may start another wait of the same waiter, for the same task."""
    task_id = virtual_ecs.add_task(duration=15)
    started: list[asyncio.Task[dict[str, Task]]] = []
    async with TaskWaiter(policy=every(10)) as waiter:

        def callback(_task: Task) -> None:
            started.append(asyncio.create_task(waiter.wait([task_id])))

        await waiter.wait([task_id], on_update=callback)
        results = await asyncio.gather(*started)
    assert [list(result) for result in results] == [[task_id], [task_id]]


async def test_a_slow_reader_misses_nothing(virtual_ecs: EcsEmulator) -> None:
    """A reader of `updates` that takes its time is given all changes, in order, and holds nobody up."""
    task_id = virtual_ecs.add_task(duration=25)
    seen = []
    async with TaskWaiter(policy=every(10)) as waiter:
        future = waiter.submit(task_id)
        start = clock()
        async for task in waiter.updates([task_id]):
            seen.append(task.task_status)
            await asyncio.sleep(500)
            assert future.done()
        assert since(start) == 1000
    assert seen == ["Processing", "Finished"]
    assert polls(virtual_ecs)[-1][0] == 30
