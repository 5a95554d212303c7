"""`run`: start a task, then wait for it, as one."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, get_args

import pytest
from support.helpers import ELSEWHERE, REASON, REGION, clock, every, failure, others, since, times

from ecs_waiter import (
    ApiError,
    AuthenticationError,
    ServiceUnavailableError,
    Task,
    TaskFailedError,
    TaskWaiter,
    WaitTimeoutError,
)
from ecs_waiter.api.operations import MAY_BE_DONE_AT_ONCE, STARTS_TASK
from ecs_waiter.starting import AlwaysStartsTask

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio


async def test_start_then_wait(virtual_ecs: EcsEmulator) -> None:
    """`run` starts the operation with its parameters and returns the finished task."""
    virtual_ecs.plan("ExportImage", duration=25)
    start = clock()
    async with TaskWaiter(policy=every(10)) as waiter:
        task = await waiter.run("ExportImage", region_id=ELSEWHERE, params={"ImageId": "m-1", "OSSBucket": "b"})
    assert since(start) == 30
    assert task is not None
    assert (task.region_id, task.task_action, task.task_status) == (ELSEWHERE, "ExportImage", "Finished")
    started = virtual_ecs.requests[0]
    assert (started.action, started.region_id) == ("ExportImage", ELSEWHERE)
    assert (started.params["ImageId"], started.params["OSSBucket"]) == ("m-1", "b")
    assert times(virtual_ecs) == [0, 10, 20, 30]


async def test_a_failure_of_the_task(virtual_ecs: EcsEmulator) -> None:
    """A task that fails raises as itself, with the service's reason."""
    virtual_ecs.plan("ImportImage", outcome="Failed", error=REASON)
    async with TaskWaiter() as waiter:
        error = await failure(TaskFailedError, waiter.run("ImportImage"))
    assert REASON[0] in str(error)


async def test_done_at_once(virtual_ecs: EcsEmulator) -> None:
    """An answer without a TaskId, a change done at once, makes `run` return None."""
    virtual_ecs.plan("ModifyDiskSpec", at_once=True)
    async with TaskWaiter() as waiter:
        assert await waiter.run("ModifyDiskSpec", params={"DiskId": "d-1"}) is None
    assert len(virtual_ecs.requests) == 1


@pytest.mark.parametrize("operation", ["ImportImage", "ModifyInstanceClockOptions"])
async def test_a_token_by_itself(virtual_ecs: EcsEmulator, operation: str) -> None:
    """`run` adds a ClientToken by itself where the operation takes one, a new one each time; one's own it leaves."""
    async with TaskWaiter() as waiter:
        for token in ({}, {}, {"ClientToken": "mine"}):
            await waiter.run(operation, params={"InstanceId": "i-1", **token})
    tokens = [request.params["ClientToken"] for request in virtual_ecs.requests if request.action == operation]
    assert len(set(tokens)) == 3
    assert tokens[2] == "mine"
    assert all(tokens)


async def test_no_token_where_none_is_taken(virtual_ecs: EcsEmulator) -> None:
    """`run` adds no ClientToken to other operations."""
    async with TaskWaiter() as waiter:
        await waiter.run("RedeployInstance", params={"InstanceId": "i-1"})
    assert "ClientToken" not in virtual_ecs.requests[0].params


@pytest.mark.parametrize("kind", ["reset", "truncate"])
async def test_what_may_have_started(virtual_ecs: EcsEmulator, kind: str) -> None:
    """What may have happened is repeated with a ClientToken only; else the error says that it may have started."""
    async with TaskWaiter() as waiter:
        virtual_ecs.inject(kind, action="ImportImage", times=1)
        assert await waiter.run("ImportImage") is not None
        assert [request.action for request in virtual_ecs.requests].count("ImportImage") == 2
        virtual_ecs.inject(kind, action="RedeployInstance", times=1)
        error = await failure(ServiceUnavailableError, waiter.run("RedeployInstance", params={"InstanceId": "i-1"}))
        assert "may have started" in str(error)
    assert [request.action for request in virtual_ecs.requests].count("RedeployInstance") == 1


