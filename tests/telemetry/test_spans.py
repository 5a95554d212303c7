"""The spans: one per wait, linked to the calls that served it."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.trace import Span
from opentelemetry.trace import SpanKind, StatusCode
from support.helpers import ELSEWHERE, REASON, REGION, every, failure

from ecs_waiter import (
    AuthenticationError,
    EcsClient,
    TaskFailedError,
    TasksFailedError,
    TaskWaiter,
    WaiterClosedError,
    WaitTimeoutError,
    wait_for_task,
)
from ecs_waiter.telemetry import MOST_LINKS

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from support.collecting import Collected

    from ecs_waiter.emulator import EcsEmulator

WAIT = "ecs_waiter.wait"
POLL = "Ecs/DescribeTasks"
LOOK_UP = "Ecs/DescribeTaskAttribute"


def _ids(spans: list[ReadableSpan]) -> list[int]:
    return [context.span_id for span in spans if (context := span.get_span_context()) is not None]


def _linked(wait: ReadableSpan) -> list[int]:
    return [link.context.span_id for link in wait.links]


def _told(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


@pytest.mark.asyncio
async def test_linked_to_its_calls(virtual_ecs: EcsEmulator, collected: Collected) -> None:
    """A wait is linked to every poll and look-up that asked for one of its tasks, and to no other call."""
    mine = virtual_ecs.add_task(duration=25, outcome="Failed", error=REASON)
    later = virtual_ecs.add_task(duration=100)
    async with TaskWaiter(policy=every(10)) as waiter:
        first = asyncio.create_task(waiter.wait([mine], region_id=REGION))
        await asyncio.sleep(1)
        second = waiter.submit(later, region_id=REGION)
        await failure(TaskFailedError, first)
        await waiter.client.describe_tasks(region_id=REGION)
        await second
    asked = [request.task_ids for request in virtual_ecs.requests if request.action == "DescribeTasks"]
    polls = list(zip(_ids(collected.spans(POLL)), asked, strict=True))
    failed, finished = collected.spans(WAIT)
    assert _linked(failed) == [call for call, ids in polls if mine in ids] + _ids(collected.spans(LOOK_UP))
    assert _linked(finished) == [call for call, ids in polls if later in ids]


@pytest.mark.asyncio
async def test_one_poll_serves_many(virtual_ecs: EcsEmulator, collected: Collected) -> None:
    """Waits that share a poll are linked to the same call, each once, whatever the number of their tasks."""
    ids = [virtual_ecs.add_task() for _ in range(50)]
    async with TaskWaiter() as waiter:
        await asyncio.gather(*(waiter.wait(ids, region_id=REGION) for _ in range(10)))
    (call,) = _ids(collected.spans(POLL))
    assert [_linked(wait) for wait in collected.spans(WAIT)] == [[call]] * 10


@pytest.mark.asyncio
async def test_links_are_bounded(virtual_ecs: EcsEmulator, collected: Collected) -> None:
    """Of a long wait's calls the last ones are linked."""
    async with TaskWaiter(policy=every(10)) as waiter:
        await waiter.wait([virtual_ecs.add_task(duration=10 * 200)], region_id=REGION)
    (wait,) = collected.spans(WAIT)
    assert _linked(wait) == _ids(collected.spans(POLL))[-MOST_LINKS:]


@pytest.mark.asyncio
async def test_a_wait_belongs_to_its_caller_and_a_poll_to_nobody(
    virtual_ecs: EcsEmulator, collected: Collected
) -> None:
    """The span of a wait is a child of the caller's; polls and look-ups, which serve all, are roots; a start is not."""
    virtual_ecs.plan("ImportImage", duration=30, outcome="Failed", error=REASON)
    tracer = collected.tracers.get_tracer("caller")
    async with TaskWaiter() as waiter:
        with tracer.start_as_current_span("caller") as caller:
            await failure(TaskFailedError, waiter.run("ImportImage", region_id=REGION))
    (wait,), (start,) = collected.spans(WAIT), collected.spans("Ecs/ImportImage")
    for span in (wait, start):
        assert span.parent is not None
        assert span.parent.span_id == caller.get_span_context().span_id
    assert all(span.parent is None for span in [*collected.spans(POLL), *collected.spans(LOOK_UP)])


@pytest.mark.asyncio
async def test_what_a_call_tells(virtual_ecs: EcsEmulator, collected: Collected) -> None:
    """A call's span tells operation, server, region and status, and no parameter."""
    async with TaskWaiter() as waiter:
        params = {"ImageId": "m-1", "OSSBucket": "b-1", "Secret": "hunter2"}
        await waiter.client.call("ExportImage", region_id=ELSEWHERE, params=params)
    (span,) = collected.spans("Ecs/ExportImage")
    assert span.kind is SpanKind.CLIENT
    assert _told(span) == {
        "cloud.provider": "alibaba_cloud",
        "cloud.region": ELSEWHERE,
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "rpc.system": "alibaba_cloud",
        "rpc.service": "Ecs",
        "rpc.method": "ExportImage",
        "server.address": "127.0.0.1",
        "server.port": 1,
        "url.full": "http://127.0.0.1:1/",
    }
    assert "hunter2" not in span.to_json()


