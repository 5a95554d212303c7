"""The functions of the package: they share waiters, and so polls, as `wait_for_tasks` does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from support.helpers import ELSEWHERE, REASON, REGION, clock, collect, every, failure, polls, since, turns

import ecs_waiter
from ecs_waiter import (
    Credentials,
    Task,
    TaskCanceledError,
    TaskFailedError,
    TaskNotFoundError,
    WaitTimeoutError,
    as_completed,
    cancel_task,
    events,
    run,
    start,
    updates,
    wait_for_task,
)
from ecs_waiter.functions import _shared_waiters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any

    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio


def open_waiters() -> int:
    """How many shared waiters this loop has now."""
    return len(_shared_waiters._loops.get(asyncio.get_running_loop(), {}))


async def test_iterators(virtual_ecs: EcsEmulator) -> None:
    """Each iterator gives what the method of its name gives, and its waiter closes with it."""
    finished = virtual_ecs.add_task(duration=15)
    failed = virtual_ecs.add_task(outcome="Failed", error=REASON)
    ids, policy = [finished, failed], every(10)
    given = await collect(events(ids, policy=policy))
    assert sorted((event.task_id, event.final) for event in given) == sorted(
        [(finished, False), (finished, True), (failed, True)]
    )
    assert {type(outcome) for outcome in await collect(as_completed(ids, policy=policy))} == {Task, TaskFailedError}
    assert {task.task_status for task in await collect(updates(ids, policy=policy))} == {"Finished", "Failed"}
    assert open_waiters() == 0


async def test_they_share_polls(virtual_ecs: EcsEmulator) -> None:
    """Iterations and waits with equal options share their polls."""
    ids = [virtual_ecs.add_task(duration=15) for _ in range(4)]
    policy = every(10)
    await asyncio.gather(
        collect(events([ids[0]], policy=policy)),
        collect(as_completed([ids[1]], policy=policy)),
        collect(updates([ids[2]], policy=policy)),
        wait_for_task(ids[3], policy=policy),
    )
    assert polls(virtual_ecs) == [(0, 4), (10, 4), (20, 4)]


@pytest.mark.parametrize("iterate", [events, as_completed, updates])
async def test_checks_at_the_call(virtual_ecs: EcsEmulator, iterate: Any) -> None:
    """What is wrong with an argument raises where the iterator is made; one that is never read asks nothing."""
    for bad in ({"task_ids": ["a,b"]}, {"task_ids": ["t-1"], "timeout": -1}, {"task_ids": [], "endpoint": "x"}):
        with pytest.raises(ValueError, match=r"ID|timeout|endpoint"):
            iterate(**bad)
    with pytest.raises(TypeError, match="credentials takes"):
        iterate([], credentials=Credentials("a", "b"))
    iterate([virtual_ecs.add_task()])
    await asyncio.sleep(100)
    assert virtual_ecs.requests == []


@pytest.mark.parametrize("iterate", [events, as_completed, updates])
async def test_a_deadline_begins_with_the_call(virtual_ecs: EcsEmulator, iterate: Any) -> None:
    """The timeout counts from the call."""
    started_at = clock()
    iteration: AsyncIterator[Any] = iterate([virtual_ecs.add_task(duration=1e9)], timeout=25)
    await asyncio.sleep(15)
    await failure(WaitTimeoutError, collect(iteration))
    assert since(started_at) == 25


async def test_leaving_early(virtual_ecs: EcsEmulator) -> None:
    """Who leaves an iteration early leaves no waiter behind."""
    iteration = events([virtual_ecs.add_task(duration=1e9)])
    await anext(iteration)
    await iteration.aclose()
    await turns(3)
    assert open_waiters() == 0


async def test_start_and_run(virtual_ecs: EcsEmulator) -> None:
    """`start` returns the IDs at once; `run` waits, too."""
    virtual_ecs.plan("ImportImage", duration=100)
    started_at = clock()
    started = await start("ImportImage", region_id=ELSEWHERE, params={"ImageName": "a"})
    assert since(started_at) == 0
    assert started.task_id is not None
    assert (await wait_for_task(started.task_id, region_id=ELSEWHERE)).task_status == "Finished"
    task = await run("RedeployInstance", params={"InstanceId": "i-1"})
    assert task.task_action == "RedeployInstance"
    assert open_waiters() == 0


async def test_cancel_task(virtual_ecs: EcsEmulator) -> None:
    """`cancel_task` is True where the service accepts it, and False where the task has ended."""
    task_id = virtual_ecs.add_task(task_action="ImportImage", duration=100)
    assert await cancel_task(task_id, region_id=REGION) is True
    await failure(TaskCanceledError, wait_for_task(task_id))
    assert await cancel_task(task_id) is False
    error = await failure(TaskNotFoundError, cancel_task("t-unknown"))
    assert (error.task_id, error.region_id, error.task) == ("t-unknown", REGION, None)


async def test_they_are_the_packages() -> None:
    """Each function is exported under its own name."""
    for name in ("as_completed", "cancel_task", "events", "run", "start", "updates", "wait_for_task", "wait_for_tasks"):
        assert getattr(ecs_waiter, name).__name__ == name
