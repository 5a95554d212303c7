"""`start`: start a task and get its IDs at once. What can go wrong with a start is in test_starting.py and test_run.py."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from typing import TYPE_CHECKING, Any

import pytest
from support.helpers import ELSEWHERE, REGION, clock, failure, since

from ecs_waiter import (
    ApiError,
    ServiceUnavailableError,
    StartedTask,
    TaskNotFoundError,
    TaskWaiter,
    WaiterClosedError,
    WaitTimeoutError,
)

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio


async def test_the_ids(virtual_ecs: EcsEmulator) -> None:
    """A start returns the IDs of the answer and the token that was sent, and waits for nothing."""
    virtual_ecs.plan("ImportImage", duration=1000)
    start = clock()
    async with TaskWaiter() as waiter:
        started = await waiter.start("ImportImage", region_id=ELSEWHERE, params={"ImageName": "a"})
        assert since(start) == 0
        (listed,) = [task async for task in waiter.client.iter_tasks(region_id=ELSEWHERE)]
    (request,) = [each for each in virtual_ecs.requests if each.action == "ImportImage"]
    assert started == StartedTask(
        region_id=ELSEWHERE,
        task_id=listed.task_id,
        resource_id=listed.resource_id,
        request_id=started.request_id,
        client_token=request.params["ClientToken"],
    )
    assert started.request_id
    with pytest.raises(dataclasses.FrozenInstanceError):
        started.task_id = None  # type: ignore[misc]


@pytest.mark.parametrize(
    ("answer", "resource_id"),
    [
        ({"ImageId": "m-1"}, "m-1"),
        ({"SnapshotId": "s-1"}, "s-1"),
        ({"InstanceId": "i-1"}, "i-1"),
        ({"ImageId": ""}, None),
        ({"ImageId": 7}, None),
        ({"ImageId": "m\n1"}, "m\\n1"),
        ({}, None),
    ],
)
async def test_the_resource(virtual_ecs: EcsEmulator, answer: dict[str, Any], resource_id: str | None) -> None:
    """The resource is the one that the answer names, if it names one."""
    virtual_ecs.inject("body", content={"TaskId": "t-1", **answer}, action="ExportImage")
    async with TaskWaiter() as waiter:
        started = await waiter.start("ExportImage", params={"ImageId": "m-0"})
    assert started == StartedTask(REGION, "t-1", resource_id, "", None)


async def test_ones_own_token(virtual_ecs: EcsEmulator) -> None:
    """A token of the caller's is sent and returned; the same one starts once."""
    async with TaskWaiter() as waiter:
        both = [await waiter.start("ImportImage", params={"ClientToken": "mine"}) for _ in range(2)]
    assert {started.client_token for started in both} == {"mine"}
    assert both[0].task_id == both[1].task_id


async def test_no_task(virtual_ecs: EcsEmulator, caplog: pytest.LogCaptureFixture) -> None:
    """A change that was done at once and a dry run that would succeed have no task, and a log line says why."""
    caplog.set_level(logging.INFO, "ecs_waiter")
    virtual_ecs.plan("ModifyDiskSpec", at_once=True)
    async with TaskWaiter() as waiter:
        at_once = await waiter.start("ModifyDiskSpec", params={"DiskId": "d-1"})
        dry = await waiter.start("ImportImage", params={"ImageName": "a", "DryRun": True})
    assert (at_once.task_id, dry.task_id, dry.client_token) == (None, None, None)
    assert [record.getMessage() for record in caplog.records if record.name == "ecs_waiter"] == [
        f"ModifyDiskSpec in {REGION} was done at once: there is nothing to wait for",
        f"ImportImage in {REGION}: the request would succeed; it was a dry run, so nothing was started",
    ]


async def test_a_deadline(virtual_ecs: EcsEmulator) -> None:
    """A deadline that passes before the answer raises, and says how to find out."""
    virtual_ecs.inject("hang")
    start = clock()
    async with TaskWaiter() as waiter:
        error = await failure(WaitTimeoutError, waiter.start("ImportImage", timeout=12))
    assert since(start) == 12
    assert error.pending == ()
    assert "was not answered within 12 s: it may have started" in str(error)


