"""Deadlines: one spans all IDs and regions of a wait, and stops that wait alone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from support.helpers import (
    ELSEWHERE,
    REASON,
    REGION,
    add_tasks,
    clock,
    collect,
    every,
    failure,
    others,
    polls,
    since,
    times,
)

from ecs_waiter import (
    ApiError,
    Credentials,
    EcsWaiterError,
    PollPolicy,
    Task,
    TaskFailedError,
    TaskWaiter,
    WaitTimeoutError,
    wait_for_task,
    wait_for_tasks,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio


async def test_a_deadline(virtual_ecs: EcsEmulator) -> None:
    """A deadline raises WaitTimeoutError, a TimeoutError too, with the pending IDs in the order asked and the results."""
    slow, quick, slower = (virtual_ecs.add_task(duration=seconds) for seconds in (1000, 5, 2000))
    failed = virtual_ecs.add_task(outcome="Failed", error=REASON)
    start = clock()
    error = await failure(WaitTimeoutError, wait_for_tasks([slow, failed, quick, slower], timeout=15, policy=every(10)))
    assert since(start) == 15
    assert isinstance(error, TimeoutError)
    assert isinstance(error, EcsWaiterError)
    assert error.pending == (slow, slower)
    assert [(task_id, type(result)) for task_id, result in error.results.items()] == [
        (failed, TaskFailedError),
        (quick, Task),
    ]
    assert slow in str(error)
    assert slower in str(error)


async def test_whatever_return_exceptions_says(virtual_ecs: EcsEmulator) -> None:
    """A deadline raises with return_exceptions too."""
    task_id = virtual_ecs.add_task(duration=1000)
    error = await failure(WaitTimeoutError, wait_for_tasks([task_id], timeout=5, return_exceptions=True))
    assert error.pending == (task_id,)


@pytest.mark.parametrize("timeout", [1e-9, 0.001, 0.1])
async def test_tiny_timeouts(virtual_ecs: EcsEmulator, timeout: float) -> None:
    """A tiny timeout is a deadline like any other."""
    task_id = virtual_ecs.add_task(duration=1000)
    start = clock()
    await failure(WaitTimeoutError, wait_for_task(task_id, timeout=timeout))
    assert clock() - start <= timeout + 1e-6


async def test_one_deadline_spans_all(virtual_ecs: EcsEmulator) -> None:
    """One deadline spans all IDs and regions, however many calls they need."""
    near = add_tasks(virtual_ecs, 500, duration=1e9)
    far = [virtual_ecs.add_task(region_id=ELSEWHERE, duration=1e9) for _ in range(500)]
    virtual_ecs.inject("delay", seconds=3)
    start = clock()
    error = await failure(WaitTimeoutError, wait_for_tasks({REGION: near, ELSEWHERE: far}, timeout=7))
    assert since(start) == 7
    assert error.pending == (*near, *far)
    assert len(str(error)) < 500


async def test_it_stops_no_one_else(virtual_ecs: EcsEmulator) -> None:
    """A deadline stops one's own interest and no one else's."""
    shared, own = virtual_ecs.add_task(duration=45), virtual_ecs.add_task(duration=45)
    async with TaskWaiter(policy=every(10)) as waiter:
        staying = asyncio.ensure_future(waiter.wait([shared]))
        await failure(WaitTimeoutError, waiter.wait([shared, own], timeout=15))
        assert waiter.stats.regions[REGION].waiting == 1
        assert (await staying)[shared].task_id == shared
    assert virtual_ecs.requests[-1].task_ids == (shared,)


async def test_nothing_is_left(virtual_ecs: EcsEmulator) -> None:
    """After a deadline of the last wait no task of the loop is left, though its call was under way."""
    virtual_ecs.inject("hang")
    start = clock()
    await failure(WaitTimeoutError, wait_for_task("t-1", timeout=5))
    assert since(start) == 5
    assert others() == set()


async def test_during_an_outage(virtual_ecs: EcsEmulator) -> None:
    """A deadline within an outage is the deadline's error."""
    virtual_ecs.inject("status")
    start = clock()
    error = await failure(WaitTimeoutError, wait_for_task("t-1", timeout=100))
    assert since(start) == 100
    assert error.pending == ("t-1",)


