"""No error throws away what is known: results, pending IDs, last states, and the reason of a timeout."""

from __future__ import annotations

import asyncio
import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from support.helpers import ELSEWHERE, REASON, REGION, add_tasks, every, failure, since
from support.helpers import clock as now

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
    ThrottledError,
    WaiterClosedError,
    WaitTimeoutError,
    wait_for_task,
    wait_for_tasks,
)

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio


# -- results and pending -----------------------------------------------------------------------------------------------


async def test_a_refused_region_keeps_the_results_of_the_others(virtual_ecs: EcsEmulator) -> None:
    """Of two regions, one good and one refused, the region's error holds the good one's tasks and the order asked."""
    good, bad = virtual_ecs.add_task(duration=100), virtual_ecs.add_task(region_id=ELSEWHERE, duration=100)
    virtual_ecs.inject("refuse", region_id=ELSEWHERE)
    error = await failure(AuthenticationError, wait_for_tasks({ELSEWHERE: [bad], REGION: [good]}))
    assert list(error.results) == [bad, good]
    assert isinstance(error.results[good], Task)
    assert error.results[bad] is error
    assert error.pending == ()


async def test_an_outage_keeps_what_finished_before(virtual_ecs: EcsEmulator) -> None:
    """What finished before an outage is in the outage's error."""
    quick, slow = virtual_ecs.add_task(duration=5), virtual_ecs.add_task(duration=10_000)
    async with TaskWaiter(policy=every(10)) as waiter:
        waiting = asyncio.ensure_future(waiter.wait([slow, quick]))
        await asyncio.sleep(15)
        virtual_ecs.inject("status")
        error = await failure(ServiceUnavailableError, waiting)
    assert list(error.results) == [slow, quick]
    assert isinstance(error.results[quick], Task)


async def test_fail_fast_keeps_results_and_pending(virtual_ecs: EcsEmulator) -> None:
    """With fail_fast a region's error, too, holds what finished and what is pending."""
    quick, slow = virtual_ecs.add_task(duration=5), virtual_ecs.add_task(duration=10_000)
    far = virtual_ecs.add_task(region_id=ELSEWHERE, duration=10_000)
    virtual_ecs.inject("refuse", region_id=ELSEWHERE, where=lambda request: request.at.second >= 30)
    asked = {REGION: [quick, slow], ELSEWHERE: [far]}
    error = await failure(AuthenticationError, wait_for_tasks(asked, fail_fast=True, policy=every(10)))
    assert {task_id: type(result) for task_id, result in error.results.items()} == {
        quick: Task,
        far: AuthenticationError,
    }
    assert error.pending == (slow,)


async def test_a_closed_waiter_keeps_results_and_pending(virtual_ecs: EcsEmulator) -> None:
    """A wait whose waiter is closed raises with what finished, and names what is pending."""
    quick, slow = virtual_ecs.add_task(duration=5), virtual_ecs.add_task(duration=10_000)
    async with TaskWaiter(policy=every(10)) as waiter:
        waiting = asyncio.ensure_future(waiter.wait([quick, slow]))
        await asyncio.sleep(15)
    error = await failure(WaiterClosedError, waiting)
    assert {task_id: type(result) for task_id, result in error.results.items()} == {quick: Task}
    assert error.pending == (slow,)


@pytest.mark.parametrize("method", ["as_completed", "updates"])
async def test_iterators_keep_results_and_pending(virtual_ecs: EcsEmulator, method: str) -> None:
    """What an iteration raises at its deadline or at the waiter's end holds what finished and what is pending."""
    quick, slow = virtual_ecs.add_task(duration=5), virtual_ecs.add_task(duration=10_000)

    async def read(waiter: TaskWaiter, timeout: float | None) -> None:
        async for _ in getattr(waiter, method)([quick, slow], timeout=timeout):
            pass

    async with TaskWaiter(policy=every(10)) as waiter:
        timed_out = await failure(WaitTimeoutError, read(waiter, 15))
        reading = asyncio.ensure_future(read(waiter, None))
        await asyncio.sleep(15)
    closed = await failure(WaiterClosedError, reading)
    for error in (timed_out, closed):
        assert {task_id: type(result) for task_id, result in error.results.items()} == {quick: Task}
        assert error.pending == (slow,)


