"""The hook: what a connection says, for tasks and for triggers."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.definitions.connection import Connection

from ecs_waiter import PollPolicy
from ecs_waiter.airflow import EcsTaskHook, EcsTaskTrigger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ecs_waiter.emulator import EcsEmulator


def hook(*arguments: Any, **more: Any) -> EcsTaskHook:
    """A hook for the default connection, by default."""
    return EcsTaskHook(*arguments, **more)


def test_conventions_of_the_official_provider() -> None:
    """Connection type and default ID are those of the official Alibaba provider."""
    assert (EcsTaskHook.conn_type, EcsTaskHook.default_conn_name) == ("alibaba_cloud", "alibabacloud_default")
    assert EcsTaskHook.conn_name_attr == "alibabacloud_conn_id"


def test_both_ways_say_the_same(connect: Callable[..., str]) -> None:
    """A task and a trigger read the same from a connection."""
    connect("http://127.0.0.1:1", security_token="sts-token")
    access = hook().access
    assert access == asyncio.run(hook().get_async_access())
    assert (access.region_id, access.endpoint) == ("cn-hangzhou", "http://127.0.0.1:1")
    assert access.credentials is not None
    found = asyncio.run(access.credentials.get_credentials())
    assert (found.access_key_id, found.access_key_secret) == ("emulator-key-id", "emulator-key-secret")
    assert found.security_token == "sts-token"


def test_secrets_stay_out_of_reprs(connect: Callable[..., str]) -> None:
    """What the hook has read can be logged."""
    connect("http://127.0.0.1:1", security_token="sts-token")
    text = repr(hook().access)
    assert "emulator-key-secret" not in text
    assert "sts-token" not in text


@pytest.mark.parametrize("empty", [None, ""])
def test_without_keys(connect: Callable[..., str], empty: str | None) -> None:
    """A connection without keys leaves the credentials to the default chain."""
    connect("http://127.0.0.1:1", access_key_id=empty, access_key_secret=empty)
    assert hook().access.credentials is None


def test_without_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection at all is the default chain and the environment's region."""
    monkeypatch.setenv("ALIBABA_CLOUD_REGION_ID", "us-west-1")
    assert hook(None).access.credentials is None
    assert hook(None).region() == "us-west-1"


@pytest.mark.parametrize("name", ["access_key_id", "access_key_secret"])
def test_half_a_key(connect: Callable[..., str], name: str) -> None:
    """An error names the missing half of a key, without the other half."""
    connect("http://127.0.0.1:1", **{name: None})
    with pytest.raises(ValueError, match=f"lacks {name}") as caught:
        _ = hook().access
    assert "emulator-key" not in str(caught.value)


def test_endpoint_may_be_a_host(connect: Callable[..., str]) -> None:
    """An endpoint without a scheme is one over TLS."""
    connect("ecs-vpc.cn-hangzhou.aliyuncs.com")
    assert hook().access.endpoint == "https://ecs-vpc.cn-hangzhou.aliyuncs.com"


def test_region_of_the_hook_takes_precedence(connect: Callable[..., str]) -> None:
    """The region asked comes before the connection's."""
    connect("http://127.0.0.1:1")
    assert (hook().region(), hook(region_id="eu-central-1").region()) == ("cn-hangzhou", "eu-central-1")


def test_connection_test(ecs_emulator: EcsEmulator, connection: str) -> None:
    """The user interface's test reports whether keys and region are valid."""
    assert hook(connection).test_connection() == (True, "ECS answers in cn-hangzhou")
    ecs_emulator.inject("refuse")
    works, text = hook(connection).test_connection()
    assert not works
    assert "Forbidden.RAM" in text


@pytest.mark.asyncio
async def test_async_client(virtual: EcsEmulator) -> None:
    """A trigger's client makes any call."""
    task_id = virtual.add_task()
    async with await hook().get_async_conn() as client:
        page = await client.describe_tasks(task_ids=[task_id], region_id="cn-hangzhou")
    assert [task.task_id for task in page.tasks] == [task_id]


