"""One poll for all: which IDs share a call, and how few calls that makes."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from support.helpers import ELSEWHERE, REGION, add_tasks, asked, clock, collect, every, polls, since, turns

from ecs_waiter import StaticCredentials, TaskWaiter, WaitTimeoutError, wait_for_task, wait_for_tasks

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize(
    ("count", "sizes"),
    [
        (1, [1]),
        (99, [99]),
        (100, [100]),
        (101, [100, 1]),
        (250, [100, 100, 50]),
        (1000, [100] * 10),
    ],
)
async def test_the_fewest_calls(virtual_ecs: EcsEmulator, count: int, sizes: list[int]) -> None:
    """New IDs go out in as few calls as hold them, at 100 IDs to a call."""
    ids = add_tasks(virtual_ecs, count)
    await wait_for_tasks(ids)
    assert polls(virtual_ecs) == [(0, size) for size in sizes]


async def test_later_polls_are_as_few(virtual_ecs: EcsEmulator) -> None:
    """Later polls of the same IDs are as few as the first."""
    ids = add_tasks(virtual_ecs, 250, duration=25)
    await wait_for_tasks(ids, policy=every(10))
    assert Counter(at for at, _ in polls(virtual_ecs)) == {0: 3, 10: 3, 20: 3, 30: 3}


async def test_a_thousand_coroutines(virtual_ecs: EcsEmulator) -> None:
    """A thousand coroutines that await their own ID at the same moment cost ten calls a poll."""
    ids = add_tasks(virtual_ecs, 1000, duration=15)
    policy = every(10)
    tasks = await asyncio.gather(*(wait_for_task(task_id, policy=policy) for task_id in ids))
    assert [task.task_id for task in tasks] == ids
    assert Counter(at for at, _ in polls(virtual_ecs)) == {0: 10, 10: 10, 20: 10}


async def test_a_thousand_coroutines_of_one_id(virtual_ecs: EcsEmulator) -> None:
    """The same ID awaited by a thousand coroutines is polled once."""
    task_id = virtual_ecs.add_task(duration=15)
    policy = every(10)
    tasks = await asyncio.gather(*(wait_for_task(task_id, policy=policy) for _ in range(1000)))
    assert {task.task_id for task in tasks} == {task_id}
    assert polls(virtual_ecs) == [(0, 1), (10, 1), (20, 1)]


async def test_every_way_of_waiting_shares(virtual_ecs: EcsEmulator) -> None:
    """Futures, waits and iterators of one waiter share their polls."""
    task_id, other = virtual_ecs.add_task(duration=15), virtual_ecs.add_task(duration=15)
    async with TaskWaiter(policy=every(10)) as waiter:

        async def iterate() -> list[str]:
            return [task.task_id for task in await collect(waiter.as_completed([task_id, other]))]

        async def submit() -> str:
            return (await waiter.submit(task_id)).task_id

        _, ended, own = await asyncio.gather(waiter.wait([other, task_id]), iterate(), submit())
    assert sorted(ended) == sorted([task_id, other])
    assert own == task_id
    assert polls(virtual_ecs) == [(0, 2), (10, 2), (20, 2)]


async def test_page_size_and_order(virtual_ecs: EcsEmulator) -> None:
    """PageSize is the batch's size and the IDs are sorted, in every call."""
    ids = add_tasks(virtual_ecs, 130, duration=15)
    await wait_for_tasks(reversed(ids), policy=every(10))
    assert len(virtual_ecs.requests) == 6
    for request in virtual_ecs.requests:
        assert request.params["PageSize"] == str(len(request.task_ids))
        assert request.params["PageNumber"] == "1"
        assert list(request.task_ids) == sorted(set(request.task_ids))
        assert request.method == "POST"


async def test_the_same_turn_shares_a_call(virtual_ecs: EcsEmulator) -> None:
    """IDs submitted in the same turn of the loop share its call."""
    async with TaskWaiter() as waiter:
        futures = [waiter.submit(virtual_ecs.add_task()) for _ in range(60)]
        await asyncio.gather(*futures)
        assert polls(virtual_ecs) == [(0, 60)]
        await asyncio.sleep(5)
        futures = [waiter.submit(virtual_ecs.add_task()) for _ in range(60)]
        await asyncio.gather(*futures)
    assert polls(virtual_ecs) == [(0, 60), (5, 60)]


async def test_room_carries_those_next_due(virtual_ecs: EcsEmulator) -> None:
    """A call with room left carries the IDs that are next due, and paces them anew: they ride free."""
    early = virtual_ecs.add_task(duration=1e9)
    async with TaskWaiter(policy=every(10)) as waiter:
        waiter.submit(early)
        await asyncio.sleep(4)
        await waiter.wait([virtual_ecs.add_task()])
        await asyncio.sleep(15)
    assert polls(virtual_ecs) == [(0, 1), (4, 2), (14, 1)]