async def test_what_did_not_happen(virtual_ecs: EcsEmulator) -> None:
    """A throttled start surely did not happen and is repeated, as the service asks."""
    virtual_ecs.inject("throttle", action="RedeployInstance", times=2, retry_after=5)
    start = clock()
    async with TaskWaiter() as waiter:
        task = await waiter.run("RedeployInstance", params={"InstanceId": "i-1"})
    assert isinstance(task, Task)
    assert since(start) >= 10


async def test_a_deadline_before_the_answer(virtual_ecs: EcsEmulator) -> None:
    """A deadline that passes before the start is answered is a WaitTimeoutError with no pending IDs."""
    virtual_ecs.inject("hang")
    start = clock()
    async with TaskWaiter() as waiter:
        error = await failure(WaitTimeoutError, waiter.run("ImportImage", timeout=12))
        assert since(start) == 12
        assert (error.pending, error.results) == ((), {})
        assert "may have started" in str(error)
    assert others() == set()


@pytest.mark.parametrize("timeout", [15, 30, 45, 60])
async def test_a_deadline_in_the_instant_of_a_calls(virtual_ecs: EcsEmulator, timeout: float) -> None:
    """The deadline holds, too, where it falls into the very instant in which an attempt times out."""
    virtual_ecs.inject("hang")
    start = clock()
    async with TaskWaiter() as waiter:
        error = await failure(WaitTimeoutError, waiter.run("ImportImage", timeout=timeout))
        assert since(start) == timeout
        assert error.pending == ()


async def test_a_deadline_after_the_answer(virtual_ecs: EcsEmulator) -> None:
    """One deadline spans start and task; once started, the task's ID is pending."""
    virtual_ecs.inject("delay", action="ImportImage", seconds=5)
    virtual_ecs.plan("ImportImage", duration=1e9)
    start = clock()
    async with TaskWaiter(policy=every(10)) as waiter:
        error = await failure(WaitTimeoutError, waiter.run("ImportImage", timeout=12))
    assert since(start) == 12
    assert len(error.pending) == 1


async def test_a_refusal(virtual_ecs: EcsEmulator) -> None:
    """A start that the service refuses raises its error after one call."""
    async with TaskWaiter() as waiter:
        error = await failure(ApiError, waiter.run("ExportImage"))
        assert error.code == "MissingParameter"
        virtual_ecs.inject("refuse")
        await failure(AuthenticationError, waiter.run("ImportImage"))
    assert len(virtual_ecs.requests) == 2


async def test_on_update_of_run(virtual_ecs: EcsEmulator) -> None:
    """`on_update` is told of the started task's changes."""
    virtual_ecs.plan("ImportImage", duration=15)
    seen: list[str] = []
    async with TaskWaiter(policy=every(10)) as waiter:
        await waiter.run("ImportImage", on_update=lambda task: seen.append(task.task_status))
    assert seen == ["Processing", "Finished"]


async def test_runs_share_polls(virtual_ecs: EcsEmulator) -> None:
    """Tasks started side by side are polled together."""
    for _ in range(8):
        virtual_ecs.plan("ImportImage", duration=15)
    async with TaskWaiter(policy=every(10)) as waiter:
        tasks = await asyncio.gather(*(waiter.run("ImportImage") for _ in range(8)))
    assert len({task.task_id for task in tasks if task}) == 8
    assert len([at for at in times(virtual_ecs) if at > 1]) == 2


async def test_stats_count_a_start(virtual_ecs: EcsEmulator) -> None:
    """A start counts among the region's calls, not among its polls."""
    async with TaskWaiter() as waiter:
        await waiter.run("ImportImage")
        stats = waiter.stats.regions[REGION]
    assert (stats.calls, stats.polls, stats.settled) == (2, 1, 1)


@pytest.mark.parametrize("answer", [{"TaskId": None}, {"TaskId": ""}, {"RequestId": "r"}])
async def test_a_change_done_at_once(virtual_ecs: EcsEmulator, answer: dict[str, Any]) -> None:
    """ModifyDiskSpec without a TaskId was done at once: there is no task to wait for."""
    virtual_ecs.inject("body", content=answer, action="ModifyDiskSpec")
    async with TaskWaiter() as waiter:
        assert await waiter.run("ModifyDiskSpec", params={"DiskId": "d-1"}) is None


