"""The environment: endpoint, region and keys are taken from it as they are at the time of the call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.helpers import ELSEWHERE, failure

from ecs_waiter import (
    AuthenticationError,
    EcsClient,
    StaticCredentials,
    TaskWaiter,
    wait_for_task,
    wait_for_tasks,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecs_waiter.emulator import EcsEmulator

ENDPOINT, REGION = "ECS_WAITER_ENDPOINT", "ALIBABA_CLOUD_REGION_ID"
FACES: list[Callable[..., object]] = [EcsClient, TaskWaiter]


@pytest.mark.asyncio
async def test_the_region_falls_back(virtual_ecs: EcsEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `region_id` the environment's region is asked, as it is at that moment."""
    for region in ("cn-hangzhou", ELSEWHERE):
        monkeypatch.setenv(REGION, region)
        assert (await wait_for_task(virtual_ecs.add_task(region_id=region))).region_id == region


@pytest.mark.asyncio
async def test_what_is_said_goes_first(virtual_ecs: EcsEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A region that is passed goes before the environment's, and a mapping needs none there."""
    monkeypatch.setenv(REGION, "cn-beijing")
    task_id = virtual_ecs.add_task(region_id=ELSEWHERE)
    assert (await wait_for_task(task_id, region_id=ELSEWHERE)).region_id == ELSEWHERE
    monkeypatch.delenv(REGION)
    assert list(await wait_for_tasks({ELSEWHERE: [task_id]})) == [task_id]


@pytest.mark.parametrize("region", [None, "", " ", "evil.example/", "cn-hangzhou\n", "CN-HANGZHOU", "a" * 100])
@pytest.mark.asyncio
async def test_no_region(virtual_ecs: EcsEmulator, monkeypatch: pytest.MonkeyPatch, region: str | None) -> None:
    """No region, or one that is no region's name, is a ValueError that names the variable, before any call."""
    if region is None:
        monkeypatch.delenv(REGION)
    else:
        monkeypatch.setenv(REGION, region)
    for work in (wait_for_task("t-1"), wait_for_tasks(["t-1"]), EcsClient().describe_tasks()):
        assert REGION in str(await failure(ValueError, work))
    assert virtual_ecs.requests == []


@pytest.mark.asyncio
async def test_the_endpoint(ecs_emulator: EcsEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's endpoint gets every region's calls; one that is passed goes before it."""
    ids = {region: [ecs_emulator.add_task(region_id=region)] for region in ("cn-hangzhou", ELSEWHERE)}
    assert len(await wait_for_tasks(ids)) == 2
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    assert len(await wait_for_tasks(ids, endpoint=ecs_emulator.url)) == 2


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize(
    "endpoint",
    [
        "http://example.com",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://0.0.0.0:1",
        "http://user:word@127.0.0.1:1",
        "ftp://127.0.0.1",
        "127.0.0.1:1",
        "https://",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:1/?x=1",
        " http://127.0.0.1:1 x",
    ],
)
def test_no_endpoint(monkeypatch: pytest.MonkeyPatch, face: Callable[..., object], endpoint: str) -> None:
    """An endpoint that is no base URL, or plain http to another machine, is a ValueError that says where it stood."""
    with pytest.raises(ValueError, match="endpoint"):
        face(endpoint=endpoint)
    monkeypatch.setenv(ENDPOINT, endpoint)
    with pytest.raises(ValueError, match=ENDPOINT):
        face()


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:1", "http://localhost", "http://[::1]:1", "https://example.com"]
)
def test_endpoints(endpoint: str) -> None:
    """Plain http is accepted for loopback, https for anything."""
    for face in FACES:
        assert face(endpoint=endpoint)


def test_an_empty_endpoint_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable is as good as none."""
    monkeypatch.setenv(ENDPOINT, "")
    assert EcsClient()


@pytest.mark.asyncio
async def test_the_keys(virtual_ecs: EcsEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's keys count as they are at each call; a provider that is passed goes before them."""
    async with EcsClient() as client:
        for key_id in ("first-key-id", "second-key-id"):
            monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", key_id)
            await client.describe_tasks()
    async with EcsClient(StaticCredentials("third-key-id", "example-key-secret")) as client:
        await client.describe_tasks()
    assert [request.access_key_id for request in virtual_ecs.requests] == [
        "first-key-id",
        "second-key-id",
        "third-key-id",
    ]


@pytest.mark.asyncio
async def test_no_keys(ecs_emulator: EcsEmulator, monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """Without any credentials the error says where they could be put, before any call."""
    for name in ("ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    error = await failure(AuthenticationError, wait_for_task("t-1"))
    assert "ALIBABA_CLOUD_ACCESS_KEY_ID" in str(error)
    assert error.code is None
    assert ecs_emulator.requests == []