async def test_riders_are_those_due_first(virtual_ecs: EcsEmulator) -> None:
    """Where not all fit, those due first ride."""
    async with TaskWaiter(policy=every(100)) as waiter:
        groups = []
        for _ in range(3):
            groups.append(add_tasks(virtual_ecs, 100, duration=1e9))
            for task_id in groups[-1]:
                waiter.submit(task_id)
            await asyncio.sleep(10)
        new = virtual_ecs.add_task(task_id="t-new")
        await waiter.wait([new])
    riders = set(virtual_ecs.requests[-1].task_ids) - {new}
    assert len(riders) == 99
    assert riders < set(groups[0])


async def test_an_id_is_never_in_two_calls_in_flight(virtual_ecs: EcsEmulator) -> None:
    """While its call is under way an ID is asked by no other, whoever joins or leaves."""
    virtual_ecs.inject("delay", seconds=3)
    task_id = virtual_ecs.add_task(duration=1e9)
    async with TaskWaiter(policy=every(0, max_calls_per_second=1000)) as waiter:
        future = waiter.submit(task_id)
        for _ in range(20):
            await asyncio.sleep(0.5)
            future.cancel()
            await turns(3)
            future = waiter.submit(task_id)
    gaps = [
        round(later - earlier, 3)
        for earlier, later in zip(asked(virtual_ecs, task_id), asked(virtual_ecs, task_id)[1:], strict=False)
    ]
    assert gaps
    assert min(gaps) >= 3


async def test_max_in_flight(virtual_ecs: EcsEmulator) -> None:
    """No more than `max_in_flight` calls of a region are under way, while another region has its own."""
    virtual_ecs.inject("delay", seconds=5)
    near = add_tasks(virtual_ecs, 600)
    far = [virtual_ecs.add_task(region_id=ELSEWHERE, task_id=f"far-{number}") for number in range(300)]
    await wait_for_tasks({REGION: near, ELSEWHERE: far}, policy=every(10, max_in_flight=2, max_calls_per_second=1000))
    seen = Counter((request.region_id, round(request.at.timestamp() % 60)) for request in virtual_ecs.requests)
    assert seen == {(REGION, 0): 2, (REGION, 5): 2, (REGION, 10): 2, (ELSEWHERE, 0): 2, (ELSEWHERE, 5): 1}


async def test_calls_run_side_by_side(virtual_ecs: EcsEmulator) -> None:
    """Up to `max_in_flight` calls of a region go out together."""
    virtual_ecs.inject("delay", seconds=5)
    await wait_for_tasks(add_tasks(virtual_ecs, 600))
    assert Counter(at for at, _ in polls(virtual_ecs)) == {0: 4, 5: 2}


async def test_equal_arguments_share(virtual_ecs: EcsEmulator) -> None:
    """Module-level waits with equal credentials, endpoint, policy and session share one waiter; others do not."""
    ids = add_tasks(virtual_ecs, 6)
    policy = every(10)
    async with virtual_ecs.session() as session:
        await asyncio.gather(
            wait_for_task(ids[0], credentials=StaticCredentials("a", "b"), policy=policy),
            wait_for_task(ids[1], credentials=StaticCredentials("a", "b"), policy=policy, region_id=REGION),
            wait_for_task(ids[2], credentials=StaticCredentials("a", "c"), policy=policy),
            wait_for_task(ids[3], credentials=StaticCredentials("a", "b")),
            wait_for_task(ids[4], credentials=StaticCredentials("a", "b"), policy=policy, session=session),
            wait_for_task(ids[5], credentials=StaticCredentials("a", "b"), policy=policy, endpoint=virtual_ecs.url),
        )
    together = {request.task_ids for request in virtual_ecs.requests}
    assert together == {(ids[0], ids[1], ids[5]), (ids[2],), (ids[3],), (ids[4],)}


async def test_the_shared_waiter_closes_with_the_last(virtual_ecs: EcsEmulator) -> None:
    """The waiter behind module-level waits ends with the last of them, and the next one makes a new one."""
    long, short = virtual_ecs.add_task(duration=25), virtual_ecs.add_task()
    policy = every(10)
    waiting = asyncio.ensure_future(wait_for_task(long, policy=policy))
    await wait_for_task(short, policy=policy)
    assert await waiting
    assert len(asyncio.all_tasks()) == 1
    await wait_for_task(short, policy=policy)
    assert len(asyncio.all_tasks()) == 1


async def test_looks_do_not_starve_the_others(virtual_ecs: EcsEmulator) -> None:
    """A program that looks at many IDs all the time does not keep the other waits from being polled."""
    waiting = add_tasks(virtual_ecs, 500, duration=60)
    looked_at = [virtual_ecs.add_task(task_id=f"t-look{n:04}", duration=1e9) for n in range(1000)]
    start = clock()
    async with TaskWaiter(policy=every(10)) as waiter:

        async def look() -> None:
            while True:
                with contextlib.suppress(WaitTimeoutError):
                    await waiter.wait(looked_at, timeout=0)

        looking = asyncio.ensure_future(look())
        await waiter.wait(waiting)
        assert since(start) <= 60 + 10 + 10
        looking.cancel()
