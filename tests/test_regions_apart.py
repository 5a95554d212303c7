"""Regions apart: what one region suffers is its own, and one deadline spans them all."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from support.helpers import add_tasks, clock, every, failure, since

from ecs_waiter import (
    ApiError,
    AuthenticationError,
    EcsClient,
    EcsWaiterError,
    ServiceUnavailableError,
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

SICK = "us-west-1"
WELL = ("cn-hangzhou", "eu-central-1")

# What can ail a region, with its settings.
AILMENTS: list[tuple[str, dict[str, Any]]] = [
    ("hang", {}),
    ("delay", {"seconds": 25}),
    ("drip", {}),
    ("endless", {}),
    ("throttle", {}),
    ("throttle", {"retry_after": 500}),
    ("quota", {"calls": 1, "per": 300}),
    ("status", {"status": 503}),
    ("status", {"status": 403, "body": "html"}),
    ("reset", {}),
    ("truncate", {}),
    ("drop", {}),
    ("body", {"content": []}),
    ("refuse", {}),
]


def _three(ecs: EcsEmulator, count: int = 3, **plan: Any) -> dict[str, list[str]]:
    return {region: [ecs.add_task(region_id=region, **plan) for _ in range(count)] for region in (*WELL, SICK)}


def _all(ids: dict[str, list[str]], *regions: str) -> set[str]:
    return {task_id for region in regions for task_id in ids[region]}


@pytest.mark.parametrize(("kind", "settings"), AILMENTS)
async def test_a_sick_region_delays_no_other(virtual_ecs: EcsEmulator, kind: str, settings: dict[str, Any]) -> None:
    """Whatever ails a region, the tasks of the others settle at the very moment they would without it."""
    ids = _three(virtual_ecs, duration=10)
    virtual_ecs.inject(kind, region_id=SICK, **settings)
    settled: dict[str, float] = {}
    start = clock()

    async def note(task_id: str, future: asyncio.Future[Task]) -> None:
        with contextlib.suppress(EcsWaiterError, asyncio.CancelledError):
            await future
            settled[task_id] = since(start)

    async with TaskWaiter(policy=every(5)) as waiter, asyncio.TaskGroup() as group:
        for region in ids:
            for task_id in ids[region]:
                group.create_task(note(task_id, waiter.submit(task_id, region_id=region)))
        await asyncio.sleep(20)
        await waiter.aclose()
    assert {task_id: settled.get(task_id) for task_id in _all(ids, *WELL)} == dict.fromkeys(_all(ids, *WELL), 10)


async def test_many_in_a_sick_region(virtual_ecs: EcsEmulator) -> None:
    """A thousand tasks of a region that hangs hold back no task of another."""
    sick = add_tasks(virtual_ecs, 1000, region_id=SICK)
    well = virtual_ecs.add_task(duration=10)
    virtual_ecs.inject("hang", region_id=SICK)
    start = clock()
    async with TaskWaiter(policy=every(5)) as waiter:
        for task_id in sick:
            waiter.submit(task_id, region_id=SICK)
        await waiter.submit(well, region_id="cn-hangzhou")
        assert since(start) == 10


async def test_refused_in_one_of_three(virtual_ecs: EcsEmulator) -> None:
    """Keys refused in one region end its waits alone: the others are waited for to their end."""
    ids = _three(virtual_ecs, duration=10)
    virtual_ecs.inject("refuse", region_id=SICK)
    results = await wait_for_tasks(ids, policy=every(5), return_exceptions=True)
    assert {task_id for task_id, result in results.items() if isinstance(result, Task)} == _all(ids, *WELL)
    refused = {id(results[task_id]): results[task_id] for task_id in ids[SICK]}
    assert [type(error) for error in refused.values()] == [AuthenticationError]


async def test_the_only_failure_is_raised_as_itself(virtual_ecs: EcsEmulator) -> None:
    """A region's error that is the only failure is raised as itself, when all others have ended."""
    ids = _three(virtual_ecs, duration=10)
    virtual_ecs.inject("refuse", region_id=SICK)
    start = clock()
    await failure(AuthenticationError, wait_for_tasks(ids, policy=every(5)))
    assert since(start) == 10


async def test_a_regions_error_in_a_group(virtual_ecs: EcsEmulator) -> None:
    """In a group a region's error stands once among the exceptions, and under each of its IDs in the results."""
    ids = _three(virtual_ecs)
    failed = virtual_ecs.add_task(outcome="Failed", error=("C", "why"))
    ids["cn-hangzhou"].append(failed)
    virtual_ecs.inject("refuse", region_id=SICK)
    group = await failure(TasksFailedError, wait_for_tasks(ids))
    assert sorted(type(error).__name__ for error in group.exceptions) == ["AuthenticationError", "TaskFailedError"]
    refused = next(error for error in group.exceptions if isinstance(error, AuthenticationError))
    assert {task_id for task_id, result in group.results.items() if result is refused} == set(ids[SICK])
    assert list(group.results) == [task_id for region in ids for task_id in ids[region]]


