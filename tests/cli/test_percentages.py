"""How far tasks are, looked up slowly."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from ecs_waiter import EcsClient
from ecs_waiter.cli.interrupt import in_background
from ecs_waiter.cli.live import Percentages

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio


async def test_pace(virtual_ecs: EcsEmulator) -> None:
    """Those on show are looked up in turn, one at a time, each again after a while; nobody else is."""
    ids = [virtual_ecs.add_task(duration=100) for _ in range(3)]
    async with EcsClient() as client:
        tasks = (await client.describe_tasks(task_ids=ids)).tasks
        percentages = Percentages(client)
        async with in_background(percentages.look_up()):
            percentages.show(tasks[:2])
            await asyncio.sleep(60)
        assert [percentages.of(task.task_id) is not None for task in tasks] == [True, True, False]
        asked = len(virtual_ecs.requests) - 1
        assert 2 * 3 <= asked <= 2 * 5
        await asyncio.sleep(60)
        assert len(virtual_ecs.requests) - 1 == asked


async def test_what_is_not_told_is_not_asked_again(virtual_ecs: EcsEmulator) -> None:
    """A task of which the service tells no progress is asked once; a passing fault is no such thing."""
    ids = [virtual_ecs.add_task(duration=1000) for _ in range(2)]
    virtual_ecs.inject(
        "status",
        status=400,
        code="InvalidTaskId.TaskActionNotSupport",
        action="DescribeTaskAttribute",
        where=lambda request: request.params["TaskId"] == ids[0],
    )
    passing = virtual_ecs.inject(
        "status",
        status=503,
        action="DescribeTaskAttribute",
        where=lambda request: request.params["TaskId"] == ids[1],
    )
    async with EcsClient() as client:
        percentages = Percentages(client)
        async with in_background(percentages.look_up()):
            percentages.show((await client.describe_tasks(task_ids=ids)).tasks)
            await asyncio.sleep(60)
            passing.remove()
            await asyncio.sleep(60)
        assert percentages.of(ids[0]) is None
        assert percentages.of(ids[1]) is not None
    asked = [request.params["TaskId"] for request in virtual_ecs.requests if request.action == "DescribeTaskAttribute"]
    assert asked.count(ids[0]) == 1