@pytest.mark.asyncio
async def test_reading_a_connection_leaves_the_loop_alone(
    connect: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a loop, no part of Airflow that may block runs in the loop's own thread."""
    loop_thread = threading.get_ident()
    extra = Connection.extra_dejson
    assert isinstance(extra, property)
    threads = []

    def read(self: Connection) -> Any:
        threads.append(threading.get_ident())
        assert extra.fget is not None
        return extra.fget(self)

    connect("http://127.0.0.1:1")
    monkeypatch.setattr(Connection, "extra_dejson", property(read))
    await hook().get_async_access()
    assert threads
    assert loop_thread not in threads


@pytest.mark.asyncio
async def test_keys_of_the_machine_may_be_rotated(
    virtual: EcsEmulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A hook without keys signs with the machine's profile as it is now, after a refusal and within a minute."""
    file = tmp_path / ".aliyun" / "config.json"
    file.parent.mkdir()

    def rotate(key_id: str) -> None:
        profile = {"name": "default", "mode": "AK", "access_key_id": key_id, "access_key_secret": "secret"}
        file.write_text(json.dumps({"current": "default", "profiles": [profile]}))

    for name in ("ACCESS_KEY_ID", "ACCESS_KEY_SECRET"):
        monkeypatch.delenv(f"ALIBABA_CLOUD_{name}", raising=False)
    monkeypatch.setenv("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    rotate("first")
    async with await hook(None, region_id="cn-hangzhou").get_async_conn() as client:
        await client.describe_tasks(region_id="cn-hangzhou")
        rotate("second")
        await asyncio.sleep(60)
        await client.describe_tasks(region_id="cn-hangzhou")
        rotate("third")
        virtual.inject(
            "refuse", code="InvalidAccessKeyId.NotFound", status=404, where=lambda sent: sent.access_key_id == "second"
        )
        await client.describe_tasks(region_id="cn-hangzhou")
    assert [sent.access_key_id for sent in virtual.requests] == ["first", "second", "second", "third"]


@pytest.mark.parametrize(
    ("extra", "variable", "expected"),
    [
        (None, None, False),
        (None, "1", True),
        (None, "false", False),
        ("", "1", True),
        (True, None, True),
        (False, "1", False),
        ("true", None, True),
        ("Yes", None, True),
        ("0", "1", False),
        (1, None, True),
    ],
)
def test_trust_env(
    connect: Callable[..., str], monkeypatch: pytest.MonkeyPatch, extra: Any, variable: str | None, expected: bool
) -> None:
    """The connection says whether the environment's proxies are used; ECS_WAITER_TRUST_ENV says it where it does not."""
    monkeypatch.delenv("ECS_WAITER_TRUST_ENV", raising=False)
    if variable is not None:
        monkeypatch.setenv("ECS_WAITER_TRUST_ENV", variable)
    connect("http://127.0.0.1:1", trust_env=extra)
    assert hook().access.trust_env is expected
    assert asyncio.run(hook().get_async_access()).trust_env is expected
    assert hook(None).access.trust_env is (variable == "1")


@pytest.mark.parametrize("extra", ["perhaps", 2, [], {}, 0.5])
def test_trust_env_that_says_neither(connect: Callable[..., str], extra: Any) -> None:
    """Another value of trust_env is an error that names the connection and the field."""
    connect("http://127.0.0.1:1", trust_env=extra)
    with pytest.raises(ValueError, match="'alibabacloud_default': trust_env takes true or false"):
        _ = hook().access


@pytest.fixture
def dead_proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A proxy of the environment that does not listen; gives its address."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setenv("http_proxy", f"http://{address}")
        yield address


def test_waits_and_calls_use_the_proxy(ecs_emulator: EcsEmulator, connect: Callable[..., str], dead_proxy: str) -> None:
    """The hook's waits and calls, and a trigger's wait, go where the connection's trust_env says."""
    task_id = ecs_emulator.add_task()
    numbers = {"outage_budget": 0}

    async def triggered() -> dict[str, Any]:
        waiting = EcsTaskTrigger(task_ids=[task_id], region_id="cn-hangzhou", policy=numbers)
        [event] = [event.payload async for event in waiting.run()]
        return dict(event)

    connect(ecs_emulator.url, trust_env="true")
    through = f"through the proxy {dead_proxy}"
    waiting = hook(policy=PollPolicy(outage_budget=0))
    assert through in waiting.wait([task_id])["message"]
    assert through in waiting.test_connection()[1]
    assert through in asyncio.run(triggered())["message"]
    assert ecs_emulator.requests == []
    connect(ecs_emulator.url, trust_env="false")
    waiting = hook(policy=PollPolicy(outage_budget=0))
    assert waiting.wait([task_id])["status"] == "success"
    assert waiting.test_connection()[0]
    assert asyncio.run(triggered())["status"] == "success"
