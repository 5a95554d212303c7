"""IDs that the answers lack: absent is not gone until the grace is over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from support.helpers import ELSEWHERE, REGION, add_tasks, asked, clock, every, failure, polls, since, times

from ecs_waiter import (
    PollPolicy,
    ServiceUnavailableError,
    Task,
    TaskNotFoundError,
    TaskWaiter,
    WaitTimeoutError,
    wait_for_task,
    wait_for_tasks,
)

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator, Request

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("grace", [0.5, 45, 60, 200])
@pytest.mark.parametrize("pace", [7, 10, 1000])
async def test_at_the_end_of_the_grace(virtual_ecs: EcsEmulator, grace: float, pace: float) -> None:
    """The error comes when the grace is over, not at the next slow poll after it."""
    start = clock()
    await failure(TaskNotFoundError, wait_for_task("t-unknown", policy=every(pace, not_found_grace=grace)))
    assert since(start) == grace


async def test_never_on_the_first_absence(virtual_ecs: EcsEmulator) -> None:
    """One absence is never enough, with no grace at all either."""
    await failure(TaskNotFoundError, wait_for_task("t-unknown", policy=every(10, not_found_grace=0)))
    assert len(polls(virtual_ecs)) >= 2


async def test_the_message_names_the_region(virtual_ecs: EcsEmulator) -> None:
    """The message names the region asked, for a wrong one is the usual cause."""
    task_id = virtual_ecs.add_task(region_id=ELSEWHERE)
    error = await failure(TaskNotFoundError, wait_for_task(task_id, region_id=REGION))
    assert (error.task_id, error.region_id, error.task) == (task_id, REGION, None)
    assert task_id in str(error)
    assert REGION in str(error)


async def test_a_task_listed_late(virtual_ecs: EcsEmulator) -> None:
    """A task that is listed within the grace is waited for as any other."""
    task_id = virtual_ecs.add_task(visible_after=55, duration=85)
    start = clock()
    await wait_for_task(task_id, policy=every(10))
    assert since(start) == 90


async def test_it_harms_only_itself(virtual_ecs: EcsEmulator) -> None:
    """An unknown ID is no failure of those in the same call."""
    ids = add_tasks(virtual_ecs, 99, duration=95)
    start = clock()
    results = await wait_for_tasks([*ids, "t-unknown"], return_exceptions=True, policy=every(10))
    assert since(start) == 100
    assert isinstance(results.pop("t-unknown"), TaskNotFoundError)
    assert {type(result) for result in results.values()} == {Task}


async def test_seen_once_then_vanished(virtual_ecs: EcsEmulator) -> None:
    """An ID that was seen and then vanishes gets the same grace, from its first absence on."""
    task_id = virtual_ecs.add_task(duration=1e9)
    start = clock()
    waiting = asyncio.ensure_future(wait_for_task(task_id, policy=every(10)))
    await asyncio.sleep(35)
    virtual_ecs.inject("drop", task_id=task_id)
    error = await failure(TaskNotFoundError, waiting)
    assert since(start) == 100
    assert error.task is not None
    assert error.task.task_id == task_id
    assert error.task.task_status == "Processing"


async def test_absences_with_breaks(virtual_ecs: EcsEmulator) -> None:
    """An ID that comes back has its whole grace again."""
    task_id = virtual_ecs.add_task(duration=295)
    virtual_ecs.inject("drop", task_id=task_id, where=lambda request: round(request.at.timestamp()) % 60 < 50)
    start = clock()
    await wait_for_task(task_id, policy=every(10))
    assert since(start) in {350, 360}


@pytest.mark.parametrize("kind", ["status", "reset", "truncate", "throttle"])
async def test_an_outage_does_not_use_it_up(virtual_ecs: EcsEmulator, kind: str) -> None:
    """Time in which the region gave no good answer does not count."""
    start = clock()
    waiting = asyncio.ensure_future(wait_for_task("t-unknown", policy=every(10)))
    await asyncio.sleep(25)
    outage = virtual_ecs.inject(kind)
    await asyncio.sleep(300)
    outage.remove()
    await failure(TaskNotFoundError, waiting)
    # From 0 to 20 s, or to 30 s when the first fault came, the grace ran; it goes on with the first good answer.
    back = next(at for at in times(virtual_ecs) if at >= 325)
    assert back <= 325 + 20
    assert back + 30 - 0.01 <= since(start) <= back + 40 + 0.01


async def test_an_outage_from_the_start(virtual_ecs: EcsEmulator) -> None:
    """The grace begins with the first good answer that lacks the ID."""
    virtual_ecs.inject("status", times=5)
    start = clock()
    await failure(TaskNotFoundError, wait_for_task("t-unknown", policy=every(10)))
    first_good = next(request.at for request in virtual_ecs.requests if request.answered == 200)
    assert round((virtual_ecs.now() - first_good).total_seconds(), 3) == 60
    assert since(start) > 60


async def test_many_at_once(virtual_ecs: EcsEmulator) -> None:
    """Hundreds of unknown IDs are all told at the end of their grace."""
    start = clock()
    results = await wait_for_tasks([f"t-{number}" for number in range(350)], return_exceptions=True, policy=every(25))
    assert since(start) == 60
    assert {type(result) for result in results.values()} == {TaskNotFoundError}


async def test_the_default_cadence(virtual_ecs: EcsEmulator) -> None:
    """With the default cadence, too, the error comes at 60 s."""
    start = clock()
    error = await failure(TaskNotFoundError, wait_for_task("t-unknown", policy=PollPolicy()))
    assert since(start) == 60
    assert error.task is None


async def test_cut_short(virtual_ecs: EcsEmulator) -> None:
    """After three answers cut short the missing IDs are asked in a call of their own."""
    ids = add_tasks(virtual_ecs, 100, duration=25)
    virtual_ecs.inject("cut_short", rows=90)
    tasks = await wait_for_tasks(ids, policy=every(10))
    assert {task.task_status for task in tasks.values()} == {"Finished"}
    assert [(at, size) for at, size in polls(virtual_ecs) if at <= 20] == [(0, 100), (10, 100), (20, 100), (20, 10)]


async def test_cut_short_is_no_absence(virtual_ecs: EcsEmulator) -> None:
    """Answers that are cut short use up nobody's grace, for as long as that lasts."""
    ids = add_tasks(virtual_ecs, 100, duration=1000)
    virtual_ecs.inject("cut_short", rows=99)
    error = await failure(WaitTimeoutError, wait_for_tasks(ids, timeout=500, policy=every(10)))
    assert error.results == {}


