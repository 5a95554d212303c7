"""DescribeTasks answers with the service's shapes, filters and pages."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from support.curling import curl

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio


async def test_answer_has_the_documented_shape(virtual_ecs: EcsEmulator) -> None:
    """Names and types are those of the reference page, with SupportCancel as text and times in UTC."""
    virtual_ecs.add_task(task_id="t-1", resource_id="m-1", duration=60)
    await asyncio.sleep(90)
    reply = await curl(virtual_ecs, "DescribeTasks")
    assert reply.status == 200
    request_id = reply.data.pop("RequestId")
    assert len(request_id) == 36
    assert request_id == request_id.upper()
    assert reply.headers["x-acs-request-id"] == request_id
    assert reply.data == {
        "PageSize": 10,
        "PageNumber": 1,
        "TotalCount": 1,
        "RegionId": "cn-hangzhou",
        "TaskSet": {
            "Task": [
                {
                    "CreationTime": "2026-01-01T00:00:00Z",
                    "FinishedTime": "2026-01-01T00:01:00Z",
                    "TaskStatus": "Finished",
                    "SupportCancel": "true",
                    "TaskId": "t-1",
                    "TaskAction": "ImportImage",
                    "ResourceId": "m-1",
                }
            ]
        },
    }


async def test_running_task_has_no_finished_time(virtual_ecs: EcsEmulator) -> None:
    """A task that still runs is Processing and lacks FinishedTime."""
    virtual_ecs.add_task(duration=60, task_action="RedeployInstance")
    (row,) = (await curl(virtual_ecs, "DescribeTasks")).data["TaskSet"]["Task"]
    assert row["TaskStatus"] == "Processing"
    assert row["SupportCancel"] == "false"
    assert "FinishedTime" not in row


async def test_page_size_is_ten_by_default(virtual_ecs: EcsEmulator) -> None:
    """A batch of IDs without PageSize silently returns ten tasks, as the service does."""
    ids = [virtual_ecs.add_task() for _ in range(25)]
    reply = await curl(virtual_ecs, "DescribeTasks", TaskIds=",".join(ids))
    assert (len(reply.task_ids), reply.data["TotalCount"]) == (10, 25)


async def test_pages_hold_every_task_once(virtual_ecs: EcsEmulator) -> None:
    """Pages together hold all tasks, newest first; a page past the end is empty."""
    ids = []
    for _ in range(5):
        ids.append(virtual_ecs.add_task())
        await asyncio.sleep(1)
    pages = [await curl(virtual_ecs, "DescribeTasks", PageSize=2, PageNumber=number) for number in (1, 2, 3, 4)]
    assert [page.task_ids for page in pages] == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]], []]
    assert {page.data["TotalCount"] for page in pages} == {5}


@pytest.mark.parametrize(
    "params",
    [
        {"PageSize": "0"},
        {"PageSize": "101"},
        {"PageSize": "ten"},
        {"PageNumber": "0"},
        {"PageNumber": "-1"},
        {"PageNumber": "9" * 30},
        {"StartTime": "yesterday"},
        {"EndTime": "2026-01-01T00:00:00+08:00"},
        {"TaskIds": ",".join(f"t-{n}" for n in range(101))},
        {f"ResourceIds.{n}": f"m-{n}" for n in range(101)},
    ],
)
async def test_invalid_parameter_is_refused(virtual_ecs: EcsEmulator, params: dict[str, str]) -> None:
    """What a parameter cannot be is an error 400 that names it."""
    reply = await curl(virtual_ecs, "DescribeTasks", **params)
    assert (reply.status, reply.code) == (400, "InvalidParameter")
    assert next(iter(params)).partition(".")[0] in reply.data["Message"]


async def test_hundred_ids_are_not_too_many(virtual_ecs: EcsEmulator) -> None:
    """TaskIds takes up to a hundred IDs."""
    ids = [virtual_ecs.add_task() for _ in range(100)]
    reply = await curl(virtual_ecs, "DescribeTasks", TaskIds=",".join(ids), PageSize=100)
    assert sorted(reply.task_ids) == sorted(ids)


async def test_unknown_ids_are_absent(virtual_ecs: EcsEmulator) -> None:
    """An ID that the region does not have is missing and not an error, even if another region has it."""
    here = virtual_ecs.add_task()
    there = virtual_ecs.add_task(region_id="us-west-1")
    reply = await curl(virtual_ecs, "DescribeTasks", TaskIds=f"{here},{there},t-none")
    assert (reply.task_ids, reply.data["TotalCount"]) == ([here], 1)
    assert (await curl(virtual_ecs, "DescribeTasks", region="us-west-1")).task_ids == [there]


async def test_filters_narrow_the_list(virtual_ecs: EcsEmulator) -> None:
    """Action, status and resource IDs each narrow the list; together they narrow it more."""
    done = virtual_ecs.add_task(resource_id="m-1")
    failed = virtual_ecs.add_task(outcome="Failed", resource_id="m-2")
    running = virtual_ecs.add_task(duration=1e9, task_action="ExportImage", resource_id="m-3")
    for params, expected in (
        ({"TaskAction": "ImportImage"}, {done, failed}),
        ({"TaskAction": "NoSuchAction"}, set()),
        ({"TaskStatus": "Finished"}, {done}),
        ({"TaskStatus": "Failed"}, {failed}),
        ({"TaskStatus": "Processing"}, {running}),
        ({"ResourceIds.1": "m-1", "ResourceIds.2": "m-3"}, {done, running}),
        ({"ResourceIds.1": "m-1", "TaskStatus": "Failed"}, set()),
        ({"TaskIds": f"{done},{running}", "TaskStatus": "Processing"}, {running}),
    ):
        assert set((await curl(virtual_ecs, "DescribeTasks", **params)).task_ids) == expected


async def test_other_statuses_are_ignored(virtual_ecs: EcsEmulator) -> None:
    """A TaskStatus that the page does not name filters nothing."""
    task_id = virtual_ecs.add_task()
    assert (await curl(virtual_ecs, "DescribeTasks", TaskStatus="Waiting")).task_ids == [task_id]


async def test_time_range_includes_its_ends(virtual_ecs: EcsEmulator) -> None:
    """StartTime and EndTime bound the creation, both ends included, written in seconds or minutes."""
    first = virtual_ecs.add_task()
    await asyncio.sleep(60.5)
    second = virtual_ecs.add_task()
    for params, expected in (
        ({"StartTime": "2026-01-01T00:00:01Z"}, [second]),
        ({"StartTime": "2026-01-01T00:01:00Z"}, [second]),
        ({"StartTime": "2026-01-01T00:01Z"}, [second]),
        ({"EndTime": "2026-01-01T00:00:59Z"}, [first]),
        ({"EndTime": "2026-01-01T00:01:00Z"}, [second, first]),
        ({"StartTime": "2026-01-01T00:00:01Z", "EndTime": "2026-01-01T00:00:59Z"}, []),
    ):
        assert (await curl(virtual_ecs, "DescribeTasks", **params)).task_ids == expected


async def test_task_is_listed_late(virtual_ecs: EcsEmulator) -> None:
    """`visible_after` hides a task for that many seconds."""
    task_id = virtual_ecs.add_task(visible_after=30)
    await asyncio.sleep(29)
    assert (await curl(virtual_ecs, "DescribeTasks", TaskIds=task_id)).task_ids == []
    assert (await curl(virtual_ecs, "DescribeTaskAttribute", TaskId=task_id)).code == "InvalidTaskId.NotFound"
    await asyncio.sleep(1)
    assert (await curl(virtual_ecs, "DescribeTasks", TaskIds=task_id)).task_ids == [task_id]


async def test_group_ignores_the_other_conditions(virtual_ecs: EcsEmulator) -> None:
    """TaskGroupId lists the tasks of a group in the region, whatever else is asked for; pages still apply."""
    ids = [virtual_ecs.add_task(task_group_id="tg-1", outcome=word) for word in ("Finished", "Failed")]
    virtual_ecs.add_task(task_group_id="tg-2")
    virtual_ecs.add_task(task_group_id="tg-1", region_id="us-west-1")
    other = virtual_ecs.add_task()
    for params in (
        {},
        {"TaskIds": other},
        {"TaskIds": ",".join(f"t-{n}" for n in range(101))},
        {"TaskStatus": "Processing", "TaskAction": "ExportImage", "ResourceIds.1": "m-1", "StartTime": "yesterday"},
    ):
        assert sorted((await curl(virtual_ecs, "DescribeTasks", TaskGroupId="tg-1", **params)).task_ids) == sorted(ids)
    page = await curl(virtual_ecs, "DescribeTasks", TaskGroupId="tg-1", PageSize=1)
    assert (len(page.task_ids), page.data["TotalCount"]) == (1, 2)
    assert (await curl(virtual_ecs, "DescribeTasks", TaskGroupId="tg-none")).task_ids == []
    assert (await curl(virtual_ecs, "DescribeTasks", TaskGroupId="tg-1", region=None)).code == "MissingParameter"


async def test_archived_snapshots_are_tasks(virtual_ecs: EcsEmulator) -> None:
    """ArchiveSnapshot is a TaskAction like the others."""
    task_id = virtual_ecs.add_task(task_action="ArchiveSnapshot", resource_id="s-1")
    virtual_ecs.add_task()
    reply = await curl(virtual_ecs, "DescribeTasks", TaskAction="ArchiveSnapshot")
    assert reply.task_ids == [task_id]
    assert (await curl(virtual_ecs, "CancelTask", TaskId=task_id)).code == "InvalidTaskId.TaskActionNotSupport"


async def test_region_is_mandatory(virtual_ecs: EcsEmulator) -> None:
    """Without RegionId it is MissingParameter, as the reference page says."""
    reply = await curl(virtual_ecs, "DescribeTasks", region=None)
    assert (reply.status, reply.code) == (400, "MissingParameter")
    assert "RegionId" in reply.data["Message"]


async def test_unknown_region_is_refused(virtual_ecs: EcsEmulator) -> None:
    """An unknown region is InvalidRegionId.NotFound, until a task opens it."""
    reply = await curl(virtual_ecs, "DescribeTasks", region="cn-atlantis")
    assert (reply.status, reply.code) == (400, "InvalidRegionId.NotFound")
    assert set(reply.data) == {"Code", "Message", "RequestId", "HostId", "Recommend"}
    virtual_ecs.add_task(region_id="cn-atlantis")
    assert (await curl(virtual_ecs, "DescribeTasks", region="cn-atlantis")).status == 200
