"""A bad ID harms only itself; an error that is not about IDs is not hunted for."""

from __future__ import annotations

import asyncio
import math
import random
from typing import TYPE_CHECKING, Any

import pytest
from support.helpers import ELSEWHERE, REGION, add_tasks, clock, every, failure, polls, since, timed, turns

from ecs_waiter import (
    ApiError,
    ServiceUnavailableError,
    Task,
    TasksFailedError,
    TaskWaiter,
    wait_for_task,
    wait_for_tasks,
)

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio

ABOUT_IDS = ["InvalidTaskId.Malformed", "InvalidTaskId.NotSupported", "InvalidParameter.TaskIds", "InvalidTaskIds"]
UNCLEAR = ["InvalidParameter", "Weird.Code", "InternalMisunderstanding"]


@pytest.mark.parametrize("code", ABOUT_IDS + UNCLEAR)
@pytest.mark.parametrize("count", [2, 3, 100, 150, 250, 300])
@pytest.mark.parametrize("where", [0.0, 0.4, 1.0])
async def test_the_bad_one_alone_raises(virtual_ecs: EcsEmulator, code: str, count: int, where: float) -> None:
    """A batch that is rejected for one ID is taken apart until the bad one stands alone; it alone raises."""
    ids = add_tasks(virtual_ecs, count, duration=5)
    bad = ids[round(where * (count - 1))]
    virtual_ecs.inject("reject", task_id=bad, code=code, message="The specified value is not valid.")
    start = clock()
    results = await wait_for_tasks(ids, return_exceptions=True, policy=every(10))
    error = results.pop(bad)
    assert type(error) is ApiError
    assert (error.code, error.http_status) == (code, 400)
    assert {type(result) for result in results.values()} == {Task}
    assert since(start) <= 20
    assert len(polls(virtual_ecs)) <= 40


@pytest.mark.parametrize("code", ABOUT_IDS + UNCLEAR)
async def test_two_bad_ones(virtual_ecs: EcsEmulator, code: str) -> None:
    """Several bad IDs in one batch each raise, and nobody else."""
    ids = add_tasks(virtual_ecs, 100, duration=5)
    bad = [ids[0], ids[1], ids[64]]
    for task_id in bad:
        virtual_ecs.inject("reject", task_id=task_id, code=code)
    results = await wait_for_tasks(ids, return_exceptions=True, policy=every(10))
    assert [task_id for task_id, result in results.items() if not isinstance(result, Task)] == bad


async def test_the_only_id(virtual_ecs: EcsEmulator) -> None:
    """A bad ID that is alone from the start raises at once, by one call."""
    virtual_ecs.inject("reject", task_id="t-bad")
    start = clock()
    error = await failure(ApiError, wait_for_task("t-bad"))
    assert error.code == "InvalidTaskId.Malformed"
    assert since(start) == 0
    assert len(virtual_ecs.requests) == 1


async def test_a_bad_one_in_a_group(virtual_ecs: EcsEmulator) -> None:
    """A bad ID's error is that task's, so that several asked raise a group."""
    task_id = virtual_ecs.add_task()
    virtual_ecs.inject("reject", task_id="t-bad")
    error = await failure(TasksFailedError, wait_for_tasks([task_id, "t-bad"]))
    assert isinstance(error.results[task_id], Task)
    assert [type(one) for one in error.exceptions] == [ApiError]


@pytest.mark.parametrize("code", ABOUT_IDS + UNCLEAR)
async def test_those_who_left_take_their_blame_along(virtual_ecs: EcsEmulator, code: str) -> None:
    """Who stays in a rejected call whose bad ID nobody waits for any more is not blamed for it."""
    virtual_ecs.inject("delay", seconds=2)
    virtual_ecs.inject("reject", task_id="t-bad", code=code)
    async with TaskWaiter(policy=every(10)) as waiter:
        unwanted = waiter.submit("t-bad")
        future = waiter.submit(virtual_ecs.add_task(duration=5))
        await asyncio.sleep(1)
        unwanted.cancel()
        assert (await future).task_status == "Finished"


