"""Misuse is a ValueError or TypeError that says what to do, before any call."""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING, Any

import pytest
from support.helpers import ELSEWHERE, REGION, failure

from ecs_waiter import (
    Credentials,
    EcsWaiterError,
    PollPolicy,
    TaskWaiter,
    wait_for_task,
    wait_for_tasks,
    wait_proportional,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ecs_waiter.emulator import EcsEmulator

ONE = {"task_ids": ["t-1"]}


async def asynchronous() -> AsyncIterator[str]:
    """IDs that come asynchronously, which nobody reads."""
    yield "t-1"


async def coroutine_callback(_task: object) -> None:
    """A callback that would have to be awaited."""


class AwaitedCallback:
    async def __call__(self, _task: object) -> None:
        """Would have to be awaited, too."""


MISUSES: list[tuple[str, type[Exception], dict[str, Any]]] = [
    ("plain string", TypeError, {"task_ids": "t-1"}),
    ("bytes", TypeError, {"task_ids": b"t-1"}),
    ("nothing", TypeError, {"task_ids": None}),
    ("number", TypeError, {"task_ids": 7}),
    ("asynchronous", TypeError, {"task_ids": asynchronous()}),
    ("string of a region", TypeError, {"task_ids": {REGION: "t-1"}}),
    ("mapping of a region", TypeError, {"task_ids": {REGION: {"t-1": 1}}}),
    ("nothing of a region", TypeError, {"task_ids": {REGION: None}}),
    ("ID is a number", TypeError, {"task_ids": [1]}),
    ("ID is None", TypeError, {"task_ids": [None]}),
    ("ID is bytes", TypeError, {"task_ids": [b"t-1"]}),
    ("ID is a list", TypeError, {"task_ids": [["t-1"]]}),
    ("empty ID", ValueError, {"task_ids": [""]}),
    ("comma", ValueError, {"task_ids": ["t-1,t-2"]}),
    ("space", ValueError, {"task_ids": ["t 1"]}),
    ("space at the end", ValueError, {"task_ids": ["t-1 "]}),
    ("new line", ValueError, {"task_ids": ["t-1\n"]}),
    ("no-break space", ValueError, {"task_ids": ["t\u00a01"]}),
    ("bad one after thousands", ValueError, {"task_ids": [*(f"t-{number}" for number in range(5000)), "t 1"]}),
    ("region is no name", ValueError, {**ONE, "region_id": "evil.example.com/"}),
    ("region in capitals", ValueError, {**ONE, "region_id": "CN-HANGZHOU"}),
    ("region with a new line", ValueError, {**ONE, "region_id": "cn-hangzhou\n"}),
    ("empty region", ValueError, {**ONE, "region_id": ""}),
    ("region is a number", TypeError, {**ONE, "region_id": 7}),
    ("region of a mapping is no name", ValueError, {"task_ids": {"evil.example.com#": ["t-1"]}}),
    ("region of a mapping is None", TypeError, {"task_ids": {None: ["t-1"]}}),
    ("mapping and region", ValueError, {"task_ids": {REGION: ["t-1"]}, "region_id": REGION}),
    ("empty mapping and region", ValueError, {"task_ids": {}, "region_id": REGION}),
    ("ID in two regions", ValueError, {"task_ids": {REGION: ["t-1"], ELSEWHERE: ["t-2", "t-1"]}}),
    ("negative timeout", ValueError, {**ONE, "timeout": -1}),
    ("infinite timeout", ValueError, {**ONE, "timeout": math.inf}),
    ("timeout is not a number", ValueError, {**ONE, "timeout": math.nan}),
    ("huge timeout", ValueError, {**ONE, "timeout": 10**400}),
    ("timeout is text", TypeError, {**ONE, "timeout": "5"}),
    ("timeout is a flag", TypeError, {**ONE, "timeout": True}),
    ("timeout is a timedelta", TypeError, {**ONE, "timeout": dt.timedelta(seconds=5)}),
    ("bad timeout and no IDs", ValueError, {"task_ids": [], "timeout": -1}),
]

OF_WAIT: list[tuple[str, type[Exception], dict[str, Any]]] = [
    ("fail_fast and return_exceptions", ValueError, {**ONE, "fail_fast": True, "return_exceptions": True}),
    ("both of nothing", ValueError, {"task_ids": [], "fail_fast": True, "return_exceptions": True}),
    ("callback is no function", TypeError, {**ONE, "on_update": 7}),
    ("callback is a coroutine function", TypeError, {**ONE, "on_update": coroutine_callback}),
    ("callback is awaited", TypeError, {**ONE, "on_update": AwaitedCallback()}),
]

OF_MODULE: list[tuple[str, type[Exception], dict[str, Any]]] = [
    ("policy is a number", TypeError, {**ONE, "policy": 7}),
    ("credentials are text", TypeError, {**ONE, "credentials": "AKID"}),
    ("credentials are no provider", TypeError, {**ONE, "credentials": Credentials("a", "b")}),
    ("session is text", TypeError, {**ONE, "session": "s"}),
    ("endpoint is a number", TypeError, {**ONE, "endpoint": 7}),
    ("endpoint without TLS", ValueError, {**ONE, "endpoint": "http://ecs.example.com"}),
    ("policy is a number, no IDs", TypeError, {"task_ids": [], "policy": 7}),
]


def table(rows: list[tuple[str, type[Exception], dict[str, Any]]]) -> pytest.MarkDecorator:
    """A test for each row."""
    return pytest.mark.parametrize(("kind", "arguments"), [row[1:] for row in rows], ids=[row[0] for row in rows])


@pytest.mark.asyncio
@table(MISUSES + OF_WAIT + OF_MODULE)
async def test_wait_for_tasks(virtual_ecs: EcsEmulator, kind: type[Exception], arguments: dict[str, Any]) -> None:
    """wait_for_tasks refuses misuse before any call, in words."""
    error = await failure(kind, wait_for_tasks(**arguments))
    assert len(str(error)) > 10
    assert not isinstance(error, EcsWaiterError)
    assert virtual_ecs.requests == []


@pytest.mark.asyncio
@table(MISUSES + OF_WAIT)
async def test_wait(virtual_ecs: EcsEmulator, kind: type[Exception], arguments: dict[str, Any]) -> None:
    """TaskWaiter.wait refuses misuse before any call."""
    async with TaskWaiter() as waiter:
        await failure(kind, waiter.wait(**arguments))
    assert virtual_ecs.requests == []


@pytest.mark.asyncio
@table(MISUSES)
async def test_iterators(virtual_ecs: EcsEmulator, kind: type[Exception], arguments: dict[str, Any]) -> None:
    """`as_completed` and `updates` refuse misuse where they are called, not at the first iteration."""
    async with TaskWaiter() as waiter:
        with pytest.raises(kind):
            waiter.as_completed(**arguments)
        with pytest.raises(kind):
            waiter.updates(**arguments)
    assert virtual_ecs.requests == []


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("kind", "task_id", "region_id"),
    [
        (TypeError, ["t-1"], None),
        (TypeError, None, None),
        (TypeError, 7, None),
        (TypeError, b"t-1", None),
        (ValueError, "", None),
        (ValueError, "a,b", None),
        (ValueError, "a b", None),
        (ValueError, "t-1", "no region"),
        (TypeError, "t-1", 7),
    ],
)
async def test_one_id(virtual_ecs: EcsEmulator, kind: type[Exception], task_id: Any, region_id: Any) -> None:
    """wait_for_task and submit take one ID, which is text."""
    await failure(kind, wait_for_task(task_id, region_id=region_id))
    async with TaskWaiter() as waiter:
        with pytest.raises(kind):
            waiter.submit(task_id, region_id=region_id)
    assert virtual_ecs.requests == []