@pytest.mark.asyncio
async def test_calls_that_fail(virtual_ecs: EcsEmulator, collected: Collected) -> None:
    """A refused call tells the service's code and its request ID, a broken one what broke it."""
    virtual_ecs.inject("throttle", code="Throttling.User", times=1)
    virtual_ecs.inject("status", status=503, body="html", times=1)
    virtual_ecs.inject("reset", times=1)
    async with TaskWaiter() as waiter:
        await waiter.wait([virtual_ecs.add_task()], region_id=REGION)
    throttled, unavailable, broken, good = collected.spans(POLL)
    assert (_told(throttled)["error.type"], _told(throttled)["http.response.status_code"]) == ("Throttling.User", 400)
    assert _told(throttled)["alibaba_cloud.request_id"]
    assert (_told(unavailable)["error.type"], _told(unavailable)["http.response.status_code"]) == ("503", 503)
    assert _told(broken)["error.type"] in {"ServerDisconnectedError", "ClientOSError", "ClientPayloadError"}
    assert "http.response.status_code" not in _told(broken)
    assert {span.status.status_code for span in (throttled, unavailable, broken)} == {StatusCode.ERROR}
    assert good.status.status_code is StatusCode.UNSET


@pytest.mark.asyncio
async def test_how_waits_end(virtual_ecs: EcsEmulator, collected: Collected) -> None:
    """A wait's span tells how many tasks it was for, how many failed or are pending, and the error that it ended with."""
    good, endless = virtual_ecs.add_task(), virtual_ecs.add_task(duration=1e6)
    bad = [virtual_ecs.add_task(outcome="Failed", error=REASON) for _ in range(2)]
    async with TaskWaiter() as waiter:
        await waiter.wait([good], region_id=REGION)
        await failure(TasksFailedError, waiter.wait([good, *bad], region_id=REGION))
        await failure(TasksFailedError, waiter.wait([*bad, "t-unknown"], region_id=REGION))
        await failure(WaitTimeoutError, waiter.wait([good, endless], region_id=REGION, timeout=30))
        leaving = asyncio.create_task(waiter.wait([endless], region_id=REGION))
        await asyncio.sleep(10)
        leaving.cancel()
        await failure(asyncio.CancelledError, leaving)
        closing = asyncio.create_task(waiter.wait([endless], region_id=REGION))
        await asyncio.sleep(10)
    await failure(WaiterClosedError, closing)
    shown = []
    for span in collected.spans(WAIT):
        told = _told(span)
        assert (told["cloud.region"], span.kind) == (REGION, SpanKind.INTERNAL)
        assert (span.status.status_code is StatusCode.ERROR) == ("error.type" in told)
        names = ("ecs_waiter.wait.tasks", "ecs_waiter.wait.failed", "ecs_waiter.wait.pending", "error.type")
        shown.append(tuple(told.get(name) for name in names))
    assert shown == [
        (1, None, None, None),
        (3, 2, None, "TaskFailedError"),
        (3, 3, None, "TasksFailedError"),
        (2, None, 1, "WaitTimeoutError"),
        (1, None, 1, None),
        (1, None, 1, "WaiterClosedError"),
    ]


@pytest.mark.asyncio
async def test_iterations_and_futures(virtual_ecs: EcsEmulator, collected: Collected) -> None:
    """An iteration is one wait, of however many tasks and regions; so is each future, with its error."""
    here, there = virtual_ecs.add_task(), virtual_ecs.add_task(region_id=ELSEWHERE)
    async with TaskWaiter() as waiter:
        async for _ in waiter.as_completed({REGION: [here], ELSEWHERE: [there]}):
            pass
        async for _ in waiter.updates([here], region_id=REGION):
            pass
        await waiter.submit(here, region_id=REGION)
        virtual_ecs.inject("refuse")
        await failure(AuthenticationError, waiter.submit(here, region_id=REGION))
        left = waiter.submit(here, region_id=REGION)
        left.cancel()
        await asyncio.sleep(0)
    regions = _told(collected.spans(WAIT)[0])["ecs_waiter.wait.regions"]
    assert regions == (REGION, ELSEWHERE)
    assert [_told(span).get("error.type") for span in collected.spans(WAIT)] == [
        None,
        None,
        None,
        "AuthenticationError",
        None,
    ]


@pytest.mark.asyncio
async def test_a_callback_that_raises(virtual_ecs: EcsEmulator, collected: Collected) -> None:
    """What a caller's own code raises is named by its type alone: its words may be secret."""

    def callback(_: object) -> None:
        raise LookupError("hunter2")

    await failure(LookupError, wait_for_task(virtual_ecs.add_task(duration=10), region_id=REGION, on_update=callback))
    (span,) = collected.spans(WAIT)
    assert _told(span)["error.type"] == "LookupError"
    assert "hunter2" not in span.to_json()


@pytest.mark.asyncio
async def test_no_span_is_kept(virtual_ecs: EcsEmulator, collected: Collected) -> None:
    """When all waits have ended the waiter holds none of their spans."""
    async with TaskWaiter() as waiter:
        await waiter.wait([virtual_ecs.add_task()], region_id=REGION)
        await waiter.submit(virtual_ecs.add_task(), region_id=REGION)
        await asyncio.sleep(0)
        gc.collect()
        assert not [each for each in gc.get_objects() if isinstance(each, Span) and each.name == WAIT]


@pytest.mark.asyncio
async def test_a_client_alone(virtual_ecs: EcsEmulator, collected: Collected) -> None:
    """A client without a waiter tells nothing."""
    async with EcsClient() as client:
        await client.describe_tasks(region_id=REGION)
    assert collected.spans(POLL) == []
