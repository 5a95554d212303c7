"""`as_completed`: the outcomes as they come, each a Task or the error of one that did not finish."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

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
    since,
    timed,
    turns,
)

from ecs_waiter import (
    AuthenticationError,
    Task,
    TaskCanceledError,
    TaskError,
    TaskFailedError,
    TaskNotFoundError,
    TaskWaiter,
    WaitTimeoutError,
)

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio


async def test_as_each_settles(virtual_ecs: EcsEmulator) -> None:
    """Each outcome comes with the answer that settles it, in the order of the ends, not of the asking."""
    ids = [virtual_ecs.add_task(duration=duration) for duration in (35, 5, 15)]
    async with TaskWaiter(policy=every(10)) as waiter:
        seen = await timed(waiter.as_completed(ids))
    assert [(at, task.task_id) for at, task in seen] == [(10, ids[1]), (20, ids[2]), (40, ids[0])]


async def test_errors_are_given(virtual_ecs: EcsEmulator) -> None:
    """An error is given, not raised, with its reason, and the rest goes on."""
    failed = virtual_ecs.add_task(outcome="Failed", error=REASON)
    canceled, finished = virtual_ecs.add_task(outcome="Deleted"), virtual_ecs.add_task(duration=95)
    async with TaskWaiter(policy=every(10)) as waiter:
        outcomes = await collect(waiter.as_completed([failed, canceled, finished, "t-unknown"]))
    by_id = {outcome.task_id: type(outcome) for outcome in outcomes}
    assert by_id == {
        failed: TaskFailedError,
        canceled: TaskCanceledError,
        finished: Task,
        "t-unknown": TaskNotFoundError,
    }
    reasons = [str(outcome) for outcome in outcomes if isinstance(outcome, TaskFailedError)]
    assert REASON[0] in reasons[0]


async def test_each_once(virtual_ecs: EcsEmulator) -> None:
    """An ID asked twice is given once."""
    ids = add_tasks(virtual_ecs, 120)
    async with TaskWaiter() as waiter:
        outcomes = await collect(waiter.as_completed(ids + ids))
    assert sorted(task.task_id for task in outcomes) == ids


async def test_a_mapping(virtual_ecs: EcsEmulator) -> None:
    """Regions are iterated over side by side; one that refuses gives its error for each of its IDs."""
    virtual_ecs.inject("refuse", region_id=ELSEWHERE)
    near = virtual_ecs.add_task(duration=5)
    async with TaskWaiter() as waiter:
        outcomes = await collect(waiter.as_completed({ELSEWHERE: ["t-1", "t-2"], REGION: [near]}))
    assert [type(outcome) for outcome in outcomes] == [AuthenticationError, AuthenticationError, Task]


async def test_nothing(virtual_ecs: EcsEmulator) -> None:
    """No IDs give no outcomes and make no call."""
    async with TaskWaiter() as waiter:
        assert await collect(waiter.as_completed([])) == []
        assert await collect(waiter.updates({})) == []
    assert virtual_ecs.requests == []


async def test_a_generator_of_ids(virtual_ecs: EcsEmulator) -> None:
    """The IDs are read when the iterator is made, so that misuse is told there."""
    ids = [virtual_ecs.add_task() for _ in range(3)]
    async with TaskWaiter() as waiter:
        outcomes = waiter.as_completed(task_id for task_id in ids)
        virtual_ecs.add_task()
        assert len(await collect(outcomes)) == 3
        with pytest.raises(ValueError, match="comma"):
            waiter.as_completed(["a,b"])


async def test_leaving_early(virtual_ecs: EcsEmulator) -> None:
    """Who leaves the loop early leaves the rest unpolled."""
    done, endless = virtual_ecs.add_task(), virtual_ecs.add_task(duration=1e9)
    async with TaskWaiter(policy=every(10)) as waiter:
        async for outcome in waiter.as_completed([done, endless]):
            assert isinstance(outcome, Task)
            assert outcome.task_id == done
            break
        await turns(3)
        assert waiter.stats.regions[REGION].waiting == 0
        async for task in waiter.updates([endless]):
            assert task.task_id == endless
            break
        await turns(3)
        assert waiter.stats.regions[REGION].waiting == 0
        calls = len(virtual_ecs.requests)
        await asyncio.sleep(100)
        assert len(virtual_ecs.requests) == calls
    assert others() == set()


async def test_an_error_in_the_body(virtual_ecs: EcsEmulator) -> None:
    """What the loop's body raises is the caller's business and leaves nothing behind."""
    done, endless = virtual_ecs.add_task(), virtual_ecs.add_task(duration=1e9)

    async def go() -> None:
        async with TaskWaiter(policy=every(10)) as waiter:
            async for _task in waiter.as_completed([done, endless]):
                raise LookupError

    await failure(LookupError, go())
    assert others() == set()


async def test_never_iterated(virtual_ecs: EcsEmulator) -> None:
    """An iterator that nobody iterates over asks nothing."""
    async with TaskWaiter() as waiter:
        waiter.as_completed([virtual_ecs.add_task()])
        await asyncio.sleep(100)
    assert virtual_ecs.requests == []


async def test_its_deadline_begins_with_the_call(virtual_ecs: EcsEmulator) -> None:
    """The timeout counts from the call of `as_completed`, and what has settled is given before it raises."""
    ids = [virtual_ecs.add_task(), virtual_ecs.add_task(duration=1e9)]
    seen: list[Task] = []
    start = clock()
    async with TaskWaiter(policy=every(10)) as waiter:
        outcomes = waiter.as_completed(ids, timeout=25)
        await asyncio.sleep(15)
        error = await failure(WaitTimeoutError, collect(outcomes, seen))
        assert since(start) == 25
    assert [task.task_id for task in seen] == [ids[0]]
    assert error.pending == (ids[1],)
    assert list(error.results) == [ids[0]]


async def test_known_failures_at_the_deadline(virtual_ecs: EcsEmulator) -> None:
    """At the deadline a task known to have failed is given as failed before the deadline is raised."""
    virtual_ecs.inject("hang", action="DescribeTaskAttribute")
    failed, endless = virtual_ecs.add_task(outcome="Failed"), virtual_ecs.add_task(duration=1e9)
    seen: list[TaskError] = []
    async with TaskWaiter(policy=every(10)) as waiter:
        error = await failure(WaitTimeoutError, collect(waiter.as_completed([failed, endless], timeout=5), seen))
    assert [type(outcome) for outcome in seen] == [TaskFailedError]
    assert error.pending == (endless,)


async def test_a_slow_reader(virtual_ecs: EcsEmulator) -> None:
    """A reader that takes its time is given all outcomes and holds nobody up."""
    ids = [virtual_ecs.add_task(duration=duration) for duration in (5, 15, 25)]
    seen = []
    async with TaskWaiter(policy=every(10)) as waiter:
        futures = [waiter.submit(task_id) for task_id in ids]
        async for outcome in waiter.as_completed(ids):
            assert isinstance(outcome, Task)
            seen.append(outcome.task_id)
            await asyncio.sleep(500)
            assert all(future.done() for future in futures)
    assert seen == ids


Iterate: TypeAlias = Callable[..., AsyncIterator[Any]]


@pytest.mark.parametrize("iterate", [TaskWaiter.events, TaskWaiter.as_completed, TaskWaiter.updates])
async def test_a_long_list_is_read_in_slices(virtual_ecs: EcsEmulator, iterate: Iterate) -> None:
    """A list of 200,000 IDs is read while the loop goes on; what is wrong at its end raises before any call."""
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with TaskWaiter() as waiter:
        events = iterate(waiter, [*(f"t-{number}" for number in range(200_000)), "t 1"])
        counting = asyncio.create_task(count_turns())
        error = await failure(ValueError, collect(events))
        counting.cancel()
    assert "ID" in str(error)
    assert turns >= 50
    assert virtual_ecs.requests == []


@pytest.mark.parametrize("iterate", [TaskWaiter.events, TaskWaiter.as_completed, TaskWaiter.updates])
async def test_a_usual_list_is_checked_at_once(virtual_ecs: EcsEmulator, iterate: Iterate) -> None:
    """What is wrong with the 20,000th ID raises where the iteration is made, not where it begins."""
    ids = [f"t-{number}" for number in range(20_000)]
    async with TaskWaiter() as waiter:
        for bad in ([*ids[:-1], "t 1"], {"cn-hangzhou": ids[:10_000], "us-west-1": ids[9_999:19_000]}):
            with pytest.raises(ValueError, match="ID"):
                iterate(waiter, bad)
    assert virtual_ecs.requests == []


async def test_many_ids_in_the_order_asked(virtual_ecs: EcsEmulator) -> None:
    """However long a list is, each ID counts once, and all are reported in the order asked."""
    ids = [f"t-{number}" for number in range(120_000)]
    async with TaskWaiter() as waiter:
        error = await failure(WaitTimeoutError, waiter.wait([*ids, *ids[::-1], "t-last"], timeout=1))
    assert error.pending == (*ids, "t-last")
    assert all(len(set(request.task_ids)) == 100 for request in virtual_ecs.requests)