async def test_cut_short_around_an_unknown_id(virtual_ecs: EcsEmulator) -> None:
    """An ID that a call of its own neither lists nor counts is unknown after its grace."""
    ids = add_tasks(virtual_ecs, 20, duration=295)
    virtual_ecs.inject("rewrite", where=asks_several, action="DescribeTasks", change=more_than_there_are)
    start = clock()
    results = await wait_for_tasks([*ids, "t-unknown"], return_exceptions=True, policy=every(10))
    assert isinstance(results.pop("t-unknown"), TaskNotFoundError)
    assert {type(result) for result in results.values()} == {Task}
    assert since(start) == 300
    assert max(asked(virtual_ecs, "t-unknown")) == 80


async def test_counted_but_not_listed_alone(virtual_ecs: EcsEmulator) -> None:
    """An ID that is counted but not listed, alone too, is never absent: after the outage budget it is a fault."""
    ids = add_tasks(virtual_ecs, 20, duration=295)
    virtual_ecs.inject("rewrite", action="DescribeTasks", change=more_than_there_are)
    start = clock()
    results = await wait_for_tasks([*ids, "t-hidden"], return_exceptions=True, policy=every(10))
    error = results.pop("t-hidden")
    assert isinstance(error, ServiceUnavailableError)
    assert (error.region_id, since(start)) == (REGION, 600)
    assert "t-hidden" in str(error)
    assert {type(result) for result in results.values()} == {Task}