async def test_updates_of_a_refused_region(virtual_ecs: EcsEmulator) -> None:
    """The region's error that `updates` raises at its end holds the results of the other regions."""
    good, bad = virtual_ecs.add_task(duration=5), virtual_ecs.add_task(region_id=ELSEWHERE)
    virtual_ecs.inject("refuse", region_id=ELSEWHERE)

    async def read(waiter: TaskWaiter) -> None:
        async for _ in waiter.updates({REGION: [good], ELSEWHERE: [bad]}):
            pass

    async with TaskWaiter() as waiter:
        error = await failure(AuthenticationError, read(waiter))
    assert isinstance(error.results[good], Task)


async def test_a_group_names_a_regions_error_once(virtual_ecs: EcsEmulator) -> None:
    """In a group a region's error stands once among the exceptions, and under each of its IDs in the results."""
    failed = virtual_ecs.add_task(outcome="Failed", error=REASON)
    bad = [virtual_ecs.add_task(region_id=ELSEWHERE) for _ in range(3)]
    virtual_ecs.inject("refuse", region_id=ELSEWHERE)
    error = await failure(TasksFailedError, wait_for_tasks({REGION: [failed], ELSEWHERE: bad}))
    assert [type(each) for each in error.exceptions] == [TaskFailedError, AuthenticationError]
    assert {id(error.results[task_id]) for task_id in bad} == {id(error.exceptions[1])}
    assert error.pending == ()


async def test_a_single_id_needs_neither(virtual_ecs: EcsEmulator) -> None:
    """The error of a wait for one ID has no results, and nothing is pending but at a deadline."""
    task_id = virtual_ecs.add_task(outcome="Failed", error=REASON)
    error = await failure(TaskFailedError, wait_for_task(task_id))
    assert (error.results, error.pending) == ({}, ())
    slow = virtual_ecs.add_task(duration=1000)
    assert (await failure(WaitTimeoutError, wait_for_task(slow, timeout=1))).pending == (slow,)


async def test_waiters_of_one_region_have_errors_of_their_own(virtual_ecs: EcsEmulator) -> None:
    """Two waits that one region's error ends each get the results of their own."""
    ids = add_tasks(virtual_ecs, 5, duration=10_000)
    first, second = ids[:2], ids[2:]
    async with TaskWaiter(policy=every(10)) as waiter:
        waits = [asyncio.ensure_future(waiter.wait(ids)) for ids in (first, [*second, first[0]])]
        await asyncio.sleep(5)
        virtual_ecs.inject("refuse")
        errors = [await failure(AuthenticationError, wait) for wait in waits]
    assert [list(error.results) for error in errors] == [first, [*second, first[0]]]


@pytest.mark.parametrize("way", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))], ids=["copy", "pickle"])  # noqa: S301 - our own
async def test_results_survive(virtual_ecs: EcsEmulator, way: Any) -> None:
    """Copies and pickles keep results, pending IDs, last states, faults and the region."""
    quick, slow = virtual_ecs.add_task(duration=5), virtual_ecs.add_task(duration=10_000)
    error = await failure(WaitTimeoutError, wait_for_tasks([quick, slow], timeout=15, policy=every(10)))
    virtual_ecs.inject("refuse")
    refused = await failure(AuthenticationError, wait_for_tasks([quick, slow]))
    twin, other = way(error), way(refused)
    assert (twin.results, twin.pending, twin.last) == (error.results, error.pending, error.last)
    assert (list(other.results), other.region_id, str(other)) == ([quick, slow], REGION, str(refused))


async def test_elsewhere_there_is_nothing() -> None:
    """Errors that no wait raised have neither results nor pending IDs."""
    for error in (EcsWaiterError("x"), ApiError("Code", "x"), TaskNotFoundError("t-1", REGION)):
        assert (error.results, error.pending) == ({}, ())


# -- the region of an error --------------------------------------------------------------------------------------------


async def test_errors_of_calls_name_their_region(virtual_ecs: EcsEmulator) -> None:
    """Whatever a call raises names the region called, in `region_id` and in the message."""
    policy = every(5, outage_budget=20)
    calls = {
        "status": ServiceUnavailableError,
        "refuse": AuthenticationError,
        "throttle": ThrottledError,
        "reset": ServiceUnavailableError,
    }
    for kind, expected in calls.items():
        fault = virtual_ecs.inject(kind)
        async with EcsClient(policy=policy) as client:
            for call in (
                client.describe_tasks(region_id=ELSEWHERE),
                client.describe_task_attribute("t-1", region_id=ELSEWHERE),
                client.cancel_task("t-1", region_id=ELSEWHERE),
                client.call("ExportImage", region_id=ELSEWHERE, params={"ImageId": "m-1"}),
            ):
                error: ApiError = await failure(expected, call)
                assert error.region_id == ELSEWHERE
                assert ELSEWHERE in str(error)
        fault.remove()


