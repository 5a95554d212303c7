"""web_service.py: its application in memory and on virtual time, its waiter closed with it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from ecs_waiter.emulator.memory import MemoryConnector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from ecs_waiter.emulator import EcsEmulator

WANTED = {"bucket": "images", "path": "base.qcow2"}


@pytest.fixture
def app(example: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> web.Application:
    """The application that the program runs."""
    ran: list[web.Application] = []
    monkeypatch.setattr(web, "run_app", lambda app, **_: ran.append(app))
    example("web_service.py")
    return ran[0]


@asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[aiohttp.ClientSession]:
    """A session whose connections lead to the application, without a socket."""
    runner = web.AppRunner(app)
    await runner.setup()
    assert runner.server is not None
    try:
        async with aiohttp.ClientSession("http://service", connector=MemoryConnector(runner.server)) as session:
            yield session
    finally:
        await runner.cleanup()


@pytest.mark.asyncio
async def test_import(virtual_ecs: EcsEmulator, app: web.Application) -> None:
    """An import is accepted at once; who asks for its task hangs on until it ends, and no longer than asked."""
    virtual_ecs.plan("ImportImage", duration=20)
    async with served(app) as session:
        async with session.post("/cn-hangzhou/imports", json=WANTED) as answer:
            assert answer.status == 202
            task = answer.headers["Location"]
        async with session.get(task) as answer:
            assert (answer.status, await answer.json()) == (202, {"status": "Processing"})
        async with session.get(task, params={"wait": "30"}) as answer:
            told = await answer.json()
            assert (answer.status, told["status"]) == (200, "Finished")
            assert told["resource_id"].startswith("m-")


@pytest.mark.asyncio
async def test_many_clients(virtual_ecs: EcsEmulator, app: web.Application) -> None:
    """A hundred clients that hang on for a hundred tasks cost the polls of one."""
    ids = [virtual_ecs.add_task(duration=20) for _ in range(100)]
    async with served(app) as session:

        async def status(task_id: str) -> int:
            async with session.get(f"/cn-hangzhou/tasks/{task_id}", params={"wait": "60"}) as answer:
                return answer.status

        assert await asyncio.gather(*map(status, ids)) == [200] * 100
    assert len(virtual_ecs.requests) < 20


@pytest.mark.asyncio
async def test_failures(virtual_ecs: EcsEmulator, app: web.Application) -> None:
    """A failed task is 409 with its reason, a caller's mistake 400, a refusal by the service 502."""
    failed = virtual_ecs.add_task(outcome="Failed", error=("ImageFormatMismatch", "not a qcow2 file"))
    virtual_ecs.inject("refuse", region_id="us-west-1")
    async with served(app) as session:
        async with session.get(f"/cn-hangzhou/tasks/{failed}", params={"wait": "5"}) as answer:
            assert answer.status == 409
            assert "not a qcow2 file" in await answer.text()
        async with session.get("/cn-hangzhou/tasks/t-1", params={"wait": "-5"}) as answer:
            assert answer.status == 400
        async with session.post("/cn-hangzhou/imports", json=["base.qcow2"]) as answer:
            assert answer.status == 400
        async with session.post("/us-west-1/imports", json=WANTED) as answer:
            assert answer.status == 502