@pytest.mark.parametrize("operation", sorted(STARTS_TASK - {"ModifyDiskSpec"}))
@pytest.mark.parametrize("content", [{}, {"RequestId": "r-7"}, {"TaskId": None}, {"TaskId": ""}, {"TaskId": 7}])
async def test_an_answer_that_names_no_task(virtual_ecs: EcsEmulator, operation: str, content: dict[str, Any]) -> None:
    """An operation that always gives a TaskId is in doubt without one: the error says so, and how to find out."""
    virtual_ecs.inject("body", content=content, action=operation)
    async with TaskWaiter() as waiter:
        error = await failure(ServiceUnavailableError, waiter.run(operation, region_id=ELSEWHERE))
    assert error.sent
    assert f"the answer to {operation} in {ELSEWHERE} has {'a' if content.get('TaskId') else 'no'} TaskId" in str(error)
    assert "it may have started" in error.message
    if "RequestId" in content:
        assert error.request_id == "r-7"
    token = virtual_ecs.requests[0].params.get("ClientToken")
    assert (token or f"look for {operation} among the tasks of {ELSEWHERE}") in error.message
    assert len(virtual_ecs.requests) == 1


@pytest.mark.parametrize("task_id", [7, 0, True, False, [], ["t-1"], {"a": 1}, "a,b", "t 1", "x" * 300])
@pytest.mark.parametrize("operation", ["ExportImage", "ModifyDiskSpec"])
async def test_answers_with_no_id(virtual_ecs: EcsEmulator, operation: str, task_id: object) -> None:
    """An answer whose TaskId is not an ID leaves the start in doubt, whatever the operation."""
    virtual_ecs.inject("body", content={"TaskId": task_id}, action=operation)
    async with TaskWaiter() as waiter:
        error = await failure(ServiceUnavailableError, waiter.run(operation))
    assert "it may have started" in error.message
    assert len(virtual_ecs.requests) == 1


@pytest.mark.parametrize(
    ("operation", "instead"),
    [
        ("CopyImage", "DescribeImages reports the answer's ImageId as Available in DestinationRegionId"),
        ("CreateImage", "DescribeImages reports the answer's ImageId as Available"),
        ("CreateSnapshot", "DescribeSnapshots reports the answer's SnapshotId as accomplished"),
        ("CopySnapshot", "DescribeSnapshots reports the answer's SnapshotId as accomplished in DestinationRegionId"),
        ("CloneDisks", "client.call('DescribeTasks', params={'TaskGroupId': ...})"),
        ("RunInstances", "the Describe operation for what it changes"),
        ("DescribeTasks", "the Describe operation for what it changes"),
    ],
)
async def test_an_operation_that_starts_no_task(virtual_ecs: EcsEmulator, operation: str, instead: str) -> None:
    """An operation that is not known to start a task is refused before any call, with words that say what to do."""
    async with TaskWaiter() as waiter:
        error = await failure(ValueError, waiter.run(operation, region_id=REGION))
    assert f"client.call('{operation}', ...)" in str(error)
    assert instead in str(error)
    assert virtual_ecs.requests == []


async def test_the_types_of_run_are_the_rules() -> None:
    """The operations that type checkers expect a Task from are those that always give one."""
    assert frozenset(get_args(AlwaysStartsTask)) == STARTS_TASK - MAY_BE_DONE_AT_ONCE


@pytest.mark.parametrize("flag", [True, "true", "TRUE", "True"])
@pytest.mark.parametrize(
    ("operation", "resource"),
    [
        ("ImportImage", "ImageName"),
        ("ExportImage", "ImageId"),
        ("ModifyDiskSpec", "DiskId"),
        ("ModifyDiskDeployment", "DiskId"),
        ("ModifyInstanceClockOptions", "InstanceId"),
    ],
)
async def test_a_dry_run_that_would_succeed(
    virtual_ecs: EcsEmulator, caplog: pytest.LogCaptureFixture, operation: str, resource: str, flag: object
) -> None:
    """A dry run that would succeed returns None, with a log line; it starts nothing and uses no token up."""
    caplog.set_level(logging.INFO, "ecs_waiter")
    async with TaskWaiter() as waiter:
        params = {resource: "r-1", "DryRun": flag}
        assert await waiter.run(operation, region_id=REGION, params=params) is None
        assert [task async for task in waiter.client.iter_tasks(region_id=REGION)] == []
    assert "ClientToken" not in virtual_ecs.requests[0].params
    [record] = [record for record in caplog.records if record.name == "ecs_waiter"]
    assert (record.levelname, record.getMessage()) == (
        "INFO",
        f"{operation} in {REGION}: the request would succeed; it was a dry run, so nothing was started",
    )