@pytest.mark.parametrize("kind", ["status", "refuse", "throttle"])
async def test_errors_of_waits_name_their_region(virtual_ecs: EcsEmulator, kind: str) -> None:
    """The error that ends a region's waits names the region, and so does its cause."""
    virtual_ecs.inject(kind)
    error: ApiError = await failure(
        ApiError, wait_for_task("t-1", region_id=ELSEWHERE, policy=every(5, outage_budget=20))
    )
    assert error.region_id == ELSEWHERE
    assert str(error).count(ELSEWHERE) == 1
    if isinstance(error.__cause__, ApiError):
        assert error.__cause__.region_id == ELSEWHERE


# -- why a wait timed out ----------------------------------------------------------------------------------------------


async def test_a_timeout_in_an_outage_says_why(virtual_ecs: EcsEmulator) -> None:
    """After a minute of errors the timeout holds the region's present fault and shows it in its message."""
    near, far = virtual_ecs.add_task(duration=1000), virtual_ecs.add_task(region_id=ELSEWHERE, duration=1000)
    virtual_ecs.inject("status", region_id=ELSEWHERE, message="The service is under maintenance.")
    error = await failure(WaitTimeoutError, wait_for_tasks({REGION: [near], ELSEWHERE: [far]}, timeout=60))
    assert list(error.faults) == [ELSEWHERE]
    fault = error.faults[ELSEWHERE]
    assert isinstance(fault, ServiceUnavailableError)
    assert (fault.code, fault.http_status, fault.region_id) == ("ServiceUnavailable", 503, ELSEWHERE)
    assert f"{ELSEWHERE} is failing: ServiceUnavailable: The service is under maintenance." in str(error)


async def test_only_failing_regions_of_pending_tasks(virtual_ecs: EcsEmulator) -> None:
    """A region that answers, and one whose tasks have all finished, is not among the faults."""
    quick, slow = virtual_ecs.add_task(region_id=ELSEWHERE, duration=5), virtual_ecs.add_task(duration=1000)
    async with TaskWaiter(policy=every(10)) as waiter:
        other = asyncio.ensure_future(
            waiter.wait({ELSEWHERE: [virtual_ecs.add_task(region_id=ELSEWHERE, duration=1000)]})
        )
        waiting = asyncio.ensure_future(waiter.wait({ELSEWHERE: [quick], REGION: [slow]}, timeout=60))
        await asyncio.sleep(15)
        virtual_ecs.inject("status", region_id=ELSEWHERE)
        assert (await failure(WaitTimeoutError, waiting)).faults == {}
        other.cancel()


async def test_a_timeout_shows_the_last_states(virtual_ecs: EcsEmulator) -> None:
    """A timeout holds the last known state of each pending task, and None for one that was never listed."""
    running = virtual_ecs.add_task(duration=1000, resource_id="m-1")
    hidden = virtual_ecs.add_task(duration=1000, visible_after=500)
    done = virtual_ecs.add_task(duration=5)
    policy = every(10, not_found_grace=600)
    error = await failure(WaitTimeoutError, wait_for_tasks([hidden, running, done], timeout=60, policy=policy))
    assert list(error.last) == [hidden, running]
    assert error.last[hidden] is None
    last = error.last[running]
    assert last is not None
    assert (last.task_status, last.task_action, last.resource_id) == ("Processing", "ImportImage", "m-1")
    assert f"{running} (Processing)" in str(error)
    assert f"never listed by the service: {hidden}" in str(error)
    assert done not in str(error)


async def test_an_unknown_status_is_named(virtual_ecs: EcsEmulator) -> None:
    """The message of a timeout names the status that no documentation knows."""
    task_id = virtual_ecs.add_task(duration=1000)
    virtual_ecs.inject("backwards", status="Hibernating")
    error = await failure(WaitTimeoutError, wait_for_task(task_id, timeout=60))
    assert f"{task_id} (unknown status 'Hibernating')" in str(error)


