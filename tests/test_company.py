"""wait_adaptive in company: one call for all, when together they are worth it."""

from __future__ import annotations

import asyncio
import math
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.helpers import REGION, add_tasks, clock, failure, polls, since, times
from tenacity import wait_random

from ecs_waiter import PollPolicy, TaskWaiter, WaitTimeoutError, wait_adaptive, wait_for_task, wait_for_tasks
from ecs_waiter.api.tasks import PollAnswer
from ecs_waiter.polling.schedule import PollSchedule

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator

STEADY = wait_adaptive(jitter=0)


def steady(**changes: float) -> PollPolicy:
    """The default policy without jitter."""
    return PollPolicy(wait=wait_adaptive(**{"jitter": 0, **changes}))


def answered(schedule: PollSchedule, now: float) -> list[str]:
    """Make the next call, which finds all of its tasks running; return its IDs."""
    batch = schedule.take(now)
    assert batch is not None
    rows = [{"TaskId": task_id, "TaskStatus": "Processing"} for task_id in batch.task_ids]
    ids = batch.task_ids
    schedule.answer(batch, PollAnswer(REGION, rows, total_count=len(rows)), now)
    schedule.end_call(batch, now)
    return ids


def schedule_of(policy: PollPolicy, ages: list[float]) -> PollSchedule:
    """A schedule at time 0 whose tasks of these ages were all polled right now."""
    schedule = PollSchedule(policy, float)
    for entry, age in zip(schedule.add([f"t-{n:05}" for n in range(len(ages))], 0.0), ages, strict=True):
        entry.created_at = -age
    while schedule.wake_at() <= 0.0:
        answered(schedule, 0.0)
    return schedule


@settings(max_examples=200, deadline=None)
@given(ages=st.lists(st.floats(0, 100_000), min_size=1, max_size=100))
def test_when_the_next_call_goes_out(ages: list[float]) -> None:
    """If all were asked together, the pause is the root of n^crowd over the sum of 1/pause², within min and max."""
    pauses = [STEADY.pause(age) for age in ages]
    expected = math.sqrt(len(ages) ** STEADY.crowd / sum(pause**-2 for pause in pauses))
    schedule = schedule_of(PollPolicy(wait=STEADY), ages)
    assert schedule.wake_at() == pytest.approx(min(max(expected, STEADY.min), STEADY.max))


@settings(max_examples=100, deadline=None)
@given(count=st.integers(1, 350), age=st.floats(0, 100_000), calls=st.integers(1, 30))
def test_limits_of_the_pace(count: int, age: float, calls: int) -> None:
    """No two calls are closer than min for each hundred tasks, and no task rests for longer than max."""
    schedule = schedule_of(PollPolicy(wait=wait_adaptive(jitter=0.5)), [age] * count)
    last = dict.fromkeys((f"t-{n:05}" for n in range(count)), 0.0)
    now = before = 0.0
    for _ in range(calls):
        now = max(now, schedule.wake_at())
        assert now - before >= STEADY.min / math.ceil(count / 100) - 1e-6
        for task_id in answered(schedule, now):
            last[task_id] = now
        before = now
        assert now - min(last.values()) <= STEADY.max + 1e-6


@pytest.mark.asyncio
async def test_a_new_id_rides_the_next_call(virtual_ecs: EcsEmulator) -> None:
    """Beside a task that is polled already, a new ID waits for the next call, at most `first` seconds."""
    old, new = add_tasks(virtual_ecs, 2, duration=1e9)
    async with TaskWaiter(policy=steady(first=2)) as waiter:
        waiter.submit(old)
        await asyncio.sleep(400)
        last = times(virtual_ecs)[-1]
        assert 5 < 400 - last < 25
        waiter.submit(new)
        await asyncio.sleep(5)
        assert polls(virtual_ecs)[-1] == (402, 2)


