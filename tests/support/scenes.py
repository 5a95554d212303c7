"""What crowds of callers do at the same time; each scene raises if a task is lost or anything is left afterwards."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING, Any
from unittest import mock

from ecs_waiter import (
    AuthenticationError,
    EcsClient,
    PollPolicy,
    StaticCredentials,
    TaskCanceledError,
    TaskFailedError,
    TaskWaiter,
    WaitTimeoutError,
)
from ecs_waiter.api.exchange import Exchange, Reply
from support.crowds import REGION, REGIONS, Crowd, aside, ids, ours_is_over

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ecs_waiter import EcsWaiterError, Task

__all__ = [
    "as_completed",
    "closing",
    "closing_failed",
    "come_and_go",
    "come_back",
    "large_answers",
    "leave",
    "read_many",
    "refused",
    "refused_waits",
    "submit",
    "time_out",
    "time_out_failed",
    "wait",
    "wait_in_regions",
]

_POLICY = PollPolicy()
_FAST = PollPolicy(max_calls_per_second=1000, max_in_flight=100)
_LONGEST = 600.0
_FOREVER = 1e9
# By how much two waits that leave at once overlap.
_SHARED = 2


async def _ids(count: int) -> list[str]:
    async with aside():
        return ids(count)


async def _nothing_left(waiter: TaskWaiter) -> None:
    """Nobody is remembered, and the loop has no task but the caller's, whose clean-up is none of ours."""
    await asyncio.sleep(0)
    ours_is_over()
    assert len(asyncio.all_tasks()) == 1, asyncio.all_tasks()
    assert not waiter.pollers._waits
    assert not waiter.pollers._futures
    for poller in waiter.pollers._by_region.values():
        schedule = poller._schedule
        assert poller.waiting == 0
        assert not poller._notifier._late
        assert not poller._notifier._last_seen
        assert not len(schedule._queue)
        # A closed waiter forgets its calls under way, and is forgotten itself.
        assert waiter.pollers.is_closed or not schedule.calls._left