async def test_the_message_of_many_is_short(virtual_ecs: EcsEmulator) -> None:
    """Of many pending tasks the message names the first few of each kind, and counts the others."""
    running = add_tasks(virtual_ecs, 300, duration=1000)
    error = await failure(
        WaitTimeoutError, wait_for_tasks([*running, *(f"t-hidden{n:03}" for n in range(300))], timeout=30)
    )
    assert len(error.last) == 600
    assert "and 295 more" in str(error)
    assert len(str(error)) < 500


async def test_one_look_says_why(virtual_ecs: EcsEmulator) -> None:
    """One look that comes to nothing says why, too."""
    task_id = virtual_ecs.add_task(duration=1000)
    virtual_ecs.inject("status", region_id=ELSEWHERE)
    error = await failure(WaitTimeoutError, wait_for_tasks({REGION: [task_id], ELSEWHERE: ["t-9"]}, timeout=0))
    assert list(error.faults) == [ELSEWHERE]
    assert (error.last[task_id] or Task(region_id="", task_id="")).task_status == "Processing"
    assert error.last["t-9"] is None


@pytest.mark.parametrize("timeout", [0, 2, 20])
async def test_a_region_that_hangs_is_named(virtual_ecs: EcsEmulator, timeout: float) -> None:
    """A region that has not answered yet is failing, before the first call has timed out too."""
    virtual_ecs.inject("hang")
    error = await failure(WaitTimeoutError, wait_for_task("t-1", timeout=timeout))
    assert list(error.faults) == [REGION]
    assert f"{REGION} is failing: " in str(error)


async def test_a_region_that_hangs_after_an_answer(virtual_ecs: EcsEmulator) -> None:
    """A call that has been under way for long is the reason of a timeout; one that was just made is not."""
    task_id = virtual_ecs.add_task(duration=1000)
    virtual_ecs.inject("hang", where=lambda request: request.at.second >= 10)
    async with TaskWaiter(policy=every(10)) as waiter:
        short, long = (asyncio.ensure_future(waiter.wait([task_id], timeout=seconds)) for seconds in (12, 16))
        assert (await failure(WaitTimeoutError, short)).faults == {}
        assert "no answer for 6 s so far" in str(await failure(WaitTimeoutError, long))


async def test_ids_that_no_call_has_asked_for(virtual_ecs: EcsEmulator) -> None:
    """IDs that waited for their first call are counted apart from those that were asked for."""
    virtual_ecs.inject("hang")
    ids = [f"t-{number}" for number in range(700)]
    error = await failure(WaitTimeoutError, wait_for_tasks(ids, timeout=5))
    assert "(no call asked for 300 of them yet)" in str(error)


async def test_a_crowd_of_last_states(virtual_ecs: EcsEmulator) -> None:
    """Of thousands of tasks each keeps at least ID, status and action, and those seen last keep everything."""
    ids = add_tasks(virtual_ecs, 3000, duration=10_000, task_action="RedeployInstance", resource_id="i-1")
    error = await failure(WaitTimeoutError, wait_for_tasks(ids, timeout=90))
    assert list(error.last) == ids
    states = [state for state in error.last.values() if state is not None]
    assert {(state.task_status, state.task_action) for state in states} == {("Processing", "RedeployInstance")}
    assert len(states) == 3000
    assert sum(state.resource_id == "i-1" for state in states) == 500


async def test_the_last_state_of_a_task_that_vanished(virtual_ecs: EcsEmulator) -> None:
    """Of a crowd, too, a task that vanishes is reported with ID, status and action; the last to change is whole."""
    ids = add_tasks(virtual_ecs, 1200, duration=100_000, resource_id="m-1")
    async with TaskWaiter(policy=every(30)) as waiter:
        early = asyncio.ensure_future(waiter.wait(ids))
        await asyncio.sleep(60)
        late = virtual_ecs.add_task(task_id="t-late", duration=100_000, resource_id="m-late")
        last = waiter.submit(late)
        await asyncio.sleep(60)
        virtual_ecs.inject("drop")
        start = now()
        group = await failure(TasksFailedError, early)
        assert 60 <= since(start) <= 200
        vanished = await failure(TaskNotFoundError, last)
    tasks = [error.task for error in group.exceptions if isinstance(error, TaskNotFoundError)]
    assert len(tasks) == 1200
    assert {(task.task_status, task.task_action) for task in tasks if task} == {("Processing", "ImportImage")}
    assert vanished.task is not None
    assert vanished.task.resource_id == "m-late"