def test_who_comes_first() -> None:
    """With more than a hundred tasks, those are asked whose pause is half over soonest."""
    schedule = schedule_of(PollPolicy(wait=STEADY), [3600.0] * 100 + [0.0] * 100)
    young, old = [f"t-{n:05}" for n in range(100, 200)], [f"t-{n:05}" for n in range(100)]
    asked = []
    now = 0.0
    while now < 40:
        now = schedule.wake_at()
        asked.append((now, answered(schedule, now)))
    assert asked[0][1] == young
    first_old = next(at for at, ids in asked if ids == old)
    assert 15 <= first_old <= STEADY.max
    assert all(ids in (young, old) for _, ids in asked)


@pytest.mark.asyncio
async def test_a_lone_new_id_is_asked_at_once(virtual_ecs: EcsEmulator) -> None:
    """If nothing is polled yet, a new ID is asked at once, and so is one with a single poll."""
    task_id = virtual_ecs.add_task(duration=1e9)
    async with TaskWaiter(policy=steady()) as waiter:
        waiter.submit(task_id)
        await asyncio.sleep(0.1)
        assert [at for at, _ in polls(virtual_ecs)] == [0]
        other = virtual_ecs.add_task(duration=1e9)
        await failure(WaitTimeoutError, waiter.wait([other], timeout=0))
        assert [at for at, _ in polls(virtual_ecs)] == [0, 0.1]


@pytest.mark.asyncio
async def test_a_short_wait_is_asked_at_once(virtual_ecs: EcsEmulator) -> None:
    """A wait whose timeout is shorter than the next call may take does not end without a look."""
    old = virtual_ecs.add_task(duration=1e9)
    async with TaskWaiter(policy=steady()) as waiter:
        waiter.submit(old)
        await asyncio.sleep(400)
        done = virtual_ecs.add_task(duration=0)
        start = clock()
        assert list(await waiter.wait([done], timeout=2)) == [done]
        assert since(start) == 0


@pytest.mark.asyncio
async def test_what_was_started_needs_no_first_look(virtual_ecs: EcsEmulator) -> None:
    """A task that was started right now has age 0: its first poll comes after `min` seconds."""
    async with TaskWaiter(policy=steady()) as waiter:
        params = {"OSSBucket": "b", "ImageId": "m-1"}
        await waiter.run("ExportImage", region_id=REGION, params=params)
    started = next(request.at for request in virtual_ecs.requests if request.action == "ExportImage")
    first = next(request.at for request in virtual_ecs.requests if request.action == "DescribeTasks")
    assert (first - started).total_seconds() == pytest.approx(3, abs=0.1)


@pytest.mark.asyncio
async def test_old_tasks_profit_from_young_ones(virtual_ecs: EcsEmulator) -> None:
    """A call that goes out for young tasks carries old ones, which are found sooner than they would be alone."""
    old = virtual_ecs.add_task(duration=1e9)
    await asyncio.sleep(3600)
    young = add_tasks(virtual_ecs, 5, duration=1e9)
    before = len(polls(virtual_ecs))
    await failure(WaitTimeoutError, wait_for_tasks([old, *young], policy=steady(), timeout=60))
    seen = polls(virtual_ecs)[before:]
    assert {size for _, size in seen} == {6}
    assert max(later - at for (at, _), (later, _) in pairwise(seen)) < 12


@pytest.mark.asyncio
async def test_a_composed_strategy_is_a_plain_one(virtual_ecs: EcsEmulator) -> None:
    """`wait_adaptive() + wait_random(0, 1)` is asked for the youngest of each call, and new IDs go out at once."""
    old = virtual_ecs.add_task(duration=1e9)
    policy = PollPolicy(wait=wait_adaptive() + wait_random(0, 1))
    async with TaskWaiter(policy=policy) as waiter:
        waiter.submit(old)
        await asyncio.sleep(400)
        waiter.submit(virtual_ecs.add_task(duration=1e9))
        await asyncio.sleep(0.1)
    assert 400 in times(virtual_ecs)


@pytest.mark.asyncio
async def test_a_minimum_of_zero(virtual_ecs: EcsEmulator) -> None:
    """With `min=0` a task that was just created is polled as fast as the limits allow."""
    start = clock()
    await wait_for_task(virtual_ecs.add_task(duration=2), policy=steady(min=0))
    assert since(start) <= 2.2