async def _check(outcomes: Iterable[Task | BaseException], count: int, regions: int = 1) -> None:
    """In each region one in a thousand failed, one was canceled, and the others finished."""
    async with aside():
        kinds = Counter(map(type, outcomes))
        assert kinds.total() == count
        assert kinds[TaskFailedError] == kinds[TaskCanceledError] == regions * -(-count // regions // 1000)


async def _submitted(waiter: TaskWaiter, task_ids: Sequence[str]) -> list[asyncio.Future[Task]]:
    futures = []
    for number, task_id in enumerate(task_ids):
        futures.append(waiter.submit(task_id, region_id=REGION))
        if number % 1000 == 0:
            await asyncio.sleep(0)
    return futures


async def wait(count: int) -> None:
    """One wait for many tasks of one region."""
    every = await _ids(count)
    with Crowd(_POLICY, _LONGEST).behind() as waiter:
        async with waiter:
            results = await waiter.wait(every, region_id=REGION, return_exceptions=True)
        await _check(results.values(), count)
        assert list(results) == every
        await _nothing_left(waiter)


async def wait_in_regions(count: int) -> None:
    """One wait for many tasks of twenty regions."""
    async with aside():
        asked = {region: ids(count // len(REGIONS), number) for number, region in enumerate(REGIONS)}
    with Crowd(_POLICY, _LONGEST).behind() as waiter:
        async with waiter:
            results = await waiter.wait(asked, return_exceptions=True)
        async with aside():
            assert list(results) == [task_id for listed in asked.values() for task_id in listed]
        await _check(results.values(), count, len(REGIONS))
        await _nothing_left(waiter)


async def as_completed(count: int) -> None:
    """One iteration over the outcomes of many tasks."""
    every = await _ids(count)
    outcomes: list[Task | EcsWaiterError] = []
    with Crowd(_POLICY, _LONGEST).behind() as waiter:
        async with waiter:
            async for outcome in waiter.as_completed(every, region_id=REGION):
                outcomes.append(outcome)  # noqa: PERF401 - as callers do
        await _check(outcomes, count)
        await _nothing_left(waiter)


async def submit(count: int) -> None:
    """A future for each of many tasks."""
    every = await _ids(count)
    with Crowd(_POLICY, _LONGEST).behind() as waiter:
        async with waiter:
            futures = await _submitted(waiter, every)
            await asyncio.sleep(_LONGEST * 2)
        async with aside():
            assert all(future.done() and not future.cancelled() for future in futures)
        await _check((future.exception() or future.result() for future in futures), count)
        await _nothing_left(waiter)


async def come_and_go(count: int) -> None:
    """One task after the other is submitted and canceled: at once, in a later turn, or while its call is under way."""
    every = await _ids(count)
    with Crowd(_POLICY, _FOREVER).behind() as waiter:
        async with waiter:
            for number, task_id in enumerate(every):
                future = waiter.submit(task_id, region_id=REGION)
                if number % 100 == 0:
                    await asyncio.sleep(number % 3 * 0.01)
                future.cancel()
            await asyncio.sleep(60)
            await _nothing_left(waiter)


async def leave(count: int, waits: int = 1000) -> None:
    """A thousand waits are canceled at once, each of which shares its tasks with the next one."""
    every = await _ids(count)
    share = count // waits
    with Crowd(_POLICY, _FOREVER).behind() as waiter:
        async with waiter:
            callers = []
            for start in range(0, count, share):
                asked = every[start : start + _SHARED * share]
                callers.append(asyncio.create_task(waiter.wait(asked, region_id=REGION)))
            await asyncio.sleep(300)
            for caller in callers:
                caller.cancel()
            told = await asyncio.gather(*callers, return_exceptions=True)
            assert set(map(type, told)) == {asyncio.CancelledError}
            await asyncio.sleep(60)
            await _nothing_left(waiter)


async def time_out(count: int) -> None:
    """One wait for many tasks meets its deadline while they are pending."""
    every = await _ids(count)
    with Crowd(_POLICY, _FOREVER).behind() as waiter:
        async with waiter:
            (told,) = await asyncio.gather(waiter.wait(every, region_id=REGION, timeout=200), return_exceptions=True)
            async with aside():
                assert isinstance(told, WaitTimeoutError), told
                assert set(told.pending) | set(told.results) == set(every)
                assert len(told.pending) > count * 0.98  # some end at once
            await asyncio.sleep(60)
            await _nothing_left(waiter)


async def refused(count: int) -> None:
    """The region refuses while many tasks are pending, in one wait and by futures."""
    every = await _ids(count)
    crowd = Crowd(_POLICY, _FOREVER)
    with crowd.behind() as waiter:
        async with waiter:
            waiting = asyncio.create_task(waiter.wait(every, region_id=REGION, return_exceptions=True))
            futures = await _submitted(waiter, every)
            await asyncio.sleep(200)
            crowd.refuses = True
            results = await waiting
            async with aside():
                assert len(results) == count
                assert (
                    len({id(told) for told in results.values()}) < count * 0.03
                )  # one for the region, and a few ended
                assert all(future.done() and (future.exception() or True) for future in futures)
            await asyncio.sleep(60)
            await _nothing_left(waiter)


async def refused_waits(count: int) -> None:
    """The region refuses while many coroutines each wait for a task of their own."""
    every = await _ids(count)
    crowd = Crowd(_POLICY, _FOREVER)
    with crowd.behind() as waiter:
        async with waiter:
            waiting = []
            for number, task_id in enumerate(every):
                waiting.append(asyncio.create_task(waiter.wait([task_id], region_id=REGION)))
                if number % 1000 == 0:
                    await asyncio.sleep(0)
            await asyncio.sleep(200)
            crowd.refuses = True
            await asyncio.sleep(60)
            async with aside():
                kinds = Counter(type(each.exception()) for each in waiting)
                assert kinds[AuthenticationError] > count * 0.98  # some end at once
                waiting.clear()
            await _nothing_left(waiter)


async def read_many(count: int) -> None:
    """Iterations over ten times as many tasks begin."""
    every = await _ids(10 * count)
    with Crowd(_POLICY, _FOREVER).behind() as waiter:
        async with waiter:
            outcomes = waiter.as_completed(every, region_id=REGION)
            await asyncio.sleep(0)
            updates = waiter.updates(every, region_id=REGION)
            await anext(outcomes)
            await anext(updates)
            # What follows is the end of a million waits, in one region.
            ours_is_over()
            del outcomes, updates
        await asyncio.sleep(60)
        await _nothing_left(waiter)


async def closing_failed(count: int) -> None:
    """A waiter is closed while the reasons of many failures are looked up, for futures and for one wait."""
    every = await _ids(count)
    crowd = Crowd(_FAST, _FOREVER)
    crowd.fails = True
    with crowd.behind() as waiter:
        async with waiter:
            waiting = asyncio.create_task(waiter.wait(every, region_id=REGION, return_exceptions=True))
            futures = await _submitted(waiter, every)
            # Half of the time for which a failure is held back while its reason is looked up.
            await asyncio.sleep(15)
        results = await waiting
        async with aside():
            assert Counter(map(type, results.values())) == {TaskFailedError: count}
            assert Counter(type(future.exception()) for future in futures) == {TaskFailedError: count}
        await _nothing_left(waiter)


async def time_out_failed(count: int) -> None:
    """One wait meets its deadline while the reasons of many failures are looked up."""
    every = await _ids(count)
    crowd = Crowd(_FAST, _FOREVER)
    crowd.fails = True
    with crowd.behind() as waiter:
        async with waiter:
            results = await waiter.wait(every, region_id=REGION, return_exceptions=True, timeout=15)
            async with aside():
                assert Counter(map(type, results.values())) == {TaskFailedError: count}
            await asyncio.sleep(60)
            await _nothing_left(waiter)


async def large_answers(size: int) -> None:
    """Answers of forty times as many bytes come: a good one that repeats our secret in each row, and two errors."""
    async with aside():
        keys = "example-key-id", "example-key-secret"
        rows = ",".join(f'{{"Name":"d-{number}","Text":"\\u0065xample-key-secret"}}' for number in range(size * 4 // 5))
        replies = [
            Reply(200, {}, f'{{"Rows":[{rows}]}}'.encode()),
            Reply(400, {}, f'{{"Code":"A","Message":"{"50% of " * (size * 40 // 7)}"}}'.encode()),
            Reply(400, {}, f'{{"Code":"A","Message":"{"example-key-secret" * (size * 40 // 18)}"}}'.encode()),
        ]
    for reply in replies:
        with mock.patch.object(Exchange, "send", mock.AsyncMock(return_value=reply)):
            async with EcsClient(StaticCredentials(*keys)) as client:
                call = client.call("DescribeDisks", region_id=REGION)
                outcomes: list[Any] = await asyncio.gather(call, return_exceptions=True)
        async with aside():
            is_good = isinstance(outcomes[0], dict)
            told = json.dumps(outcomes) if is_good else f"{outcomes} {outcomes[0]}"
            assert is_good is (reply.status == 200)
            assert keys[1] not in told
            assert not is_good or len(told) > size * 20
            outcomes.clear()


async def come_back(count: int) -> None:
    """A region refuses a crowd, and whoever is told comes back at once, while others are still being told."""
    every = await _ids(count)
    crowd = Crowd(_POLICY, _LONGEST)
    with crowd.behind() as waiter:
        async with waiter:
            futures = await _submitted(waiter, every)
            await asyncio.sleep(count / 1000 / 2)
            crowd.refuses = True
            await asyncio.wait(futures[96:97])  # a long one, and among the first that are told
            crowd.refuses = False
            again = await _submitted(waiter, every)
            async with aside():
                assert all(future.done() and (future.exception() or True) for future in futures)
            await asyncio.sleep(_LONGEST * 2)
            async with aside():
                assert all(future.done() for future in again)
            await _check((future.exception() or future.result() for future in again), count)
            await _nothing_left(waiter)


async def closing(count: int) -> None:
    """A waiter is closed under many futures."""
    every = await _ids(count)
    with Crowd(_POLICY, _FOREVER).behind() as waiter:
        async with waiter:
            futures = await _submitted(waiter, every)
            await asyncio.sleep(10)
        async with aside():
            assert all(future.cancelled() or future.exception() or future.result() for future in futures)
        await _nothing_left(waiter)