@pytest.mark.parametrize("budget", [100, 600])
async def test_the_only_id_is_counted_but_not_listed(virtual_ecs: EcsEmulator, budget: float) -> None:
    """The budget of an ID that is counted but not listed begins with the first such answer."""
    virtual_ecs.add_task(task_id="t-1", duration=10_000)
    virtual_ecs.inject("cut_short")
    start = clock()
    await failure(ServiceUnavailableError, wait_for_task("t-1", policy=every(30, outage_budget=budget)))
    assert since(start) == budget
    assert len(polls(virtual_ecs)) < budget / 30 + 3


async def test_listed_again_within_the_budget(virtual_ecs: EcsEmulator) -> None:
    """An ID that is listed again before its budget ends is waited for as if nothing had happened."""
    virtual_ecs.add_task(task_id="t-1", duration=1000)
    fault = virtual_ecs.inject("cut_short")
    async with TaskWaiter(policy=every(30)) as waiter:
        future = waiter.submit("t-1")
        await asyncio.sleep(590)
        fault.remove()
        assert (await future).task_status == "Finished"


async def test_always_empty_and_cut_short(virtual_ecs: EcsEmulator) -> None:
    """IDs that every answer counts and none lists, alone too, are each a fault of the service in the end."""
    ids = add_tasks(virtual_ecs, 8, duration=1000)
    virtual_ecs.inject("cut_short", rows=0)
    results = await wait_for_tasks(ids, return_exceptions=True, timeout=700, policy=every(10))
    assert {type(result) for result in results.values()} == {ServiceUnavailableError}
    assert len(polls(virtual_ecs)) < 600


async def test_one_look_without_a_grace(virtual_ecs: EcsEmulator) -> None:
    """One look without a grace says that an ID is unknown after one whole answer that lacks it."""
    task_id = virtual_ecs.add_task(duration=100)
    policy = every(10, not_found_grace=0)
    async with TaskWaiter(policy=policy) as waiter:
        await failure(TaskNotFoundError, waiter.wait(["t-unknown"], timeout=0))
        assert len(polls(virtual_ecs)) == 1
        error = await failure(WaitTimeoutError, waiter.wait([task_id, "t-unknown"], timeout=0))
        assert error.pending == (task_id,)
        assert isinstance(error.results["t-unknown"], TaskNotFoundError)
        assert waiter.stats.regions[REGION].waiting == 0


async def test_one_look_at_a_cut_answer(virtual_ecs: EcsEmulator) -> None:
    """An answer that was cut short does not say that an ID is unknown, without a grace either."""
    virtual_ecs.add_task(task_id="t-1", duration=100)
    virtual_ecs.inject("cut_short")
    policy = every(10, not_found_grace=0)
    error = await failure(WaitTimeoutError, wait_for_task("t-1", timeout=0, policy=policy))
    assert error.last == {"t-1": None}


UNKNOWN = "InvalidTaskId.NotFound"


@pytest.mark.parametrize("status", [400, 404])
@pytest.mark.parametrize("message", ["The specified task ID does not exist.", "The task t-unknown does not exist."])
@pytest.mark.parametrize("count", [0, 1, 99, 250])
async def test_an_absence_that_comes_as_an_error(
    virtual_ecs: EcsEmulator, status: int, message: str, count: int
) -> None:
    """`InvalidTaskId.NotFound` is an absence of the ID concerned: the grace, then TaskNotFoundError; others finish."""
    ids = add_tasks(virtual_ecs, count, duration=100)
    virtual_ecs.inject("reject", task_id="t-unknown", code=UNKNOWN, status=status, message=message)
    start = clock()
    async with TaskWaiter(policy=every(10)) as waiter:
        others = asyncio.ensure_future(waiter.wait(ids))
        error = await failure(TaskNotFoundError, waiter.wait(["t-unknown"]))
        assert (error.task_id, error.region_id, error.task) == ("t-unknown", REGION, None)
        assert 60 <= since(start) <= 62
        assert list(await others) == ids
    assert since(start) <= 115


