"""A task's progress, its reason of failure, and its cancellation."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from support.curling import curl

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio


async def test_progress_moves(virtual_ecs: EcsEmulator) -> None:
    """The percentage follows the time and reaches 100 only when the task has finished."""
    task_id = virtual_ecs.add_task(duration=200)
    seen = []
    for _ in range(5):
        reply = await curl(virtual_ecs, "DescribeTaskAttribute", TaskId=task_id)
        seen.append((reply.data["TaskProcess"], reply.data["TaskStatus"], reply.data["SuccessCount"]))
        await asyncio.sleep(50)
    assert seen == [
        ("0%", "Processing", 0),
        ("25%", "Processing", 0),
        ("50%", "Processing", 0),
        ("75%", "Processing", 0),
        ("100%", "Finished", 1),
    ]


async def test_endless_task_stands_at_zero(virtual_ecs: EcsEmulator) -> None:
    """A task of thirty years makes no progress during a test."""
    task_id = virtual_ecs.add_task(duration=1e9)
    await asyncio.sleep(1e6)
    reply = await curl(virtual_ecs, "DescribeTaskAttribute", TaskId=task_id)
    assert (reply.data["TaskProcess"], reply.data["TaskStatus"]) == ("0%", "Processing")


async def test_failure_tells_its_reason(virtual_ecs: EcsEmulator) -> None:
    """The reason stands in OperationProgressSet, and nowhere else."""
    error = ("ImageFormatMismatch", "not a qcow2 file")
    task_id = virtual_ecs.add_task(duration=10, outcome="Failed", error=error, resource_id="m-1")
    await asyncio.sleep(10)
    reply = await curl(virtual_ecs, "DescribeTaskAttribute", TaskId=task_id)
    assert reply.data["TaskProcess"] == "99%"
    assert (reply.data["TotalCount"], reply.data["SuccessCount"], reply.data["FailedCount"]) == (1, 0, 1)
    assert reply.data["OperationProgressSet"] == {
        "OperationProgress": [
            {
                "OperationStatus": "Failed",
                "ErrorCode": "ImageFormatMismatch",
                "ErrorMsg": "not a qcow2 file",
                "RelatedItemSet": {"RelatedItem": [{"Name": "ResourceId", "Value": "m-1"}]},
            }
        ]
    }
    assert b"qcow2" not in (await curl(virtual_ecs, "DescribeTasks")).body


async def test_outcome_that_goes_on(virtual_ecs: EcsEmulator) -> None:
    """A task whose outcome is not an end has no FinishedTime and can be canceled."""
    task_id = virtual_ecs.add_task(outcome="Paused")
    (row,) = (await curl(virtual_ecs, "DescribeTasks")).data["TaskSet"]["Task"]
    assert row["TaskStatus"] == "Paused"
    assert "FinishedTime" not in row
    assert (await curl(virtual_ecs, "CancelTask", TaskId=task_id)).status == 200


@pytest.mark.parametrize("word", ["Waiting", "finished", "Weird"])
async def test_any_word_can_be_the_status(virtual_ecs: EcsEmulator, word: str) -> None:
    """A task shows any status, including one that the service does not have, until its outcome."""
    virtual_ecs.add_task(status=word, duration=60)
    virtual_ecs.plan("ImportImage", status=word, duration=60)
    await curl(virtual_ecs, "ImportImage")

    async def statuses() -> list[str]:
        return [row["TaskStatus"] for row in (await curl(virtual_ecs, "DescribeTasks")).data["TaskSet"]["Task"]]

    assert await statuses() == [word, word]
    await asyncio.sleep(60)
    assert await statuses() == ["Finished", "Finished"]


async def test_cancel_deletes_a_running_task(virtual_ecs: EcsEmulator) -> None:
    """A canceled task is Deleted at once and stays where it was."""
    task_id = virtual_ecs.add_task(duration=100, task_action="ExportImage")
    await asyncio.sleep(40)
    reply = await curl(virtual_ecs, "CancelTask", TaskId=task_id)
    assert (reply.status, set(reply.data)) == (200, {"RequestId"})
    await asyncio.sleep(100)
    reply = await curl(virtual_ecs, "DescribeTaskAttribute", TaskId=task_id)
    assert reply.data["TaskStatus"] == "Deleted"
    assert reply.data["TaskProcess"] == "40%"
    assert reply.data["FinishedTime"] == "2026-01-01T00:00:40Z"


async def test_cancel_refuses_with_the_documented_codes(virtual_ecs: EcsEmulator) -> None:
    """An unknown task is 400, an ended one and one of another kind 403, each with its own code."""
    ended = virtual_ecs.add_task()
    other = virtual_ecs.add_task(task_action="RedeployInstance", duration=60)
    for task_id, expected in (
        ("t-none", (400, "InvalidTaskId.NotFound")),
        (ended, (403, "InvalidTaskId.IncorrectTaskStatus")),
        (other, (403, "InvalidTaskId.TaskActionNotSupport")),
    ):
        reply = await curl(virtual_ecs, "CancelTask", TaskId=task_id)
        assert (reply.status, reply.code) == expected
    virtual_ecs.inject("status", status=403, code="CancelTaskFailed", action="CancelTask")
    assert (await curl(virtual_ecs, "CancelTask", TaskId=ended)).code == "CancelTaskFailed"


@pytest.mark.parametrize("action", ["CancelTask", "DescribeTaskAttribute"])
async def test_task_id_is_mandatory(virtual_ecs: EcsEmulator, action: str) -> None:
    """Operations on one task miss its ID."""
    reply = await curl(virtual_ecs, action)
    assert (reply.status, reply.code) == (400, "MissingParameter")
    assert "TaskId" in reply.data["Message"]