async def test_faults_of_those_who_left(virtual_ecs: EcsEmulator) -> None:
    """Who stays in a call that keeps failing for an ID that leaves in the end is not blamed either."""
    healthy = add_tasks(virtual_ecs, 150, duration=1e9)
    virtual_ecs.inject("delay", seconds=0.2)
    virtual_ecs.inject("status", where=lambda request: "t-bad" in request.task_ids)
    good = virtual_ecs.add_task(task_id="t-good", duration=295)
    async with TaskWaiter(policy=every(10)) as waiter:
        for task_id in healthy:
            waiter.submit(task_id)
        future = waiter.submit(good)
        while not future.done():
            unwanted = waiter.submit("t-bad")
            unwanted.add_done_callback(lambda done: done.cancelled() or done.exception())
            await asyncio.sleep(0.7)
            unwanted.cancel()
            await asyncio.sleep(0.1)
        assert future.result().task_id == good


async def test_a_late_bad_one(virtual_ecs: EcsEmulator) -> None:
    """A bad ID that joins healthy ones in their calls harms none of them."""
    ids = add_tasks(virtual_ecs, 99, duration=45)
    virtual_ecs.inject("reject", task_id="t-bad")
    start = clock()
    async with TaskWaiter(policy=every(10)) as waiter:
        futures = [waiter.submit(task_id) for task_id in ids]
        await turns(20)
        await failure(ApiError, waiter.wait(["t-bad"]))
        assert since(start) <= 2
        for future in futures:
            assert (await future).task_status == "Finished"
        assert since(start) <= 60


@pytest.mark.parametrize("kind", ["status", "reset", "truncate", "bad_gzip"])
async def test_faults_of_one_batch(virtual_ecs: EcsEmulator, kind: str) -> None:
    """A batch that keeps failing is halved; the ID that fails alone is reported after the outage budget."""
    ids = add_tasks(virtual_ecs, 250, duration=5)
    bad = ids[77]
    virtual_ecs.inject(kind, where=lambda request: bad in request.task_ids)
    start = clock()
    async with TaskWaiter(policy=every(10)) as waiter:
        *good, (reported_at, error) = await timed(waiter.as_completed(ids))
    assert isinstance(error, ServiceUnavailableError)
    assert bad in str(error)
    assert 600 <= reported_at <= 620
    assert {type(result) for _, result in good} == {Task}
    assert max(at for at, _ in good) < 60
    assert since(start) == reported_at


async def test_one_bad_id_in_each_batch(virtual_ecs: EcsEmulator) -> None:
    """If every batch holds an ID on which the service fails, a half that is answered shows that it is no outage."""
    ids = add_tasks(virtual_ecs, 200, duration=5)
    bad = {ids[0], ids[150]}
    virtual_ecs.inject("status", where=lambda request: not bad.isdisjoint(request.task_ids))
    async with TaskWaiter(policy=every(10)) as waiter:
        seen = await timed(waiter.as_completed(ids))
    assert {type(result) for _, result in seen[:198]} == {Task}
    assert max(at for at, _ in seen[:198]) < 120
    assert all(isinstance(result, ServiceUnavailableError) for _, result in seen[198:])
    assert first_answer(virtual_ecs) <= 10


def first_answer(ecs: EcsEmulator) -> int:
    """How many calls failed before the first one that was answered."""
    return next(number for number, request in enumerate(ecs.requests) if request.answered == 200)


async def test_one_in_a_hundred_is_bad(virtual_ecs: EcsEmulator) -> None:
    """Among 10,000 tasks with 1 % of IDs on which the service fails, all others finish."""
    ids = add_tasks(virtual_ecs, 10_000, duration=900)
    bad = set(random.Random(7).sample(ids, 100))
    virtual_ecs.inject("status", where=lambda request: not bad.isdisjoint(request.task_ids))
    results = await wait_for_tasks(ids, return_exceptions=True, policy=every(60))
    assert {task_id for task_id, result in results.items() if not isinstance(result, Task)} == bad
    assert {type(results[task_id]) for task_id in bad} == {ServiceUnavailableError}