async def test_two_sick_regions_are_two_errors(virtual_ecs: EcsEmulator) -> None:
    """Each region's error is its own: one is refused at once, the other fails for the whole budget."""
    ids = _three(virtual_ecs)
    virtual_ecs.inject("refuse", region_id=WELL[0])
    virtual_ecs.inject("status", region_id=SICK)
    start = clock()
    group = await failure(TasksFailedError, wait_for_tasks(ids, policy=every(5, outage_budget=90)))
    assert [type(error) for error in group.exceptions] == [AuthenticationError, ServiceUnavailableError]
    assert since(start) == 90
    assert {task_id for task_id, result in group.results.items() if isinstance(result, Task)} == set(ids[WELL[1]])


async def test_an_unknown_region(virtual_ecs: EcsEmulator) -> None:
    """A region that does not exist ends its own waits after a call or two, whatever the number of IDs."""
    ids = {"cn-hangzhou": [virtual_ecs.add_task()], "cn-nowhere-1": [f"t-{n}" for n in range(250)]}
    results = await wait_for_tasks(ids, return_exceptions=True)
    kinds = {type(result) for task_id, result in results.items() if task_id in ids["cn-nowhere-1"]}
    assert kinds == {ApiError}
    assert sum(request.region_id == "cn-nowhere-1" for request in virtual_ecs.requests) <= 4


async def test_a_task_of_another_region(virtual_ecs: EcsEmulator) -> None:
    """A task asked in the wrong region is unknown there, and the message names that region."""
    task_id = virtual_ecs.add_task(region_id=SICK)
    error = await failure(TaskNotFoundError, wait_for_task(task_id, region_id="cn-hangzhou", policy=every(5)))
    assert "cn-hangzhou" in str(error)


@pytest.mark.parametrize("timeout", [0.5, 7, 77, 400])
async def test_one_deadline(virtual_ecs: EcsEmulator, timeout: float) -> None:
    """One deadline spans all regions, to the second, one that hangs and one that asks for patience included."""
    ids = _three(virtual_ecs, duration=10_000)
    virtual_ecs.inject("hang", region_id=SICK)
    virtual_ecs.inject("throttle", region_id=WELL[0], retry_after=500)
    start = clock()
    error = await failure(WaitTimeoutError, wait_for_tasks(ids, timeout=timeout))
    assert since(start) == timeout
    assert error.pending == tuple(task_id for region in ids for task_id in ids[region])


async def test_what_had_settled_at_the_deadline(virtual_ecs: EcsEmulator) -> None:
    """At the deadline what had settled anywhere is at hand, errors included."""
    ids = _three(virtual_ecs, duration=10_000)
    done = virtual_ecs.add_task(region_id=WELL[0])
    failed = virtual_ecs.add_task(region_id=WELL[1], outcome="Failed", error=("C", "why"))
    ids[WELL[0]].append(done)
    ids[WELL[1]].append(failed)
    virtual_ecs.inject("refuse", region_id=SICK)
    error = await failure(WaitTimeoutError, wait_for_tasks(ids, timeout=50, return_exceptions=True))
    assert set(error.results) == {done, failed, *ids[SICK]}
    assert isinstance(error.results[failed], TaskFailedError)
    assert isinstance(error.results[ids[SICK][0]], AuthenticationError)


async def test_fail_fast_over_regions(virtual_ecs: EcsEmulator) -> None:
    """With `fail_fast` a region's refusal ends the whole wait at once."""
    ids = _three(virtual_ecs, duration=100)
    virtual_ecs.inject("refuse", region_id=SICK)
    start = clock()
    await failure(EcsWaiterError, wait_for_tasks(ids, fail_fast=True))
    assert since(start) == 0


async def test_a_region_that_comes_back(virtual_ecs: EcsEmulator) -> None:
    """A region's waits that ended with an error do not burden those that come later."""
    refused = virtual_ecs.inject("refuse", region_id=SICK)
    async with TaskWaiter(policy=every(5)) as waiter:
        task_id = virtual_ecs.add_task(region_id=SICK, duration=10)
        await failure(AuthenticationError, waiter.wait([task_id], region_id=SICK))
        refused.remove()
        assert list(await waiter.wait([task_id], region_id=SICK)) == [task_id]


async def test_stats_by_region(virtual_ecs: EcsEmulator) -> None:
    """The stats tell each region's own story."""
    ids = _three(virtual_ecs)
    virtual_ecs.inject("throttle", region_id=SICK, times=2)
    async with TaskWaiter() as waiter:
        await waiter.wait(ids)
        stats = waiter.stats.regions
    assert {region: stats[region].throttled for region in stats} == {WELL[0]: 0, WELL[1]: 0, SICK: 2}
    assert {region: stats[region].settled for region in stats} == dict.fromkeys((*WELL, SICK), 3)
    assert all(stats[region].waiting == 0 for region in stats)


async def test_listings_of_a_sick_region(virtual_ecs: EcsEmulator) -> None:
    """A client's listing of one region is not held back by its calls to another."""
    task_id = virtual_ecs.add_task()
    virtual_ecs.inject("throttle", region_id=SICK, retry_after=100)
    start = clock()
    async with EcsClient() as client:
        sick = asyncio.create_task(client.describe_tasks(region_id=SICK))
        await asyncio.sleep(1)
        assert [task.task_id async for task in client.iter_tasks(region_id="cn-hangzhou")] == [task_id]
        assert since(start) == 1
        sick.cancel()