async def test_a_dry_run_that_is_refused(virtual_ecs: EcsEmulator) -> None:
    """A dry run that the service refuses raises as usual."""
    async with TaskWaiter() as waiter:
        error = await failure(ApiError, waiter.run("ExportImage", params={"DryRun": True}))
    assert error.code == "MissingParameter"


async def test_a_dry_run_that_starts(virtual_ecs: EcsEmulator) -> None:
    """A dry run whose answer names a task has started it: it is waited for."""
    task_id = virtual_ecs.add_task(duration=60)
    virtual_ecs.inject("body", content={"TaskId": task_id}, action="ImportImage")
    async with TaskWaiter() as waiter:
        task = await waiter.run("ImportImage", params={"DryRun": True})
    assert task is not None
    assert (task.task_id, task.task_status) == (task_id, "Finished")


async def test_the_code_of_a_dry_run_alone(virtual_ecs: EcsEmulator) -> None:
    """DryRunOperation without a dry run is an error like any other, and so it is for `call`."""
    virtual_ecs.inject("status", status=400, code="DryRunOperation", action="RedeployInstance")
    async with TaskWaiter() as waiter:
        error = await failure(ApiError, waiter.run("RedeployInstance", params={"InstanceId": "i-1"}))
        assert error.code == "DryRunOperation"
        error = await failure(ApiError, waiter.client.call("ImportImage", params={"DryRun": True}))
        assert error.code == "DryRunOperation"


async def test_a_dry_run_is_never_in_doubt(virtual_ecs: EcsEmulator) -> None:
    """A dry run starts nothing, so it is repeated after a fault, and no error says that it may have started."""
    virtual_ecs.inject("status", action="ExportImage", times=1)
    async with TaskWaiter() as waiter:
        params = {"ImageId": "m-1", "DryRun": True}
        assert await waiter.run("ExportImage", params=params) is None
        virtual_ecs.inject("hang")
        error = await failure(WaitTimeoutError, waiter.run("ExportImage", params=params, timeout=5))
    assert "dry run, which starts nothing" in str(error)
    assert "may have started" not in str(error)


@pytest.mark.parametrize("token", [None, ""])
async def test_an_empty_token(virtual_ecs: EcsEmulator, token: str | None) -> None:
    """An empty ClientToken is none: `run` adds its own."""
    virtual_ecs.inject("reset", action="ImportImage", times=1)
    async with TaskWaiter() as waiter:
        assert await waiter.run("ImportImage", params={"ClientToken": token}) is not None
    assert virtual_ecs.requests[0].params["ClientToken"]


async def test_parameters_stay_the_callers(virtual_ecs: EcsEmulator) -> None:
    """The caller's mapping is not written to."""
    params = {"Architecture": "x86_64"}
    async with TaskWaiter() as waiter:
        await waiter.run("ImportImage", params=params)
    assert params == {"Architecture": "x86_64"}


async def test_an_error_of_the_region_names_what_was_started(virtual_ecs: EcsEmulator) -> None:
    """If waiting ends by an error that is not about the task, a note says which task was started."""
    virtual_ecs.inject("refuse", action="DescribeTasks")
    async with TaskWaiter(policy=every(10)) as waiter:
        error = await failure(
            AuthenticationError, waiter.run("ExportImage", region_id=REGION, params={"ImageId": "m-1"})
        )
    polled = next(request for request in virtual_ecs.requests if request.action == "DescribeTasks")
    assert error.__notes__ == [f"ExportImage was started in {REGION} as task {polled.task_ids[0]}"]
