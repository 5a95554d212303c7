"""A bad ID does not affect others, however few they are and however seldom they are polled."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from support.helpers import ELSEWHERE, REGION, add_tasks, clock, every, failure, since

from ecs_waiter import (
    PollPolicy,
    ServiceUnavailableError,
    Task,
    TaskWaiter,
    WaitTimeoutError,
    wait_for_tasks,
)
from ecs_waiter.api.tasks import PollAnswer
from ecs_waiter.polling.schedule import PollSchedule

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator

CODE, WORDS = "InvalidParameter", "The specified value is not valid."
POLICIES = {"default": PollPolicy(), "every 30 s": every(30), "every 60 s": every(60)}


@pytest.mark.asyncio
@pytest.mark.parametrize("count", [1, 2, 3, 5, 60])
@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
async def test_faults_of_one_id_do_not_stop_the_others(
    virtual_ecs: EcsEmulator, count: int, policy: PollPolicy
) -> None:
    """While one ID fails again and again, the others are polled at their pace; it alone is reported."""
    ids = add_tasks(virtual_ecs, count, duration=3000)
    bad = virtual_ecs.add_task(task_id="t-bad", duration=5)
    virtual_ecs.inject("status", where=lambda request: bad in request.task_ids)
    async with TaskWaiter(policy=policy) as waiter:
        futures = [waiter.submit(task_id) for task_id in ids]
        failing = waiter.submit(bad)
        await asyncio.sleep(2000)
        assert isinstance(failing.exception(), ServiceUnavailableError)
        assert not any(future.done() for future in futures)
    asked = [request.at.timestamp() for request in virtual_ecs.requests if ids[0] in request.task_ids]
    assert max(later - at for at, later in pairwise(asked)) < 130


@pytest.mark.asyncio
async def test_a_lone_rejection_is_not_the_regions(virtual_ecs: EcsEmulator) -> None:
    """A bad ID that is alone in its call and rejected in unclear words ends no other wait of the region."""
    ids = add_tasks(virtual_ecs, 100, duration=3600)
    virtual_ecs.inject("reject", task_id="zz-bad", code=CODE, message=WORDS)
    results = await wait_for_tasks([*ids, "zz-bad"], return_exceptions=True, policy=every(10))
    assert {type(results[task_id]) for task_id in ids} == {Task}
    assert not isinstance(results["zz-bad"], Task)


@pytest.mark.asyncio
async def test_a_lone_rejection_that_comes_first(virtual_ecs: EcsEmulator) -> None:
    """So it is if the call for the others takes longer."""
    ids = add_tasks(virtual_ecs, 100, duration=60)
    virtual_ecs.inject("delay", seconds=1, where=lambda request: len(request.task_ids) == 100)
    virtual_ecs.inject("reject", task_id="zz-bad", code=CODE, message=WORDS)
    results = await wait_for_tasks([*ids, "zz-bad"], return_exceptions=True)
    assert {type(results[task_id]) for task_id in ids} == {Task}


@pytest.mark.asyncio
async def test_a_code_teaches_nothing(virtual_ecs: EcsEmulator) -> None:
    """One passing rejection does not make the next one with the same code end its tasks sooner."""
    ids = add_tasks(virtual_ecs, 4, duration=1000)
    async with TaskWaiter() as waiter:
        futures = [waiter.submit(task_id) for task_id in ids]
        await asyncio.sleep(100)
        virtual_ecs.inject("reject", task_id=ids[0], times=1, code="SystemBusy")
        await asyncio.sleep(100)
        faults = [virtual_ecs.inject("reject", task_id=task_id, code="SystemBusy") for task_id in ids]
        before = len(virtual_ecs.requests)
        while len(virtual_ecs.requests) == before:  # noqa: ASYNC110 - until the next poll
            await asyncio.sleep(0.1)
        await asyncio.sleep(1.5)
        for fault in faults:
            fault.remove()
        await asyncio.sleep(1)
        assert not any(future.done() for future in futures)


@pytest.mark.parametrize("policy", [PollPolicy(), every(10)])
def test_a_retry_is_not_starved_by_new_ids(policy: PollPolicy) -> None:
    """A batch that failed is retried although new IDs fill every call: they have three calls in a row at most."""
    schedule = PollSchedule(policy, lambda _faults: 1.0)
    schedule.add([f"t-{number:06}" for number in range(100_000)], 0.0)
    failed = schedule.take(0.0)
    assert failed is not None
    ids = failed.task_ids
    schedule.fault(failed, now=0.0)
    schedule.end_call(failed, 0.0)
    now = 0.0
    while (batch := schedule.take(now)) is not None and batch.task_ids != ids:
        rows = [{"TaskId": task_id, "TaskStatus": "Processing"} for task_id in batch.task_ids]
        schedule.answer(batch, PollAnswer(REGION, rows, total_count=len(rows)), now)
        schedule.end_call(batch, now)
        now += 0.1
    assert 1 <= now < 2


@pytest.mark.asyncio
async def test_a_single_poll_ends_with_its_region(virtual_ecs: EcsEmulator) -> None:
    """With timeout=0, a region that fails does not hold the wait back."""
    here, there = virtual_ecs.add_task(duration=1000), virtual_ecs.add_task(duration=1000, region_id=ELSEWHERE)
    virtual_ecs.inject("reject", region_id=REGION, task_id=here, code="Forbidden.RAM", message="no")
    start = clock()
    work = wait_for_tasks({REGION: [here], ELSEWHERE: [there]}, timeout=0, return_exceptions=True)
    await failure(WaitTimeoutError, work)
    assert since(start) < 1
