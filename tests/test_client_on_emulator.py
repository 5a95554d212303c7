"""EcsClient against the emulator: pages, filters, details, cancellation and any operation, with typed answers."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from support.helpers import ELSEWHERE, REASON, REGION, add_tasks, failure, times

from ecs_waiter import ApiError, EcsClient, PollPolicy, Task, TaskStatus, TaskWaiter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio


async def _ids(tasks: AsyncIterator[Task]) -> list[str]:
    return [task.task_id async for task in tasks]


async def test_one_page(virtual_ecs: EcsEmulator) -> None:
    """A page of named tasks is one call, its size that of the batch, its IDs sorted and each once."""
    ids = add_tasks(virtual_ecs, 30)
    async with EcsClient() as client:
        page = await client.describe_tasks(task_ids=[*reversed(ids), *ids], region_id=REGION)
    (request,) = virtual_ecs.requests
    assert request.params["PageSize"] == "30"
    assert list(request.task_ids) == sorted(ids)
    assert {task.task_id for task in page.tasks} == set(ids)
    assert (page.total_count, page.page_number, page.page_size, page.region_id) == (30, 1, 30, REGION)
    assert page.request_id


async def test_a_page_in_the_middle(virtual_ecs: EcsEmulator) -> None:
    """Pages are numbered from 1, and the last one is as short as it is."""
    add_tasks(virtual_ecs, 25)
    async with EcsClient() as client:
        pages = [await client.describe_tasks(region_id=REGION, page_number=n, page_size=10) for n in (1, 2, 3, 4)]
    assert [len(page.tasks) for page in pages] == [10, 10, 5, 0]
    assert len({task.task_id for page in pages for task in page.tasks}) == 25


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250])
async def test_all_pages(virtual_ecs: EcsEmulator, count: int) -> None:
    """Iterating gives every task once, in as many calls as there are pages."""
    ids = add_tasks(virtual_ecs, count)
    async with EcsClient() as client:
        found = await _ids(client.iter_tasks(region_id=REGION))
    assert sorted(found) == ids
    assert len(virtual_ecs.requests) == max(1, -(-count // 100))


async def test_pages_that_shift(virtual_ecs: EcsEmulator) -> None:
    """Tasks that start while one iterates push others to later pages: none is lost, none comes twice."""
    before = add_tasks(virtual_ecs, 350, duration=1000)
    found = []
    async with EcsClient() as client:
        async for task in client.iter_tasks(region_id=REGION):
            found.append(task.task_id)
            if len(found) == 100:
                await asyncio.sleep(1)
                add_tasks(virtual_ecs, 100)
    assert set(before) <= set(found)
    assert len(found) == len(set(found))


async def test_pages_are_fetched_as_they_are_wanted(virtual_ecs: EcsEmulator) -> None:
    """Whoever stops early pays for no further page."""
    add_tasks(virtual_ecs, 250)
    async with EcsClient() as client:
        async for _ in client.iter_tasks(region_id=REGION):
            break
    assert len(virtual_ecs.requests) == 1


async def test_filters(virtual_ecs: EcsEmulator) -> None:
    """Each filter narrows the listing."""
    old = virtual_ecs.add_task(duration=1000)
    await asyncio.sleep(100)
    export = virtual_ecs.add_task(task_action="ExportImage", resource_id="m-export", duration=1000)
    failed = virtual_ecs.add_task(outcome="Failed", error=REASON)
    now = virtual_ecs.now()
    elsewhere = now.astimezone(timezone(timedelta(hours=8)))
    filters: list[tuple[dict[str, Any], set[str]]] = [
        ({}, {old, export, failed}),
        ({"task_action": "ExportImage"}, {export}),
        ({"task_status": "Failed"}, {failed}),
        ({"task_status": TaskStatus.PROCESSING}, {old, export}),
        ({"start_time": now}, {export, failed}),
        ({"start_time": elsewhere}, {export, failed}),
        ({"end_time": now - timedelta(seconds=50)}, {old}),
        ({"start_time": now - timedelta(seconds=200), "end_time": now - timedelta(seconds=50)}, {old}),
        ({"resource_ids": ["m-export", "m-other"]}, {export}),
        ({"task_ids": (old, failed)}, {old, failed}),
        ({"task_ids": iter([old]), "task_status": "Finished"}, set()),
    ]
    async with EcsClient() as client:
        for said, meant in filters:
            assert set(await _ids(client.iter_tasks(region_id=REGION, **said))) == meant, said


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"task_ids": "t-1"}, TypeError),
        ({"task_ids": [5]}, TypeError),
        ({"task_ids": []}, ValueError),
        ({"task_ids": [f"t-{n}" for n in range(101)]}, ValueError),
        ({"task_ids": ["t-1,t-2"]}, ValueError),
        ({"resource_ids": "m-1"}, TypeError),
        ({"resource_ids": []}, ValueError),
        ({"start_time": datetime(2026, 1, 1)}, ValueError),  # noqa: DTZ001 - the time zone is what is missing
        ({"start_time": "2026-01-01"}, TypeError),
        ({"task_status": ""}, ValueError),
        ({"task_action": 5}, TypeError),
        ({"page_number": 0}, ValueError),
        ({"page_size": 101}, ValueError),
        ({"page_size": "10"}, TypeError),
    ],
)
async def test_misuse(virtual_ecs: EcsEmulator, said: dict[str, Any], error: type[Exception]) -> None:
    """What makes no sense is told before any call, naming the argument."""
    async with EcsClient() as client:
        told = await failure(error, client.describe_tasks(region_id=REGION, **said))
        if not said.keys() & {"page_number", "page_size"}:
            with pytest.raises(error):
                client.iter_tasks(region_id=REGION, **said)
    (name,) = said
    assert name in str(told) or "task ID" in str(told)
    assert virtual_ecs.requests == []


async def test_a_detail(virtual_ecs: EcsEmulator) -> None:
    """The detail has the progress in percent, and the reason of a failure."""
    running = virtual_ecs.add_task(duration=100)
    failed = virtual_ecs.add_task(outcome="Failed", error=REASON)
    await asyncio.sleep(45)
    async with EcsClient() as client:
        assert (await client.describe_task_attribute(running, region_id=REGION)).task_process == 45
        detail = await client.describe_task_attribute(failed, region_id=REGION)
    assert (detail.region_id, detail.task_id, detail.task_status) == (REGION, failed, "Failed")
    assert (detail.total_count, detail.success_count, detail.failed_count) == (1, 0, 1)
    assert [(step.error_code, step.error_msg) for step in detail.operations] == [REASON]


async def test_canceling(virtual_ecs: EcsEmulator) -> None:
    """A canceled task is canceled, and canceling returns nothing."""
    task_id = virtual_ecs.add_task(duration=100)
    async with EcsClient() as client:
        await client.cancel_task(task_id, region_id=REGION)
        page = await client.describe_tasks(task_ids=[task_id], region_id=REGION)
    assert page.tasks[0].task_status == TaskStatus.DELETED


@pytest.mark.parametrize("operation", ["describe_task_attribute", "cancel_task"])
async def test_an_unknown_task(virtual_ecs: EcsEmulator, operation: str) -> None:
    """An unknown task is an ApiError with the service's code, its request ID and the status."""
    async with EcsClient() as client:
        error = await failure(ApiError, getattr(client, operation)("t-unknown", region_id=REGION))
    assert (error.code, error.http_status) == ("InvalidTaskId.NotFound", 400)
    assert error.request_id
    assert error.request_id in str(error)