@pytest.mark.asyncio
async def test_no_region_at_all(virtual_ecs: EcsEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any region the error says how to give one."""
    monkeypatch.delenv("ALIBABA_CLOUD_REGION_ID")
    async with TaskWaiter() as waiter:
        with pytest.raises(ValueError, match="ALIBABA_CLOUD_REGION_ID"):
            waiter.submit("t-1")
        with pytest.raises(ValueError, match="region_id"):
            waiter.updates(["t-1"])
        await failure(ValueError, waiter.wait(["t-1"]))
        await failure(ValueError, waiter.run("ImportImage"))
    await failure(ValueError, wait_for_task("t-1"))
    assert virtual_ecs.requests == []


@pytest.mark.asyncio
async def test_the_environments_region(virtual_ecs: EcsEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A region of the environment that is none is refused, too."""
    monkeypatch.setenv("ALIBABA_CLOUD_REGION_ID", "evil.example.com/")
    await failure(ValueError, wait_for_task("t-1"))
    assert virtual_ecs.requests == []


@pytest.mark.asyncio
async def test_a_plain_string_is_told_how(virtual_ecs: EcsEmulator) -> None:
    """The likeliest slip is told how to mend it."""
    error = await failure(TypeError, wait_for_tasks("t-1"))
    assert "['t-1']" in str(error)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("kind", "operation", "arguments"),
    [
        (ValueError, "", {}),
        (ValueError, "Import Image", {}),
        (ValueError, "ImportImage&Action=DeleteInstance", {}),
        (TypeError, None, {}),
        (TypeError, ["ImportImage"], {}),
        (TypeError, "ImportImage", {"params": [("a", "b")]}),
        (TypeError, "ImportImage", {"params": []}),
        (TypeError, "ImportImage", {"params": 7}),
        (TypeError, "ImportImage", {"params": "ab"}),
        (ValueError, "ImportImage", {"timeout": -1}),
        (ValueError, "ImportImage", {"timeout": math.nan}),
        (ValueError, "ImportImage", {"region_id": "nowhere"}),
        (TypeError, "ImportImage", {"on_update": "x"}),
        (TypeError, "ImportImage", {"on_update": coroutine_callback}),
    ],
)
async def test_run(virtual_ecs: EcsEmulator, kind: type[Exception], operation: Any, arguments: dict[str, Any]) -> None:
    """`run` refuses misuse before any call."""
    async with TaskWaiter() as waiter:
        await failure(kind, waiter.run(operation, **arguments))
    assert virtual_ecs.requests == []


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (TypeError, {"wait": 5}),
        (TypeError, {"wait": wait_proportional}),
        (TypeError, {"wait": None}),
        (ValueError, {"not_found_grace": -1}),
        (ValueError, {"not_found_grace": math.nan}),
        (ValueError, {"not_found_grace": 10**400}),
        (ValueError, {"outage_budget": math.inf}),
        (TypeError, {"outage_budget": "600"}),
        (ValueError, {"max_in_flight": 0}),
        (TypeError, {"max_in_flight": 1.5}),
        (TypeError, {"max_in_flight": True}),
        (ValueError, {"max_calls_per_second": 0}),
        (ValueError, {"max_calls_per_second": math.nan}),
        (ValueError, {"call_timeout": 0}),
        (ValueError, {"call_timeout": -3}),
        (TypeError, {"call_timeout": None}),
        (TypeError, {"interval": 5}),
    ],
)
def test_policies(kind: type[Exception], arguments: dict[str, Any]) -> None:
    """A policy is validated when it is made."""
    with pytest.raises(kind):
        PollPolicy(**arguments)


def test_policies_are_keyword_only_and_frozen() -> None:
    """A policy takes keywords only and does not change."""
    with pytest.raises(TypeError):
        PollPolicy(wait_proportional())  # type: ignore[call-arg, arg-type]
    with pytest.raises(AttributeError):
        PollPolicy().call_timeout = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (ValueError, {"factor": -1}),
        (ValueError, {"min": math.nan}),
        (ValueError, {"max": math.inf}),
        (ValueError, {"min": 10, "max": 5}),
        (ValueError, {"jitter": 1.5}),
        (TypeError, {"factor": "0.05"}),
    ],
)
def test_wait_proportional(kind: type[Exception], arguments: dict[str, Any]) -> None:
    """The default strategy's figures are validated."""
    with pytest.raises(kind):
        wait_proportional(**arguments)


def test_waiters_are_made_without_a_loop() -> None:
    """A waiter is made without an event loop; misuse is told there."""
    TaskWaiter()
    with pytest.raises(TypeError):
        TaskWaiter(policy=5)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        TaskWaiter("AKID")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="http"):
        TaskWaiter(endpoint="http://ecs.example.com")
    with pytest.raises(RuntimeError):
        TaskWaiter().submit("t-1", region_id=REGION)
