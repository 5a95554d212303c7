"""How failures are told: one as itself, several as a group, and a region's error as one exception."""

from __future__ import annotations

import asyncio
import copy
import pickle
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from support.helpers import ELSEWHERE, REASON, REGION, clock, every, failure, polls, since, timed

from ecs_waiter import (
    AuthenticationError,
    Credentials,
    EcsWaiterError,
    ServiceUnavailableError,
    Task,
    TaskCanceledError,
    TaskFailedError,
    TaskNotFoundError,
    TasksFailedError,
    TaskWaiter,
    wait_for_tasks,
)

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio


# -- alone or as a group -----------------------------------------------------------------------------------------------


async def test_all_are_waited_for(virtual_ecs: EcsEmulator) -> None:
    """Without fail_fast a wait goes on to the end of all, then raises."""
    failed, slow = virtual_ecs.add_task(outcome="Failed", error=REASON), virtual_ecs.add_task(duration=55)
    start = clock()
    error = await failure(TasksFailedError, wait_for_tasks([failed, slow], policy=every(10)))
    assert since(start) == 60
    assert list(error.results) == [failed, slow]
    assert error.pending == ()
    assert [type(one) for one in error.exceptions] == [TaskFailedError]


@pytest.mark.parametrize(
    ("outcome", "kind"), [("Failed", TaskFailedError), ("Deleted", TaskCanceledError), (None, TaskNotFoundError)]
)
async def test_one_id_raises_itself(virtual_ecs: EcsEmulator, outcome: str | None, kind: type[EcsWaiterError]) -> None:
    """If one ID was asked, however often, it is always the error itself."""
    task_id = virtual_ecs.add_task(outcome=outcome) if outcome else "t-unknown"
    for ids in ([task_id], [task_id] * 3, {REGION: [task_id]}, {REGION: [task_id], ELSEWHERE: []}):
        assert type(await failure(EcsWaiterError, wait_for_tasks(ids))) is kind
    assert type(await failure(EcsWaiterError, wait_for_tasks([task_id], fail_fast=True))) is kind


async def test_several_ids_raise_a_group(virtual_ecs: EcsEmulator) -> None:
    """If several were asked, one failed task makes a group, that `except*` takes apart by kind."""
    failed, canceled = virtual_ecs.add_task(outcome="Failed"), virtual_ecs.add_task(outcome="Deleted")
    finished = virtual_ecs.add_task()
    caught: list[BaseExceptionGroup[Any]] = []
    try:
        await wait_for_tasks([finished, canceled, failed, "t-unknown"])
    except* TaskFailedError as group:
        caught.append(group)
    except* TaskCanceledError as group:
        caught.append(group)
    except* TaskNotFoundError as group:
        caught.append(group)
    kinds = [[type(error) for error in group.exceptions] for group in caught]
    assert kinds == [[TaskFailedError], [TaskCanceledError], [TaskNotFoundError]]
    for part in caught:
        assert isinstance(part, TasksFailedError)
        assert list(part.results) == [finished, canceled, failed, "t-unknown"]


async def test_a_group_is_one_of_ours(virtual_ecs: EcsEmulator) -> None:
    """The group is an EcsWaiterError and an ExceptionGroup, and survives pickle and copy with its fields."""
    ids = [virtual_ecs.add_task(outcome="Failed", error=REASON) for _ in range(2)]
    error = await failure(TasksFailedError, wait_for_tasks(ids))
    bases: tuple[type, ...] = (EcsWaiterError, ExceptionGroup)
    assert all(isinstance(error, base) for base in bases)
    original = error.results[ids[0]]
    assert isinstance(original, TaskFailedError)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):  # noqa: S301 - our own
        assert isinstance(twin, TasksFailedError)
        assert str(twin) == str(error)
        assert list(twin.results) == ids
        told = twin.results[ids[0]]
        assert isinstance(told, TaskFailedError)
        assert told.detail == original.detail
        assert [str(one) for one in twin.exceptions] == [str(one) for one in error.exceptions]


async def test_fail_fast(virtual_ecs: EcsEmulator) -> None:
    """With fail_fast the first failure ends the wait at once, with the results so far and what is pending."""
    quick, slow = virtual_ecs.add_task(), virtual_ecs.add_task(duration=1000)
    failed = virtual_ecs.add_task(duration=15, outcome="Failed", error=REASON)
    start = clock()
    error = await failure(TasksFailedError, wait_for_tasks([slow, failed, quick], fail_fast=True, policy=every(10)))
    assert since(start) == 20
    assert list(error.results) == [failed, quick]
    assert error.pending == (slow,)


async def test_fail_fast_without_a_failure(virtual_ecs: EcsEmulator) -> None:
    """With fail_fast and no failure a wait is as without."""
    ids = [virtual_ecs.add_task(duration=5) for _ in range(3)]
    assert list(await wait_for_tasks(ids, fail_fast=True)) == ids


async def test_fail_fast_stops_polling(virtual_ecs: EcsEmulator) -> None:
    """What fail_fast leaves behind is asked no more, unless others wait for it."""
    slow, failed = virtual_ecs.add_task(duration=1e9), virtual_ecs.add_task(outcome="Failed")
    async with TaskWaiter(policy=every(10)) as waiter:
        await failure(TasksFailedError, waiter.wait([slow, failed], fail_fast=True))
        await asyncio.sleep(100)
    assert polls(virtual_ecs) == [(0, 2)]


# -- an error of a whole region ----------------------------------------------------------------------------------------