async def test_closing(virtual_ecs: EcsEmulator) -> None:
    """A waiter that is closed under a start raises WaiterClosedError, and one that was closed before, too."""
    virtual_ecs.inject("hang")
    waiter = TaskWaiter()
    starting = asyncio.create_task(waiter.start("ImportImage"))
    await asyncio.sleep(5)
    await waiter.aclose()
    assert "may have started" in str(await failure(WaiterClosedError, starting))
    await failure(WaiterClosedError, waiter.start("ImportImage"))
    await failure(WaiterClosedError, waiter.cancel_task("t-1"))


async def test_errors(virtual_ecs: EcsEmulator) -> None:
    """A start that is rejected or in doubt raises what `run` raises."""
    async with TaskWaiter() as waiter:
        assert (await failure(ApiError, waiter.start("ExportImage"))).code == "MissingParameter"
        virtual_ecs.inject("reset", times=1)
        error = await failure(ServiceUnavailableError, waiter.start("RedeployInstance", params={"InstanceId": "i-1"}))
        assert "may have started" in str(error)
        await failure(ValueError, waiter.start("CopyImage"))
        await failure(TypeError, waiter.start("ImportImage", params=[("a", "b")]))  # type: ignore[arg-type]
        await failure(ValueError, waiter.start("ImportImage", timeout=-1))


# -- the region of a waiter -------------------------------------------------------------------------------------------


async def test_a_waiters_region(virtual_ecs: EcsEmulator) -> None:
    """A waiter's own region is the default of all its methods, before that of the environment."""
    task_id = virtual_ecs.add_task(region_id=ELSEWHERE, task_action="ImportImage")
    async with TaskWaiter(region_id=ELSEWHERE) as waiter:
        assert (await waiter.submit(task_id)).region_id == ELSEWHERE
        assert (await waiter.wait([task_id]))[task_id].region_id == ELSEWHERE
        assert (await waiter.wait_for_task(task_id)).region_id == ELSEWHERE
        assert [event.region_id async for event in waiter.events([task_id])] == [ELSEWHERE]
        assert (await waiter.start("ImportImage")).region_id == ELSEWHERE
        assert await waiter.cancel_task(task_id) is False
        assert {request.region_id for request in virtual_ecs.requests} == {ELSEWHERE}
        # What names a region is about that one.
        here = virtual_ecs.add_task()
        assert (await waiter.wait([here], region_id=REGION))[here].region_id == REGION
        assert (await waiter.wait({REGION: [here]}))[here].region_id == REGION
        assert (await waiter.start("ImportImage", params={"RegionId": REGION})).region_id == REGION


async def test_a_region_that_is_none() -> None:
    """A waiter's region is checked when the waiter is made."""
    with pytest.raises(ValueError, match="region's name"):
        TaskWaiter(region_id="evil.example.com/")


# -- canceling --------------------------------------------------------------------------------------------------------


async def test_cancel_task(virtual_ecs: EcsEmulator) -> None:
    """Canceling is True where it was accepted, False where the task has ended; everything else is an error."""
    task_id, other = virtual_ecs.add_task(task_action="ImportImage", duration=100), virtual_ecs.add_task(duration=100)
    async with TaskWaiter() as waiter:
        assert await waiter.cancel_task(task_id) is True
        assert await waiter.cancel_task(task_id) is False
        error = await failure(TaskNotFoundError, waiter.cancel_task("t-unknown"))
        assert isinstance(error.__cause__, ApiError)
        virtual_ecs.inject("status", status=403, code="Forbidden.RAM", action="CancelTask")
        assert (await failure(ApiError, waiter.cancel_task(other))).code == "Forbidden.RAM"
        await failure(ValueError, waiter.cancel_task("a,b"))
