"""When an ID is asked again: any tenacity strategy, new IDs first, and the limits that hold whatever it says."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from support.helpers import ELSEWHERE, REGION, add_tasks, asked, clock, every, failure, polls, since, timed, times
from tenacity import (
    RetryCallState,
    wait_chain,
    wait_exponential,
    wait_fixed,
    wait_incrementing,
    wait_none,
    wait_random,
)

from ecs_waiter import (
    EcsWaiterError,
    PollPolicy,
    Task,
    TasksFailedError,
    TaskWaiter,
    WaitTimeoutError,
    wait_for_task,
    wait_for_tasks,
    wait_proportional,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (wait_fixed(7), [0, 7, 14, 21, 28]),
        (wait_chain(wait_fixed(1), wait_fixed(2), wait_fixed(20)), [0, 1, 3, 23, 43]),
        (wait_exponential(multiplier=1, max=8), [0, 1, 3, 7, 15, 23, 31]),
        (wait_incrementing(start=5, increment=5), [0, 5, 15, 30]),
        (wait_fixed(3) + wait_fixed(4), [0, 7, 14, 21, 28]),
        (lambda state: 10 * state.attempt_number, [0, 10, 30]),
        (lambda _state: Decimal("12.5"), [0, 12.5, 25]),
        (wait_proportional(factor=1, min=2, max=100, jitter=0), [0, 2, 4, 8, 16, 32]),
    ],
    ids=["fixed", "chain", "exponential", "incrementing", "sum", "function", "decimal", "proportional"],
)
async def test_any_strategy(virtual_ecs: EcsEmulator, strategy: Any, expected: list[float]) -> None:
    """Any tenacity strategy, or a function like one, is the cadence."""
    task_id = virtual_ecs.add_task(duration=24)
    await wait_for_task(task_id, policy=PollPolicy(wait=strategy))
    until = next(index for index, at in enumerate(expected) if at >= 24)
    assert times(virtual_ecs) == expected[: until + 1]


@pytest.mark.parametrize("strategy", [wait_none(), wait_fixed(0), wait_random(0, 0)], ids=["none", "fixed", "random"])
async def test_no_wait_at_all(virtual_ecs: EcsEmulator, strategy: Any) -> None:
    """A strategy of 0 seconds polls as fast as the limiter lets it, and no faster."""
    task_id = virtual_ecs.add_task(duration=10.5)
    await wait_for_task(task_id, policy=PollPolicy(wait=strategy, max_calls_per_second=5))
    seen = times(virtual_ecs)
    assert all(later - earlier >= 1 - 1e-3 for earlier, later in zip(seen, seen[5:], strict=False))
    assert 50 <= len(seen) <= 60


async def test_no_wait_leaves_others_their_turn(virtual_ecs: EcsEmulator) -> None:
    """With 0 seconds and a backlog every ID still gets its turn."""
    ids = add_tasks(virtual_ecs, 450, duration=6)
    start = clock()
    await wait_for_tasks(ids, policy=every(0))
    assert since(start) <= 7


async def test_proportional_to_age(virtual_ecs: EcsEmulator) -> None:
    """Alone, a task is polled after 15 % of its age by default, between 3 and 30 s, with 10 % of jitter."""
    task_id = virtual_ecs.add_task(duration=3000)
    await wait_for_task(task_id)
    seen = times(virtual_ecs)
    gaps = [(at, later - at) for at, later in pairwise(seen)]
    for at, gap in gaps:
        pace = min(max(0.15 * at, 3), 30)
        assert max(3, pace * 0.9) - 0.1 <= gap <= min(30, pace * 1.1) + 0.1
    late = [gap for at, gap in gaps if at > 400]
    assert len({round(gap, 3) for gap in late}) > len(late) / 3  # at the longest pause jitter only shortens


async def test_a_restarted_waiter_is_at_the_right_pace(virtual_ecs: EcsEmulator) -> None:
    """The age is that of the task, by its CreationTime, not that of the wait."""
    task_id = virtual_ecs.add_task(duration=1e9)
    await asyncio.sleep(3000)
    await failure(WaitTimeoutError, wait_for_task(task_id, timeout=100))
    first, second = times(virtual_ecs)[:2]
    assert first == 3000
    assert 27 <= second - first <= 30


async def test_age_is_by_the_services_clock(virtual_ecs: EcsEmulator) -> None:
    """A local clock that is off does not change the pace: ages are told by the service's own."""
    virtual_ecs.inject("clock", offset=86_400)
    task_id = virtual_ecs.add_task(duration=1e9)
    await failure(WaitTimeoutError, wait_for_task(task_id, timeout=30))
    assert all(later - at <= 5.5 for at, later in pairwise(times(virtual_ecs)))