async def test_a_region_as_the_only_failure(virtual_ecs: EcsEmulator) -> None:
    """An error of a whole region is raised as itself if it is the only failure, however many IDs it ends."""
    virtual_ecs.inject("refuse", region_id=ELSEWHERE)
    near = [virtual_ecs.add_task(duration=5) for _ in range(3)]
    far = [virtual_ecs.add_task(region_id=ELSEWHERE, duration=5) for _ in range(3)]
    start = clock()
    error = await failure(AuthenticationError, wait_for_tasks({REGION: near, ELSEWHERE: far}, policy=every(10)))
    assert error.code == "Forbidden.RAM"
    assert since(start) == 10


async def test_a_region_among_other_failures(virtual_ecs: EcsEmulator) -> None:
    """In a group a region's error stands once, and under each of its IDs in the results."""
    virtual_ecs.inject("refuse", region_id=ELSEWHERE)
    far = [virtual_ecs.add_task(region_id=ELSEWHERE) for _ in range(150)]
    failed = virtual_ecs.add_task(outcome="Failed")
    error = await failure(TasksFailedError, wait_for_tasks({ELSEWHERE: far, REGION: [failed]}))
    regional, task_error = error.exceptions
    assert isinstance(regional, AuthenticationError)
    assert isinstance(task_error, TaskFailedError)
    assert all(error.results[task_id] is regional for task_id in far)
    assert error.results[failed] is task_error


async def test_two_regions(virtual_ecs: EcsEmulator) -> None:
    """Two regions' errors are two exceptions, so they come as a group."""
    virtual_ecs.inject("refuse")
    far = [virtual_ecs.add_task(region_id=ELSEWHERE) for _ in range(2)]
    near = [virtual_ecs.add_task() for _ in range(2)]
    error = await failure(TasksFailedError, wait_for_tasks({ELSEWHERE: far, REGION: near}))
    assert [type(one) for one in error.exceptions] == [AuthenticationError] * 2
    assert len({id(result) for result in error.results.values()}) == 2


async def test_a_region_under_return_exceptions(virtual_ecs: EcsEmulator) -> None:
    """With return_exceptions the region's error stands under each of its IDs."""
    virtual_ecs.inject("refuse", region_id=ELSEWHERE)
    far = [virtual_ecs.add_task(region_id=ELSEWHERE) for _ in range(3)]
    near = virtual_ecs.add_task()
    results = await wait_for_tasks({ELSEWHERE: far, REGION: [near]}, return_exceptions=True)
    assert {type(results[task_id]) for task_id in far} == {AuthenticationError}
    assert isinstance(results[near], Task)


async def test_an_outage(virtual_ecs: EcsEmulator) -> None:
    """A region that fails for the whole outage budget is one error, its cause the last fault, after just that long."""
    virtual_ecs.inject("status", status=503, region_id=ELSEWHERE)
    far = [virtual_ecs.add_task(region_id=ELSEWHERE) for _ in range(3)]
    near = virtual_ecs.add_task(duration=995)
    async with TaskWaiter(policy=every(10, outage_budget=100)) as waiter:
        seen = await timed(waiter.as_completed({ELSEWHERE: far, REGION: [near]}))
    assert [(at, type(outcome)) for at, outcome in seen] == [(100, ServiceUnavailableError)] * 3 + [(1000, Task)]
    error = await failure(ServiceUnavailableError, wait_for_tasks({ELSEWHERE: far}, policy=every(10, outage_budget=50)))
    assert isinstance(error.__cause__, ServiceUnavailableError)
    assert error.__cause__.http_status == 503


async def test_a_provider_that_raises(virtual_ecs: EcsEmulator) -> None:
    """A credentials provider that rejects ends the waits with its own error, under one exception."""

    class Empty:
        async def get_credentials(self) -> Credentials:
            raise AuthenticationError(None, "the vault is sealed") from LookupError("sealed")

    ids = [virtual_ecs.add_task() for _ in range(3)]
    error = await failure(AuthenticationError, wait_for_tasks(ids, credentials=Empty()))
    assert isinstance(error.__cause__, LookupError)
    assert virtual_ecs.requests == []


async def test_the_region_can_be_asked_again(virtual_ecs: EcsEmulator) -> None:
    """After a region has failed its waits, a new wait starts afresh, with the whole budget."""
    task_id = virtual_ecs.add_task()
    async with TaskWaiter(policy=every(10, outage_budget=100)) as waiter:
        virtual_ecs.inject("refuse", times=1)
        await failure(AuthenticationError, waiter.wait([task_id]))
        assert (await waiter.wait([task_id]))[task_id].task_id == task_id
        outage = virtual_ecs.inject("status")
        for _ in range(2):
            start = clock()
            await failure(ServiceUnavailableError, waiter.wait([task_id]))
            assert since(start) == 100
        outage.remove()
        assert (await waiter.wait([task_id]))[task_id].task_id == task_id


# -- one failure, many waiters -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("regional", [False, True])
async def test_tracebacks_do_not_pile_up(virtual_ecs: EcsEmulator, regional: bool) -> None:
    """One failure told to many waiters does not pile up their tracebacks in one another's."""
    if regional:
        virtual_ecs.inject("refuse")
    task_id = virtual_ecs.add_task(outcome="Failed", error=REASON)
    async with TaskWaiter() as waiter:
        errors = await asyncio.gather(
            *(failure(EcsWaiterError, waiter.wait([task_id])) for _ in range(50)),
            *(failure(EcsWaiterError, waiter.submit(task_id)) for _ in range(50)),
        )
    assert len({id(error) for error in errors}) == 100
    assert max(len(traceback.extract_tb(error.__traceback__)) for error in errors) < 10