async def test_any_operation(virtual_ecs: EcsEmulator) -> None:
    """Any operation can be called; what is nested is flattened, and the answer is the parsed JSON."""
    params = {"ImageId": "m-1", "Tag": [{"Key": "a", "Value": "b"}], "DryRun": False, "Size": 5}
    async with EcsClient() as client:
        answer = await client.call("ExportImage", region_id=REGION, params=params)
    assert answer["TaskId"].startswith("t-")
    assert virtual_ecs.requests[0].params == {
        "RegionId": REGION, "ImageId": "m-1", "Tag.1.Key": "a", "Tag.1.Value": "b", "DryRun": "false", "Size": "5",
    }  # fmt: skip


async def test_an_unknown_operation(virtual_ecs: EcsEmulator) -> None:
    """An operation that the service does not know is its error, not ours."""
    async with EcsClient() as client:
        error = await failure(ApiError, client.call("MakeCoffee"))
    assert error.code == "InvalidAction.NotFound"


@pytest.mark.parametrize("action", ["", "Export Image", "Export/Image", "\u00c9xport", "x" * 200])
async def test_no_operation(virtual_ecs: EcsEmulator, action: str) -> None:
    """What cannot be an operation's name is a ValueError before any call."""
    async with EcsClient() as client:
        await failure(ValueError, client.call(action))
    assert virtual_ecs.requests == []


async def test_one_region_by_call_another_by_parameter(virtual_ecs: EcsEmulator) -> None:
    """A region among the parameters that differs from the one passed is misuse: it would start here and wait there."""
    params = {"ImageId": "m-1", "RegionId": ELSEWHERE}
    async with TaskWaiter() as waiter, EcsClient() as client:
        await failure(ValueError, client.call("ExportImage", region_id=REGION, params=params))
        await failure(ValueError, waiter.run("ExportImage", region_id=REGION, params=params))
    assert virtual_ecs.requests == []


async def test_the_rate_holds_for_calls(virtual_ecs: EcsEmulator) -> None:
    """The limiter's ceiling holds for every kind of call together."""
    task_id = virtual_ecs.add_task(duration=1000)
    async with EcsClient(policy=PollPolicy(max_calls_per_second=5, max_in_flight=100)) as client:
        calls = [client.describe_tasks(region_id=REGION), client.describe_task_attribute(task_id, region_id=REGION)]
        await asyncio.gather(*calls, *(client.call("DescribeTasks", region_id=REGION) for _ in range(18)))
    assert len(virtual_ecs.requests) == 20
    at = sorted([*times(virtual_ecs), *times(virtual_ecs, "DescribeTaskAttribute")])
    assert all(later - sooner >= 1 for sooner, later in zip(at, at[5:], strict=False))


async def test_a_closed_client(virtual_ecs: EcsEmulator) -> None:
    """A closed client says so."""
    async with EcsClient() as client:
        await client.describe_tasks(region_id=REGION)
    await failure(RuntimeError, client.describe_tasks(region_id=REGION))


async def test_a_session_of_ones_own(virtual_ecs: EcsEmulator) -> None:
    """A session that was given is used and stays open."""
    async with virtual_ecs.session() as session:
        async with EcsClient(session=session) as client:
            await client.describe_tasks(region_id=REGION)
        assert not session.closed
    assert len(virtual_ecs.requests) == 1