@pytest.mark.parametrize("count", [0, 99])
async def test_a_new_task_that_is_unknown_at_first(virtual_ecs: EcsEmulator, count: int) -> None:
    """A task that was just started, and that the service does not know for some seconds, is waited for."""
    ids = add_tasks(virtual_ecs, count, duration=100)
    new = virtual_ecs.add_task(task_id="t-new", duration=100)
    fault = virtual_ecs.inject("reject", task_id=new, code=UNKNOWN, status=404)
    async with TaskWaiter(policy=every(10)) as waiter:
        waiting = asyncio.ensure_future(waiter.wait([*ids, new]))
        await asyncio.sleep(45)
        fault.remove()
        assert list(await waiting) == [*ids, new]


async def test_a_known_task_that_becomes_unknown(virtual_ecs: EcsEmulator) -> None:
    """A task that was seen and then is unknown gets the same grace, and its error holds its last state."""
    task_id = virtual_ecs.add_task(duration=10_000)
    async with TaskWaiter(policy=every(10)) as waiter:
        future = waiter.submit(task_id)
        await asyncio.sleep(105)
        virtual_ecs.inject("reject", task_id=task_id, code=UNKNOWN, status=404)
        start = clock()
        error = await failure(TaskNotFoundError, future)
        assert error.task is not None
        assert error.task.task_status == "Processing"
        assert 60 <= since(start) <= 70


async def test_several_unknown_ids(virtual_ecs: EcsEmulator) -> None:
    """Several unknown IDs in a batch each get their grace, and nobody else is concerned."""
    ids = add_tasks(virtual_ecs, 90, duration=100)
    unknown = [f"t-unknown{number}" for number in range(4)]
    for task_id in unknown:
        virtual_ecs.inject("reject", task_id=task_id, code=UNKNOWN, status=400)
    results = await wait_for_tasks([*ids, *unknown], return_exceptions=True, policy=every(10))
    assert [task_id for task_id, result in results.items() if isinstance(result, TaskNotFoundError)] == unknown
    assert sum(isinstance(result, Task) for result in results.values()) == 90


async def test_one_look_at_an_unknown_id(virtual_ecs: EcsEmulator) -> None:
    """One look that is answered by an unknown ID ends at once: pending within a grace, not found without one."""
    virtual_ecs.inject("reject", task_id="t-unknown", code=UNKNOWN)
    start = clock()
    error = await failure(WaitTimeoutError, wait_for_task("t-unknown", timeout=0))
    assert error.last == {"t-unknown": None}
    policy = every(10, not_found_grace=0)
    await failure(TaskNotFoundError, wait_for_task("t-unknown", timeout=0, policy=policy))
    assert since(start) == 0


def asks_several(request: Request) -> bool:
    """Whether a request is for more than one ID."""
    return len(request.task_ids) > 1


def more_than_there_are(fields: dict[str, Any]) -> dict[str, Any]:
    """An answer that always claims that there is more."""
    return {**fields, "TotalCount": fields["TotalCount"] + 50}


async def test_a_crowd_does_not_slow_it(virtual_ecs: EcsEmulator) -> None:
    """Among thousands of running tasks an unknown ID is told after its grace and no more than a second."""
    ids = add_tasks(virtual_ecs, 1500, duration=1e9)
    start = clock()
    async with TaskWaiter(policy=every(20)) as waiter:
        for task_id in ids:
            waiter.submit(task_id)
        await failure(TaskNotFoundError, waiter.wait(["t-unknown"]))
        assert 60 <= since(start) <= 63
    assert len(times(virtual_ecs)) < 100
