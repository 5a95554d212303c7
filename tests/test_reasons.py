"""Why a task failed: looked up once, never in the way, and a known failure is told as one, come what may."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from support.helpers import REASON, REGION, clock, every, failure, polls, since, times

from ecs_waiter import (
    AuthenticationError,
    Task,
    TaskFailedError,
    TasksFailedError,
    TaskWaiter,
    WaitTimeoutError,
    wait_for_task,
    wait_for_tasks,
)

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio

LOOK_UP = "DescribeTaskAttribute"


async def test_the_services_reason(virtual_ecs: EcsEmulator) -> None:
    """A failed task raises with the service's own reason, in `.detail` and in the message."""
    task_id = virtual_ecs.add_task(outcome="Failed", error=REASON)
    error = await failure(TaskFailedError, wait_for_task(task_id))
    assert (error.task_id, error.region_id) == (task_id, REGION)
    assert error.task is not None
    assert error.task.task_status == "Failed"
    assert error.detail is not None
    (operation,) = error.detail.operations
    assert (operation.error_code, operation.error_msg) == REASON
    assert all(part in str(error) for part in (*REASON, task_id, REGION))


async def test_one_look_up_a_task(virtual_ecs: EcsEmulator) -> None:
    """The reason is looked up once per task, however many wait."""
    task_id = virtual_ecs.add_task(outcome="Failed", error=REASON, duration=5)
    async with TaskWaiter(policy=every(10)) as waiter:
        errors = await asyncio.gather(
            *(failure(TaskFailedError, waiter.wait([task_id])) for _ in range(100)),
            failure(TaskFailedError, waiter.submit(task_id)),
        )
    assert times(virtual_ecs, LOOK_UP) == [10]
    assert all(error.detail is not None for error in errors)


async def test_who_joins_during_the_look_up(virtual_ecs: EcsEmulator) -> None:
    """Who asks for a task while its reason is being looked up is told by that same look-up."""
    virtual_ecs.inject("delay", action=LOOK_UP, seconds=10)
    task_id = virtual_ecs.add_task(outcome="Failed", error=REASON)
    start = clock()
    async with TaskWaiter() as waiter:
        first = waiter.submit(task_id)
        await asyncio.sleep(4)
        second = waiter.submit(task_id)
        errors = await asyncio.gather(first, second, return_exceptions=True)
        assert since(start) == 10
    assert [type(error) for error in errors] == [TaskFailedError] * 2
    assert times(virtual_ecs, LOOK_UP) == [0]
    assert polls(virtual_ecs) == [(0, 1)]


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("status", {"status": 404, "code": "InvalidTaskId.NotFound"}),
        ("refuse", {}),
        ("body", {"content": {"TaskId": "t-another"}}),
        ("body", {"content": {}}),
        ("body", {"content": {"OperationProgressSet": 7, "TaskProcess": []}}),
    ],
)
async def test_a_look_up_that_fails(virtual_ecs: EcsEmulator, kind: str, settings: dict[str, Any]) -> None:
    """A look-up that fails leaves the failure without a reason: it is told all the same, and harms nobody else."""
    virtual_ecs.inject(kind, action=LOOK_UP, **settings)
    failed, running = virtual_ecs.add_task(outcome="Failed", error=REASON), virtual_ecs.add_task(duration=55)
    results = await wait_for_tasks([failed, running], return_exceptions=True, policy=every(10))
    assert type(results[failed]) is TaskFailedError
    assert REASON[0] not in str(results[failed])
    assert isinstance(results[running], Task)


@pytest.mark.parametrize(
    ("kind", "settings"), [("hang", {}), ("status", {"status": 503}), ("throttle", {"retry_after": 50}), ("reset", {})]
)
@pytest.mark.parametrize("call_timeout", [7, 30, 100])
@pytest.mark.parametrize("with_another", [False, True])
async def test_a_look_up_that_is_slow(
    virtual_ecs: EcsEmulator, kind: str, settings: dict[str, Any], call_timeout: float, with_another: bool
) -> None:
    """A look-up that is slow holds the failure back for 30 s at most; `.detail` is None then."""
    virtual_ecs.inject(kind, action=LOOK_UP, **settings)
    failed, running = virtual_ecs.add_task(outcome="Failed", error=REASON), virtual_ecs.add_task(duration=1e9)
    start = clock()
    async with TaskWaiter(policy=every(10, call_timeout=call_timeout)) as waiter:
        if with_another:
            waiter.submit(running)
        error = await failure(TaskFailedError, waiter.wait([failed]))
    assert error.detail is None
    assert since(start) <= 30


async def test_many_slow_look_ups(virtual_ecs: EcsEmulator) -> None:
    """Failures that queue behind slow look-ups are held back for 30 s at most, too."""
    virtual_ecs.inject("hang", action=LOOK_UP)
    ids = [virtual_ecs.add_task(outcome="Failed", error=REASON) for _ in range(50)]
    start = clock()
    results = await wait_for_tasks(ids, return_exceptions=True)
    assert since(start) == 30
    assert {type(result) for result in results.values()} == {TaskFailedError}