async def test_what_the_strategy_is_told(virtual_ecs: EcsEmulator) -> None:
    """attempt_number counts polls, and seconds_since_start is the age of the youngest task in the batch."""
    told: list[tuple[int, float | None]] = []

    def strategy(state: RetryCallState) -> float:
        told.append((state.attempt_number, state.seconds_since_start))
        return 10

    virtual_ecs.add_task(task_id="t-old", duration=1e9)
    await asyncio.sleep(100)
    virtual_ecs.add_task(task_id="t-young", duration=25)
    await failure(WaitTimeoutError, wait_for_tasks(["t-old", "t-young"], policy=PollPolicy(wait=strategy), timeout=45))
    assert told == [(1, 0), (2, 10), (3, 20), (4, 130), (5, 140)]


async def test_a_new_id_is_next_in_line(virtual_ecs: EcsEmulator) -> None:
    """A new ID goes before any backlog of later polls."""
    backlog = add_tasks(virtual_ecs, 1000, duration=1e9)
    async with TaskWaiter(policy=every(1, max_calls_per_second=2)) as waiter:
        for task_id in backlog:
            waiter.submit(task_id)
        await asyncio.sleep(20.1)
        start = clock()
        await waiter.wait([virtual_ecs.add_task(task_id="t-new")])
        assert since(start) <= 1
        assert all(task_id == "t-new" or task_id in backlog for task_id in virtual_ecs.requests[-1].task_ids)


@pytest.mark.parametrize("rate", [0.5, 3, 10])
async def test_the_limiter_holds(virtual_ecs: EcsEmulator, rate: float) -> None:
    """No more than `max_calls_per_second` go out in any second, polls and look-ups together."""
    ids = add_tasks(virtual_ecs, 300, duration=5) + [virtual_ecs.add_task(outcome="Failed") for _ in range(20)]
    await wait_for_tasks(ids, policy=every(0, max_calls_per_second=rate), return_exceptions=True)
    seen = sorted(times(virtual_ecs) + times(virtual_ecs, "DescribeTaskAttribute"))
    count = max(1, int(rate))
    least = count / rate
    assert all(later - earlier >= least - 2e-3 for earlier, later in zip(seen, seen[count:], strict=False))


async def test_each_region_has_its_own_limiter(virtual_ecs: EcsEmulator) -> None:
    """A throttled region delays no other."""
    virtual_ecs.inject("throttle", region_id=ELSEWHERE, retry_after=50, times=1)
    near, far = virtual_ecs.add_task(), virtual_ecs.add_task(region_id=ELSEWHERE)
    async with TaskWaiter() as waiter:
        seen = await timed(waiter.as_completed({ELSEWHERE: [far], REGION: [near]}))
    at = {task.task_id: seconds for seconds, task in seen}
    assert at[near] == 0
    assert 50 <= at[far] <= 52


def raising(_state: RetryCallState) -> float:
    """A strategy that fails."""
    raise LookupError("no idea")


