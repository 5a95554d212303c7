"""Starting is not idempotent: what may have happened is not done twice, unless a ClientToken makes it safe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from helpers import REGION, clock, failure, since
from hostile import Asked, hostile, page, row

from ecs_waiter import (
    EcsClient,
    PollPolicy,
    ServiceUnavailableError,
    TaskFailedError,
    TaskWaiter,
    WaitTimeoutError,
)

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio

# What may have happened although no good answer came.
DOUBTFUL: list[tuple[str, dict[str, Any]]] = [
    ("status", {"status": 503}),
    ("status", {"status": 503, "executed": True}),
    ("status", {"status": 403, "body": "html"}),
    ("reset", {"when": "before"}),
    ("reset", {"when": "middle"}),
    ("truncate", {}),
    ("hang", {}),
    ("body", {"content": []}),
]


@pytest.mark.parametrize(("kind", "settings"), DOUBTFUL)
async def test_a_doubtful_start(virtual_ecs: EcsEmulator, kind: str, settings: dict[str, Any]) -> None:
    """What may have started is not started again: the error says so."""
    virtual_ecs.inject(kind, times=1, **settings)
    async with EcsClient() as client:
        call = client.call("ExportImage", region_id=REGION, params={"ImageId": "m-1"})
        error = await failure(ServiceUnavailableError, call)
    assert "may have started" in str(error)
    assert len(virtual_ecs.requests) == 1


@pytest.mark.parametrize(("kind", "settings"), DOUBTFUL)
async def test_a_doubtful_start_with_a_token(virtual_ecs: EcsEmulator, kind: str, settings: dict[str, Any]) -> None:
    """With a ClientToken, which `run` adds by itself, the start is tried again and starts one task."""
    virtual_ecs.inject(kind, times=1, action="ImportImage", **settings)
    async with TaskWaiter() as waiter:
        task = await waiter.run("ImportImage", region_id=REGION)
    tokens = {request.params.get("ClientToken") for request in virtual_ecs.requests if request.action == "ImportImage"}
    assert len(tokens) == 1
    async with EcsClient() as client:
        assert [listed async for listed in client.iter_tasks(REGION)] == [task]


async def test_a_throttled_start(virtual_ecs: EcsEmulator) -> None:
    """What surely did not happen is tried again, with or without a token."""
    virtual_ecs.inject("throttle", times=2, action="ExportImage")
    async with TaskWaiter() as waiter:
        task = await waiter.run("ExportImage", region_id=REGION, params={"ImageId": "m-1"})
    assert task is not None
    assert [request.action for request in virtual_ecs.requests].count("ExportImage") == 3


async def test_a_refused_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that was refused started nothing: the start is tried again, and the error casts no doubt."""
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "example-key-id")
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "example-key-secret")
    policy = PollPolicy(outage_budget=0.01)
    async with EcsClient(endpoint="http://127.0.0.1:1", policy=policy) as client:
        error = await failure(ServiceUnavailableError, client.call("ExportImage", region_id=REGION))
    assert error.sent is False
    assert "may have started" not in str(error)
    assert isinstance(error.__cause__, ServiceUnavailableError)
    assert isinstance(error.__cause__.__cause__, aiohttp.ClientConnectorError)


async def test_a_change_done_at_once(virtual_ecs: EcsEmulator) -> None:
    """An answer without a task's ID makes `run` return None."""
    virtual_ecs.plan("ModifyDiskSpec", at_once=True)
    async with TaskWaiter() as waiter:
        assert await waiter.run("ModifyDiskSpec", region_id=REGION, params={"DiskId": "d-1"}) is None


async def test_a_deadline_before_the_answer(virtual_ecs: EcsEmulator) -> None:
    """A deadline that passes before the start is answered is a timeout without pending IDs."""
    virtual_ecs.inject("hang", action="ExportImage")
    start = clock()
    async with TaskWaiter() as waiter:
        run = waiter.run("ExportImage", region_id=REGION, params={"ImageId": "m-1"}, timeout=10)
        error = await failure(WaitTimeoutError, run)
    assert (error.pending, error.results, since(start)) == ((), {}, 10)


async def test_one_deadline_for_start_and_task(virtual_ecs: EcsEmulator) -> None:
    """Start and task together have the one deadline."""
    virtual_ecs.plan("ImportImage", duration=100)
    virtual_ecs.inject("delay", action="ImportImage", seconds=6)
    start = clock()
    async with TaskWaiter() as waiter:
        error = await failure(WaitTimeoutError, waiter.run("ImportImage", region_id=REGION, timeout=10))
    assert (len(error.pending), since(start)) == (1, 10)


async def test_a_started_task_that_fails(virtual_ecs: EcsEmulator) -> None:
    """A started task's failure is raised with its reason."""
    virtual_ecs.plan("ImportImage", outcome="Failed", error=("C", "why"))
    async with TaskWaiter() as waiter:
        assert "C: why" in str(await failure(TaskFailedError, waiter.run("ImportImage", region_id=REGION)))


async def test_a_start_has_a_connection_of_its_own() -> None:
    """A start never rides on an idle connection, while reads share one."""

    def answer(asked: Asked) -> Any:
        return page(row()) if asked.action == "DescribeTasks" else {"RequestId": "R", "TaskId": "t-1"}

    with hostile(answer) as service:
        async with EcsClient() as client:
            for action in ("DescribeTasks", "ExportImage", "ExportImage", "DescribeTasks"):
                await client.call(action)
        assert [asked.connection for asked in service.asked] == [1, 2, 3, 1]