async def test_look_ups_never_starve_polls(virtual_ecs: EcsEmulator) -> None:
    """Hundreds of look-ups, hanging ones too, leave the polls their pace."""
    virtual_ecs.inject("hang", action=LOOK_UP)
    for _ in range(300):
        virtual_ecs.add_task(outcome="Failed", error=REASON)
    ids = sorted(virtual_ecs.add_task(outcome="Failed", error=REASON) for _ in range(300))
    running = virtual_ecs.add_task(task_id="t-0", duration=28)
    async with TaskWaiter(policy=every(3, max_in_flight=2, max_calls_per_second=2)) as waiter:
        futures = [waiter.submit(task_id) for task_id in ids]
        start = clock()
        await waiter.wait([running])
        assert since(start) <= 33
        await asyncio.gather(*futures, return_exceptions=True)
    seen = [at for at, _ in polls(virtual_ecs)]
    assert max(later - at for at, later in pairwise(seen)) <= 4


async def test_known_at_the_deadline(virtual_ecs: EcsEmulator) -> None:
    """At the caller's deadline a task known to have failed is told as failed, not as pending."""
    virtual_ecs.inject("hang", action=LOOK_UP)
    failed, running = virtual_ecs.add_task(outcome="Failed", error=REASON), virtual_ecs.add_task(duration=1e9)
    start = clock()
    error = await failure(WaitTimeoutError, wait_for_tasks([failed, running], timeout=5))
    assert since(start) == 5
    assert error.pending == (running,)
    assert list(error.results) == [failed]
    told = error.results[failed]
    assert isinstance(told, TaskFailedError)
    assert told.detail is None


async def test_known_at_the_deadline_alone(virtual_ecs: EcsEmulator) -> None:
    """If only known failures are left at the deadline the wait ends by them, not by the deadline."""
    virtual_ecs.inject("hang", action=LOOK_UP)
    ids = [virtual_ecs.add_task(outcome="Failed", error=REASON) for _ in range(2)]
    start = clock()
    await failure(TaskFailedError, wait_for_task(ids[0], timeout=5))
    group = await failure(TasksFailedError, wait_for_tasks(ids, timeout=5))
    assert since(start) == 10
    assert [type(error) for error in group.exceptions] == [TaskFailedError] * 2
    results = await wait_for_tasks(ids, timeout=5, return_exceptions=True)
    assert {type(result) for result in results.values()} == {TaskFailedError}


async def test_known_at_the_close(virtual_ecs: EcsEmulator) -> None:
    """When the waiter closes, a task known to have failed is told as failed to all who wait for it."""
    virtual_ecs.inject("hang", action=LOOK_UP)
    failed = virtual_ecs.add_task(outcome="Failed", error=REASON)
    async with TaskWaiter() as waiter:
        future = waiter.submit(failed)
        waiting = asyncio.ensure_future(waiter.wait([failed]))
        await asyncio.sleep(5)
    await failure(TaskFailedError, future)
    await failure(TaskFailedError, waiting)


async def test_known_under_refused_credentials(virtual_ecs: EcsEmulator) -> None:
    """A task known to have failed fails as itself even if the region is refused meanwhile."""
    virtual_ecs.inject("hang", action=LOOK_UP, times=1)
    failed, running = virtual_ecs.add_task(outcome="Failed", error=REASON), virtual_ecs.add_task(duration=1e9)
    async with TaskWaiter(policy=every(3)) as waiter:
        waiting = asyncio.ensure_future(waiter.wait([failed, running], return_exceptions=True))
        await asyncio.sleep(1)
        virtual_ecs.inject("refuse")
        results = await waiting
    assert isinstance(results[failed], TaskFailedError)
    assert isinstance(results[running], AuthenticationError)


async def test_known_failures_are_not_pending_after_the_first(virtual_ecs: EcsEmulator) -> None:
    """With fail_fast, too, a task known to have failed is never reported as pending."""
    first, second = (virtual_ecs.add_task(outcome="Failed", error=REASON) for _ in range(2))
    running = virtual_ecs.add_task(duration=1e9)
    virtual_ecs.inject("hang", action=LOOK_UP, where=lambda request: second in request.task_ids)
    error = await failure(TasksFailedError, wait_for_tasks([first, second, running], fail_fast=True))
    assert error.pending == (running,)
    assert {task_id: type(result) for task_id, result in error.results.items()} == {
        first: TaskFailedError,
        second: TaskFailedError,
    }


async def test_the_only_place_is_not_kept_from_polls(virtual_ecs: EcsEmulator) -> None:
    """With one call at a time a look-up that hangs makes way for the polls within seconds."""
    failed = virtual_ecs.add_task(outcome="Failed", error=REASON)
    finished = virtual_ecs.add_task(duration=15)
    virtual_ecs.inject("hang", action=LOOK_UP)
    start = clock()
    async with TaskWaiter(policy=every(10, max_in_flight=1)) as waiter:
        future = waiter.submit(failed)
        await waiter.wait([finished])
        assert since(start) <= 25
        error = await failure(TaskFailedError, future)
    assert error.detail is None