@pytest.mark.parametrize("count", [1, 150])
async def test_an_outage_costs_no_more_calls(virtual_ecs: EcsEmulator, count: int) -> None:
    """In an outage of nine minutes a region is asked 60 times at most, and what was halved is put together again."""
    ids = add_tasks(virtual_ecs, count, duration=600)
    start = clock()
    virtual_ecs.inject("status", where=lambda _request: 15 <= since(start) < 555)
    tasks = await wait_for_tasks(ids, policy=every(10))
    assert {task.task_status for task in tasks.values()} == {"Finished"}
    calls = [at for at, _ in polls(virtual_ecs)]
    assert len([at for at in calls if 15 <= at < 555]) <= 60
    assert len([at for at in calls if at >= 555]) <= 8 * math.ceil(count / 100)


async def test_bad_ids_at_both_ends(virtual_ecs: EcsEmulator) -> None:
    """Bad IDs at both ends of a batch, rejected in unclear words, do not make the region look bad."""
    ids = add_tasks(virtual_ecs, 100, duration=5)
    bad = [ids[0], ids[99]]
    for task_id in bad:
        virtual_ecs.inject("reject", task_id=task_id, code="InvalidParameter", message="The value is not valid.")
    results = await wait_for_tasks(ids, return_exceptions=True, policy=every(10))
    assert [task_id for task_id, result in results.items() if not isinstance(result, Task)] == bad


@pytest.mark.parametrize(("status", "code"), [(409, "Conflict"), (408, "X"), (423, "Locked"), (400, "SystemBusy")])
@pytest.mark.parametrize(("times", "ends"), [(1, False), (2, False), (3, True)])
async def test_a_known_id_that_is_rejected(
    virtual_ecs: EcsEmulator, status: int, code: str, times: int, ends: bool
) -> None:
    """An ID that was answered before is asked again when it is rejected; three rejections in a row end it."""
    task_id = virtual_ecs.add_task(duration=60)
    async with TaskWaiter(policy=every(10)) as waiter:
        future = waiter.submit(task_id)
        await asyncio.sleep(15)
        virtual_ecs.inject("status", status=status, code=code, message="Busy.", times=times)
        if ends:
            assert (await failure(ApiError, future)).code == code
        else:
            assert (await future).task_status == "Finished"


async def test_a_spell_of_faults_blames_nobody(virtual_ecs: EcsEmulator) -> None:
    """Faults that strike every batch are an outage, in which no ID is to blame."""
    ids = add_tasks(virtual_ecs, 250, duration=5)
    virtual_ecs.inject("status", status=500, times=40)
    tasks = await wait_for_tasks(ids, policy=every(10, outage_budget=10_000))
    assert {task.task_status for task in tasks.values()} == {"Finished"}


@pytest.mark.parametrize("probability", [0.2, 0.3, 0.5])
async def test_faults_by_chance_blame_nobody(virtual_ecs: EcsEmulator, probability: float) -> None:
    """Faults by chance, of a good part of all calls, blame no ID."""
    ids = add_tasks(virtual_ecs, 250, duration=300)
    virtual_ecs.inject("status", probability=probability, seed=7)
    tasks = await wait_for_tasks(ids, policy=every(10, outage_budget=10_000))
    assert {task.task_status for task in tasks.values()} == {"Finished"}


@pytest.mark.parametrize("count", [1, 2, 100])
async def test_an_unknown_region(virtual_ecs: EcsEmulator, count: int) -> None:
    """An unknown region is not hunted for among IDs: it ends the region's waits after a call or two."""
    ids = [f"t-{number}" for number in range(count)]
    start = clock()
    error = await failure(ApiError, wait_for_tasks(ids, region_id="xx-nowhere-1"))
    assert error.code == "InvalidRegionId.NotFound"
    assert since(start) == 0
    assert len(virtual_ecs.requests) <= 2