@pytest.mark.parametrize(
    ("strategy", "cause"),
    [
        (raising, LookupError),
        (lambda _state: math.nan, ValueError),
        (lambda _state: -1, ValueError),
        (lambda _state: math.inf, ValueError),
        (lambda _state: None, TypeError),
        (lambda _state: "5", TypeError),
        (lambda _state: True, TypeError),
        (lambda: 5, TypeError),
    ],
    ids=["raises", "nan", "negative", "infinite", "none", "text", "flag", "no argument"],
)
async def test_a_strategy_that_fails(
    virtual_ecs: EcsEmulator, strategy: Callable[..., Any], cause: type[Exception]
) -> None:
    """A strategy that raises, or gives what is no time, ends the region's waits with that as the cause."""
    ids = [virtual_ecs.add_task(duration=1e9) for _ in range(2)]
    finished = virtual_ecs.add_task()
    async with TaskWaiter(policy=PollPolicy(wait=strategy)) as waiter:
        future = waiter.submit(ids[0])
        results = await waiter.wait([*ids, finished], return_exceptions=True)
        assert isinstance(results[finished], Task)
        errors: list[object] = [results[task_id] for task_id in ids]
        errors.append(await failure(EcsWaiterError, future))
        errors.append(await failure(EcsWaiterError, waiter.wait(ids)))
        for error in errors:
            assert isinstance(error, EcsWaiterError)
            assert isinstance(error.__cause__, cause)


async def test_a_failing_strategy_harms_no_other_region(virtual_ecs: EcsEmulator) -> None:
    """A strategy that fails for one region's tasks leaves the others' waits alone."""

    def strategy(state: RetryCallState) -> float:
        if (state.seconds_since_start or 0) >= 90:
            raise LookupError
        return 10

    old = virtual_ecs.add_task(duration=1e9)
    await asyncio.sleep(100)
    young = virtual_ecs.add_task(region_id=ELSEWHERE, duration=25)
    results = await wait_for_tasks(
        {REGION: [old], ELSEWHERE: [young]}, policy=PollPolicy(wait=strategy), return_exceptions=True
    )
    error = results[old]
    assert isinstance(error, EcsWaiterError)
    assert isinstance(error.__cause__, LookupError)
    assert isinstance(results[young], Task)


async def test_polls_of_one_pace_stay_together(virtual_ecs: EcsEmulator) -> None:
    """Tasks of one age keep sharing their calls, poll after poll."""
    ids = add_tasks(virtual_ecs, 300, duration=600)
    await wait_for_tasks(ids)
    rounds = len(asked(virtual_ecs, ids[0]))
    assert len(polls(virtual_ecs)) <= 3 * rounds + 3


async def test_throttling_slows_every_call_of_the_region(virtual_ecs: EcsEmulator) -> None:
    """What the service asks for in x-acs-retry-after holds for all of the region's calls."""
    virtual_ecs.inject("throttle", times=1, retry_after=20)
    ids = add_tasks(virtual_ecs, 100)
    async with TaskWaiter() as waiter:
        futures = [waiter.submit(task_id) for task_id in ids]
        await asyncio.sleep(1)
        late = waiter.submit(virtual_ecs.add_task(task_id="t-late"))
        await asyncio.gather(*futures, late)
    counted = Counter(at for at, _ in polls(virtual_ecs))
    assert counted[0] == 1
    assert min(at for at in counted if at) >= 20


async def test_failing_strategies_group_as_one_error(virtual_ecs: EcsEmulator) -> None:
    """The strategy's error is an error of the region: one exception, under each of its IDs."""
    ids = [virtual_ecs.add_task(duration=1e9) for _ in range(3)]
    failed = virtual_ecs.add_task(outcome="Failed")
    error = await failure(TasksFailedError, wait_for_tasks([*ids, failed], policy=PollPolicy(wait=raising)))
    assert len(error.exceptions) == 2
    assert len({id(error.results[task_id]) for task_id in ids}) == 1


async def _busy_hour(ecs: EcsEmulator) -> list[float]:
    """When the calls go out for a task that takes half an hour, with faults before."""
    before = len(ecs.requests)
    ecs.inject("status", status=503, times=3)
    async with TaskWaiter() as waiter:
        await waiter.client.describe_tasks(region_id=REGION)
        await waiter.wait([ecs.add_task(duration=1800)])
    return [(request.at - ecs.requests[before].at).total_seconds() for request in ecs.requests[before:]]


async def test_jitter_leaves_the_programs_chance_alone(virtual_ecs: EcsEmulator) -> None:
    """A program that seeds `random` draws the same numbers, whatever is waited for in between, and no one else's."""
    chance = random.Random(7)
    random.seed(7)
    first = await _busy_hour(virtual_ecs)
    assert random.random() == chance.random()
    random.seed(7)
    assert await _busy_hour(virtual_ecs) != first
    assert random.random() == random.Random(7).random()