async def test_while_throttled(virtual_ecs: EcsEmulator) -> None:
    """A deadline does not wait for the service's pause to end."""
    virtual_ecs.inject("throttle", retry_after=500)
    start = clock()
    await failure(WaitTimeoutError, wait_for_task("t-1", timeout=100))
    assert since(start) == 100


async def test_while_credentials_are_awaited(virtual_ecs: EcsEmulator) -> None:
    """A deadline does not wait for a slow credentials provider."""

    class Slow:
        async def get_credentials(self) -> Credentials:
            await asyncio.sleep(25)
            return Credentials("a", "b")

    start = clock()
    await failure(WaitTimeoutError, wait_for_task("t-1", timeout=10, credentials=Slow()))
    assert since(start) == 10


# -- one look ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 100, 250])
async def test_one_look(virtual_ecs: EcsEmulator, count: int) -> None:
    """A timeout of 0 is one look at each task: what has ended is a result, the rest is pending."""
    ids = add_tasks(virtual_ecs, count)
    start = clock()
    assert list(await wait_for_tasks(ids, timeout=0)) == ids
    running = virtual_ecs.add_task(task_id="t-running", duration=1000)
    error = await failure(WaitTimeoutError, wait_for_tasks([*ids, running, "t-unknown"], timeout=0))
    assert error.pending == (running, "t-unknown")
    assert list(error.results) == ids
    assert since(start) == 0
    assert len(virtual_ecs.requests) == -(-count // 100) + -(-(count + 2) // 100)


async def test_one_look_at_failures(virtual_ecs: EcsEmulator) -> None:
    """One look tells a failed task as failed, and does not look its reason up."""
    failed = virtual_ecs.add_task(outcome="Failed", error=REASON)
    error = await failure(TaskFailedError, wait_for_task(failed, timeout=0))
    assert error.detail is None
    results = await wait_for_tasks([failed], timeout=0, return_exceptions=True)
    assert isinstance(results[failed], TaskFailedError)
    assert times(virtual_ecs, "DescribeTaskAttribute") == []


async def test_one_look_takes_its_time(virtual_ecs: EcsEmulator) -> None:
    """One look is worth the time that its call takes."""
    virtual_ecs.inject("delay", seconds=2)
    task_id = virtual_ecs.add_task()
    start = clock()
    assert (await wait_for_task(task_id, timeout=0)).task_id == task_id
    assert since(start) == 2


@pytest.mark.parametrize("kind", ["status", "reset", "throttle", "truncate"])
async def test_one_look_that_fails(virtual_ecs: EcsEmulator, kind: str) -> None:
    """One look that comes to nothing leaves its tasks pending; it is not taken again."""
    virtual_ecs.inject(kind)
    start = clock()
    error = await failure(WaitTimeoutError, wait_for_task("t-1", timeout=0))
    assert error.pending == ("t-1",)
    assert since(start) == 0
    assert len(virtual_ecs.requests) == 1


async def test_one_look_beside_a_bad_id(virtual_ecs: EcsEmulator) -> None:
    """A bad ID in the call takes the look away from nobody: a batch taken apart is looked at part by part."""
    ids = add_tasks(virtual_ecs, 10)
    virtual_ecs.inject("reject", task_id="t-bad")
    results = await wait_for_tasks([*ids, "t-bad"], timeout=0, return_exceptions=True)
    assert isinstance(results.pop("t-bad"), ApiError)
    assert {type(result) for result in results.values()} == {Task}


async def test_one_look_at_what_is_polled_already(virtual_ecs: EcsEmulator) -> None:
    """One look at a task that others wait for, whose next poll is far off, is taken at once."""
    task_id = virtual_ecs.add_task(duration=10)
    async with TaskWaiter(policy=every(25)) as waiter:
        future = waiter.submit(task_id)
        await asyncio.sleep(1)
        start = clock()
        await failure(WaitTimeoutError, waiter.wait([task_id], timeout=0))
        assert since(start) == 0
        await asyncio.sleep(14)
        start = clock()
        assert (await waiter.wait([task_id], timeout=0))[task_id].task_id == task_id
        assert since(start) == 0
        assert future.done()


async def test_one_look_of_a_thousand(virtual_ecs: EcsEmulator) -> None:
    """A thousand looks at the same moment share their calls."""
    ids = add_tasks(virtual_ecs, 1000)
    policy = PollPolicy()
    await asyncio.gather(*(wait_for_task(task_id, timeout=0, policy=policy) for task_id in ids))
    assert polls(virtual_ecs) == [(0, 100)] * 10


async def test_one_look_by_iterators(virtual_ecs: EcsEmulator) -> None:
    """Iterators take one look, too, give what they saw, then say what is pending."""
    done, running = virtual_ecs.add_task(), virtual_ecs.add_task(duration=1000)
    async with TaskWaiter() as waiter:
        seen: list[Task] = []
        error = await failure(WaitTimeoutError, collect(waiter.as_completed([running, done], timeout=0), seen))
        assert [task.task_id for task in seen] == [done]
        assert error.pending == (running,)
        seen.clear()
        error = await failure(WaitTimeoutError, collect(waiter.updates([running, done], timeout=0), seen))
        assert {task.task_id: task.task_status for task in seen} == {running: "Processing", done: "Finished"}
        assert error.pending == (running,)
        assert await collect(waiter.as_completed([done], timeout=0))


async def test_one_look_is_not_a_look_of_before(virtual_ecs: EcsEmulator) -> None:
    """A call that left before the look was asked for does not answer it: the look is a call of its own afterwards."""
    task_id = virtual_ecs.add_task(duration=3)
    virtual_ecs.inject("delay", seconds=5, times=1)
    async with TaskWaiter(policy=every(60)) as waiter:
        waiter.submit(task_id)
        await asyncio.sleep(4)
        tasks = await waiter.wait([task_id], timeout=0)
    assert tasks[task_id].task_status == "Finished"
    assert times(virtual_ecs) == [0, 5]


async def test_a_slow_consumer_does_not_stretch_the_deadline(virtual_ecs: EcsEmulator) -> None:
    """What settles after the deadline comes too late, and is not asked about, although the iteration goes on."""
    ids = [virtual_ecs.add_task(duration=seconds) for seconds in range(0, 100, 5)]
    given = []
    start = clock()
    async with TaskWaiter(policy=every(5)) as waiter:
        outcomes = waiter.as_completed(ids, timeout=12)

        async def take_slowly() -> None:
            async for outcome in outcomes:
                given.append(outcome.task_id)  # type: ignore[union-attr]
                await asyncio.sleep(10)

        late = await failure(WaitTimeoutError, take_slowly())
    assert given == ids[:3]
    assert late.pending == tuple(ids[3:])
    assert since(start) == 30
    assert times(virtual_ecs) == [0, 5, 10]


async def test_looks_do_not_hold_each_other_back(virtual_ecs: EcsEmulator) -> None:
    """A look is over with the first answer that was asked for after it began, even while others look."""
    task_id = virtual_ecs.add_task(duration=1e6)
    virtual_ecs.inject("delay", seconds=0.5)
    async with TaskWaiter(policy=every(10)) as waiter:

        async def look() -> float:
            start = clock()
            await failure(WaitTimeoutError, waiter.wait([task_id], timeout=0))
            return since(start)

        waiter.submit(task_id)
        looks = []
        for _ in range(20):
            looks.append(asyncio.ensure_future(look()))
            await asyncio.sleep(0.3)
        assert max(await asyncio.gather(*looks)) <= 1


async def test_a_deadline_that_passes_while_the_ids_are_read(virtual_ecs: EcsEmulator) -> None:
    """IDs that take longer to read than the wait may last are not taken for a gap in which the loop did not run."""
    virtual_ecs.inject("hang")
    loop_time: Any = asyncio.get_running_loop().time

    def slowly() -> Iterator[str]:
        for number in range(4001):
            if number % 100 == 0:
                loop_time.__self__.jump(0.06)
            yield f"t-{number}"

    start = clock()
    await failure(WaitTimeoutError, wait_for_tasks(slowly(), timeout=1))
    assert since(start) <= 3