@pytest.mark.parametrize("code", ["MissingParameter", "InvalidVersion", "UnsupportedOperation", *UNCLEAR])
async def test_errors_of_every_call(virtual_ecs: EcsEmulator, code: str) -> None:
    """An error that every call gets ends the region's waits, as one exception, before the batch is taken apart."""
    ids = add_tasks(virtual_ecs, 100)
    virtual_ecs.inject("status", status=400, code=code, message="No.", region_id=REGION)
    far = virtual_ecs.add_task(region_id=ELSEWHERE)
    start = clock()
    error = await failure(ApiError, wait_for_tasks({REGION: ids, ELSEWHERE: [far]}))
    assert error.code == code
    assert since(start) <= 1
    assert len([request for request in virtual_ecs.requests if request.region_id == REGION]) <= 13


async def test_a_region_that_turns_away(virtual_ecs: EcsEmulator) -> None:
    """A region that ends others' waits by an error of its own leaves later waits their own calls."""
    task_id = virtual_ecs.add_task()
    virtual_ecs.inject("status", status=400, code="Weird", times=1)
    async with TaskWaiter() as waiter:
        await failure(ApiError, waiter.wait([task_id]))
        assert (await waiter.wait([task_id]))[task_id].task_id == task_id


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row.clear(),
        lambda row: row.pop("TaskId"),
        lambda row: row.update(TaskId=7),
        lambda row: row.update(TaskStatus=None),
        lambda row: row.update(TaskStatus={"a": 1}),
        lambda row: row.update(TaskStatus="Finishd"),
    ],
    ids=["empty", "no ID", "number as ID", "no status", "map as status", "odd status"],
)
async def test_one_unreadable_row(virtual_ecs: EcsEmulator, change: Any) -> None:
    """One unreadable row harms at most its own task: the others of the call settle by the same answer."""
    good, spoiled = virtual_ecs.add_task(task_id="t-good"), virtual_ecs.add_task(task_id="t-spoiled")

    def spoil(fields: dict[str, Any]) -> None:
        for row in fields["TaskSet"]["Task"]:
            if row["TaskId"] == spoiled:
                change(row)

    virtual_ecs.inject("rewrite", action="DescribeTasks", change=spoil, times=1)
    async with TaskWaiter(policy=every(10)) as waiter:
        seen = await timed(waiter.as_completed([good, spoiled]))
    assert [(at, task.task_id) for at, task in seen] == [(0, good), (10, spoiled)]


async def test_rows_that_nobody_asked_for(virtual_ecs: EcsEmulator) -> None:
    """Tasks that nobody asked for, and tasks told twice, change nothing."""
    ids = add_tasks(virtual_ecs, 60, duration=15)
    virtual_ecs.inject("foreign", rows=50)
    virtual_ecs.inject("double")
    start = clock()
    tasks = await wait_for_tasks(ids, policy=every(10))
    assert list(tasks) == ids
    assert since(start) == 20


async def test_a_bad_one_among_endless_tasks(virtual_ecs: EcsEmulator) -> None:
    """After the hunt the healthy IDs go on in shared calls, not in pieces."""
    ids = add_tasks(virtual_ecs, 100, duration=1e9)
    virtual_ecs.inject("reject", task_id=ids[50])
    async with TaskWaiter(policy=every(10)) as waiter:
        for task_id in ids[:50] + ids[51:]:
            waiter.submit(task_id)
        await failure(ApiError, waiter.wait([ids[50]]))
        await failure(TimeoutError, waiter.wait([ids[0]], timeout=100))
    assert {size for at, size in polls(virtual_ecs) if at > 70} == {99}


async def test_a_brown_out_after_a_healthy_hour_blames_nobody(virtual_ecs: EcsEmulator) -> None:
    """Faults are judged by what goes wrong now, not by how well it went before."""
    ids = add_tasks(virtual_ecs, 300, duration=4500)
    start = clock()
    virtual_ecs.inject("status", probability=0.8, seed=1, where=lambda _request: 3600 <= since(start) < 4100)
    tasks = await wait_for_tasks(ids, policy=every(10))
    assert {task.task_status for task in tasks.values()} == {"Finished"}
