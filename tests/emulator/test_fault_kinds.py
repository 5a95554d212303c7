"""Each fault does to an answer what its name says."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import aiohttp
import pytest
from support.curling import curl

from ecs_waiter.emulator.faults.refusals import CallQuota

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize(
    ("settings", "header"),
    [
        ({}, None),
        ({"retry_after": 1.5}, ("x-acs-retry-after", "1500")),
        (
            {"retry_after": 2, "older_header": True},
            ("x-ratelimit-user-api", "Limit:100,Remain:0,TimeLeft:2000,TimeWindow:60000"),
        ),
        ({"retry_after": 1.5, "retry_form": "seconds"}, ("Retry-After", "2")),
        ({"retry_after": 90, "retry_form": "date"}, ("Retry-After", "Thu, 01 Jan 2026 00:01:30 GMT")),
        ({"retry_after": 0.5, "retry_form": "date"}, ("Retry-After", "Thu, 01 Jan 2026 00:00:01 GMT")),
        ({"retry_form": "date"}, None),
    ],
)
async def test_throttle(virtual_ecs: EcsEmulator, settings: dict[str, Any], header: tuple[str, str] | None) -> None:
    """Throttling is a code and, where asked, a header with the wait in one of the forms that gateways use."""
    virtual_ecs.inject("throttle", **settings)
    reply = await curl(virtual_ecs, "DescribeTasks")
    assert (reply.status, reply.code) == (400, "Throttling.User")
    headers = [(name, value) for name, value in reply.headers.items() if "retry" in name.lower() or "ratelimit" in name]
    assert headers == ([header] if header else [])


async def test_throttled_start_starts_nothing(virtual_ecs: EcsEmulator) -> None:
    """What was throttled did not happen."""
    virtual_ecs.inject("throttle", times=1, status=429, code="Throttling")
    assert (await curl(virtual_ecs, "ImportImage")).status == 429
    assert (await curl(virtual_ecs, "DescribeTasks")).task_ids == []


async def test_quota(virtual_ecs: EcsEmulator) -> None:
    """`calls` calls pass in `per` seconds, for each region and operation; throttled calls do not count."""
    handle = virtual_ecs.inject("quota", calls=2, per=10)

    async def ask(count: int, action: str = "DescribeTasks", region: str = "cn-hangzhou") -> list[int]:
        return [(await curl(virtual_ecs, action, region=region)).status for _ in range(count)]

    assert await ask(4) == [200, 200, 400, 400]
    assert await ask(1, region="us-west-1") == [200]
    assert await ask(1, action="ImportImage") == [200]
    await asyncio.sleep(9)
    assert await ask(1) == [400]
    await asyncio.sleep(1)
    assert await ask(3) == [200, 200, 400]
    assert handle.hits == 4


async def test_quota_of_aligned_windows(virtual_ecs: EcsEmulator) -> None:
    """A quota used up in ten seconds throttles the other fifty, and is there again when the next minute begins."""
    virtual_ecs.inject("quota", calls=2, per=60, aligned=True)

    async def ask(count: int, action: str = "DescribeTasks", region: str = "cn-hangzhou") -> list[int]:
        return [(await curl(virtual_ecs, action, region=region)).status for _ in range(count)]

    await asyncio.sleep(50)
    assert await ask(3) == [200, 200, 400]
    assert await ask(1, region="us-west-1") == [200]
    assert await ask(1, action="ImportImage") == [200]
    await asyncio.sleep(9.9)
    assert await ask(1) == [400]
    await asyncio.sleep(0.1)  # a minute begins
    assert await ask(3) == [200, 200, 400]
    await asyncio.sleep(59.9)
    assert await ask(1) == [400]
    await asyncio.sleep(0.1)
    assert await ask(1) == [200]


@pytest.mark.parametrize("aligned", [False, True])
async def test_quota_forgets_what_is_over(virtual_ecs: EcsEmulator, aligned: bool) -> None:
    """What a quota remembers does not grow with the regions and operations that were ever asked."""
    handle = virtual_ecs.inject("quota", calls=5, per=60, aligned=aligned)
    for number in range(5):
        await curl(virtual_ecs, f"Action{number}", region=f"cn-{number}")
    await asyncio.sleep(120)
    await curl(virtual_ecs, "DescribeTasks")
    assert isinstance(handle.fault, CallQuota)
    assert list(handle.fault._passed) == [("cn-hangzhou", "DescribeTasks")]


async def test_calls_that_remain(virtual_ecs: EcsEmulator) -> None:
    """Good answers can say how many calls remain; a throttled one keeps what it says of its own wait."""
    virtual_ecs.inject("ratelimit", remain=42, time_left=7)
    virtual_ecs.inject(
        "throttle", retry_after=2, older_header=True, times=1, where=lambda request: bool(request.task_ids)
    )
    good = await curl(virtual_ecs, "DescribeTasks")
    assert good.status == 200
    assert good.headers["x-ratelimit-user-api"] == "Limit:100,Remain:42,TimeLeft:7000,TimeWindow:60000"
    throttled = await curl(virtual_ecs, "DescribeTasks", TaskIds="t-1")
    assert throttled.status == 400
    assert throttled.headers["x-ratelimit-user-api"] == "Limit:100,Remain:0,TimeLeft:2000,TimeWindow:60000"
    virtual_ecs.clear_faults()
    virtual_ecs.inject("ratelimit", header="x-ratelimit-user")
    assert "Remain:99" in (await curl(virtual_ecs, "DescribeTasks")).headers["x-ratelimit-user"]


@pytest.mark.parametrize(
    ("status", "code"), [(500, "InternalError"), (503, "ServiceUnavailable"), (400, "InvalidParameter"), (418, "Tea")]
)
async def test_status(virtual_ecs: EcsEmulator, status: int, code: str) -> None:
    """Any status comes with a usual code, or the one that is given."""
    settings: dict[str, Any] = {"code": code} if code == "Tea" else {}
    virtual_ecs.inject("status", status=status, **settings)
    reply = await curl(virtual_ecs, "DescribeTasks")
    assert (reply.status, reply.code) == (status, code)
    assert {"RequestId", "HostId"} < set(reply.data)


async def test_status_in_xml_and_html(virtual_ecs: EcsEmulator) -> None:
    """A gateway answers in XML, or in a page that has no code."""
    virtual_ecs.inject("status", body="xml", times=1)
    virtual_ecs.inject("status", body="html", status=403, headers={"Via": "gateway"}, times=1)
    xml = await curl(virtual_ecs, "DescribeTasks")
    html = await curl(virtual_ecs, "DescribeTasks")
    assert ET.fromstring(xml.body).findtext("Code") == "ServiceUnavailable"  # noqa: S314 - our own answer
    assert (html.status, html.headers["Content-Type"], html.headers["Via"]) == (
        403,
        "text/html;charset=utf-8",
        "gateway",
    )
    assert html.body.startswith(b"<html>")
    assert b"Forbidden" not in html.body


@pytest.mark.parametrize(("executed", "started"), [(False, 0), (True, 1)])
async def test_status_may_hide_a_success(virtual_ecs: EcsEmulator, executed: bool, started: int) -> None:
    """With `executed` the operation has taken effect although its answer is an error."""
    virtual_ecs.inject("status", executed=executed, action="ImportImage", headers={"Via": "gateway"})
    reply = await curl(virtual_ecs, "ImportImage")
    assert (reply.status, reply.code, reply.headers["Via"]) == (503, "ServiceUnavailable", "gateway")
    assert len((await curl(virtual_ecs, "DescribeTasks")).task_ids) == started


async def test_refused_keys_in_one_region(virtual_ecs: EcsEmulator) -> None:
    """Credentials can be refused in one region and accepted in others."""
    virtual_ecs.inject("refuse", region_id="us-west-1")
    reply = await curl(virtual_ecs, "DescribeTasks", region="us-west-1")
    assert (reply.status, reply.code) == (403, "Forbidden.RAM")
    assert (await curl(virtual_ecs, "DescribeTasks")).status == 200


async def test_rejected_id_rejects_its_batch(virtual_ecs: EcsEmulator) -> None:
    """A batch with the bad ID in it is refused whole; others pass."""
    good, bad = virtual_ecs.add_task(), virtual_ecs.add_task()
    virtual_ecs.inject("reject", task_id=bad)
    assert (await curl(virtual_ecs, "DescribeTasks", TaskIds=f"{good},{bad}")).code == "InvalidTaskId.Malformed"
    assert (await curl(virtual_ecs, "DescribeTasks", TaskIds=good)).task_ids == [good]


async def test_drop(virtual_ecs: EcsEmulator) -> None:
    """A dropped task is missing as if it were unknown: TotalCount does not count it."""
    first, second = virtual_ecs.add_task(), virtual_ecs.add_task()
    handle = virtual_ecs.inject("drop", task_id=first, times=1)
    await curl(virtual_ecs, "DescribeTasks", TaskIds=second)
    assert handle.hits == 0
    reply = await curl(virtual_ecs, "DescribeTasks", TaskIds=f"{first},{second}")
    assert (reply.task_ids, reply.data["TotalCount"]) == ([second], 1)
    assert len((await curl(virtual_ecs, "DescribeTasks")).task_ids) == 2
    virtual_ecs.inject("drop")
    assert (await curl(virtual_ecs, "DescribeTasks")).task_ids == []


async def test_drop_that_is_counted(virtual_ecs: EcsEmulator) -> None:
    """An ID can be counted but not listed, also when it is asked alone."""
    hidden, other = virtual_ecs.add_task(), virtual_ecs.add_task()
    virtual_ecs.inject("drop", task_id=hidden, counted=True)
    reply = await curl(virtual_ecs, "DescribeTasks", TaskIds=f"{hidden},{other}")
    assert (reply.task_ids, reply.data["TotalCount"]) == ([other], 2)
    reply = await curl(virtual_ecs, "DescribeTasks", TaskIds=hidden)
    assert (reply.task_ids, reply.data["TotalCount"]) == ([], 1)


async def test_old_shape(virtual_ecs: EcsEmulator) -> None:
    """The documented shape of 2018 to 2020: a list of one object, a bare boolean, no resource."""
    virtual_ecs.add_task(task_id="t-1")
    virtual_ecs.add_task(task_id="t-2", task_action="RedeployInstance")
    virtual_ecs.inject("old_shape")
    virtual_ecs.inject("drop", task_id="t-none")
    reply = await curl(virtual_ecs, "DescribeTasks")
    ((group,)) = reply.data["TaskSet"]
    assert list(group) == ["Task"]
    assert [(row["TaskId"], row["TaskStatus"], row["SupportCancel"]) for row in group["Task"]] == [
        ("t-1", "Finished", True),
        ("t-2", "Finished", False),
    ]
    assert not any("ResourceId" in row for row in group["Task"])
    assert reply.data["TotalCount"] == 2


@pytest.mark.parametrize("row", [None, {}, [], "t-1", 5, {"TaskId": None}])
async def test_unreadable_row(virtual_ecs: EcsEmulator, row: object) -> None:
    """Something else stands in a task's place, and TotalCount counts it."""
    bad, good = virtual_ecs.add_task(), virtual_ecs.add_task()
    virtual_ecs.inject("unreadable", task_id=bad, row=row)
    virtual_ecs.inject("double", task_id=good)  # other faults of rows leave it alone
    reply = await curl(virtual_ecs, "DescribeTasks", TaskIds=f"{bad},{good}")
    first, *others = reply.data["TaskSet"]["Task"]
    assert first == row
    assert [other["TaskId"] for other in others] == [good, good]
    assert reply.data["TotalCount"] == 2


@pytest.mark.parametrize("fault", ["drop", "double", "foreign", "backwards", "unreadable", "old_shape", "cut_short"])
@pytest.mark.parametrize("content", [{}, {"TaskSet": None}, {"TaskSet": []}, {"TaskSet": {"Task": "x"}}])
async def test_faults_of_rows_leave_what_has_none(
    virtual_ecs: EcsEmulator, fault: str, content: dict[str, Any]
) -> None:
    """Where another fault has left no rows, those of rows change nothing."""
    virtual_ecs.inject("rewrite", change=lambda _fields: {"RegionId": "x", **content})
    virtual_ecs.inject(fault)
    reply = await curl(virtual_ecs, "DescribeTasks")
    assert reply.status == 200
    assert {name: reply.data[name] for name in content} == content


async def test_cut_short(virtual_ecs: EcsEmulator) -> None:
    """An answer with rows cut off still has the whole TotalCount."""
    ids = [virtual_ecs.add_task() for _ in range(3)]
    virtual_ecs.inject("cut_short", rows=1)
    reply = await curl(virtual_ecs, "DescribeTasks")
    assert (reply.task_ids, reply.data["TotalCount"]) == (ids[:1], 3)


async def test_doubled_and_foreign_rows_add_up(virtual_ecs: EcsEmulator) -> None:
    """Faults in rows add up: all of them change the same answer."""
    first, second = virtual_ecs.add_task(), virtual_ecs.add_task()
    virtual_ecs.inject("double", task_id=first)
    virtual_ecs.inject("foreign", rows=2)
    reply = await curl(virtual_ecs, "DescribeTasks", TaskIds=f"{first},{second}")
    assert reply.task_ids == ["t-foreign0", "t-foreign1", first, first, second]


async def test_foreign_row_in_an_empty_answer(virtual_ecs: EcsEmulator) -> None:
    """A foreign row needs no other."""
    virtual_ecs.inject("foreign")
    assert (await curl(virtual_ecs, "DescribeTasks")).task_ids == ["t-foreign0"]


async def test_backwards(virtual_ecs: EcsEmulator) -> None:
    """A finished task is shown as running again."""
    done, other = virtual_ecs.add_task(), virtual_ecs.add_task()
    virtual_ecs.inject("backwards", task_id=done)
    rows = {row["TaskId"]: row for row in (await curl(virtual_ecs, "DescribeTasks")).data["TaskSet"]["Task"]}
    assert rows[done]["TaskStatus"] == "Processing"
    assert "FinishedTime" not in rows[done]
    assert rows[other]["TaskStatus"] == "Finished"


async def test_rewrite(virtual_ecs: EcsEmulator) -> None:
    """A function changes the fields, in place or into others."""
    virtual_ecs.inject("rewrite", change=lambda fields: fields.pop("TaskSet") and None, times=1)
    assert "TaskSet" not in (await curl(virtual_ecs, "DescribeTasks")).data
    virtual_ecs.inject("rewrite", change=lambda fields: {"RegionId": fields["RegionId"]}, times=1)
    assert set((await curl(virtual_ecs, "DescribeTasks")).data) == {"RegionId", "RequestId"}


@pytest.mark.parametrize(
    ("content", "expected"), [([1], b"[1]"), ("text", b"text"), (b"\x00", b"\x00"), ({"a": None}, b'{"a": null}')]
)
async def test_body(virtual_ecs: EcsEmulator, content: object, expected: bytes) -> None:
    """Another body altogether: text and bytes as they are, all else as JSON."""
    virtual_ecs.inject("body", content=content, content_type="text/plain")
    virtual_ecs.inject("drop")
    virtual_ecs.inject("rewrite", change=lambda fields: fields)
    reply = await curl(virtual_ecs, "DescribeTasks")
    assert (reply.status, reply.body, reply.headers["Content-Type"]) == (200, expected, "text/plain")


async def test_clock(virtual_ecs: EcsEmulator) -> None:
    """A clock that is off changes every time in an answer, and how the times in a request are read."""
    task_id = virtual_ecs.add_task()
    virtual_ecs.inject("clock", offset=-3600)
    reply = await curl(virtual_ecs, "DescribeTasks", StartTime="2025-12-31T23:00:00Z", EndTime="2025-12-31T23:00:00Z")
    assert reply.headers["Date"] == "Wed, 31 Dec 2025 23:00:00 GMT"
    assert reply.task_ids == [task_id]
    assert reply.data["TaskSet"]["Task"][0]["CreationTime"] == "2025-12-31T23:00:00Z"


async def test_delay(virtual_ecs: EcsEmulator) -> None:
    """An answer is late by that many seconds; delays add up."""
    loop = asyncio.get_running_loop()
    virtual_ecs.inject("delay", seconds=5)
    virtual_ecs.inject("delay", seconds=2)
    began = loop.time()
    assert (await curl(virtual_ecs, "DescribeTasks")).status == 200
    assert loop.time() - began == 7


async def test_reset_before_the_answer(virtual_ecs: EcsEmulator) -> None:
    """The connection is reset without an answer, but the operation has taken effect."""
    virtual_ecs.inject("reset", times=1)
    with pytest.raises(aiohttp.ClientOSError, match="Connection reset by peer"):
        await curl(virtual_ecs, "ImportImage")
    assert virtual_ecs.requests[-1].answered is None
    assert len((await curl(virtual_ecs, "DescribeTasks")).task_ids) == 1


async def test_reset_in_the_middle_of_the_answer(virtual_ecs: EcsEmulator) -> None:
    """The status arrives and half of the body, then the connection is reset."""
    virtual_ecs.inject("reset", when="middle")
    with pytest.raises(aiohttp.ClientPayloadError, match="ConnectionResetError"):
        await curl(virtual_ecs, "DescribeTasks")
    assert virtual_ecs.requests[-1].answered == 200


async def test_reset_after_the_answer(virtual_ecs: EcsEmulator) -> None:
    """The answer arrives whole; the connection, kept alive by its word, is gone at its next use."""
    virtual_ecs.inject("reset", when="after", times=1)
    connections = 0

    async def count(*_of_the_trace: object) -> None:
        nonlocal connections
        connections += 1

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(count)
    async with aiohttp.ClientSession(connector=virtual_ecs.connector(), trace_configs=[trace]) as session:
        for expected in (1, 2, 2):
            async with session.get(virtual_ecs.url) as response:
                assert (await response.json())["Code"] == "InvalidAction.NotFound"
                assert "close" not in response.headers.get("Connection", "")
            await asyncio.sleep(1)
            assert connections == expected


@pytest.mark.parametrize(("keep", "received"), [(0, 0), (0.5, 71), (1, 142)])
async def test_truncate(virtual_ecs: EcsEmulator, keep: float, received: int) -> None:
    """The body ends before its promised length, at least one byte short."""
    virtual_ecs.inject("truncate", keep=keep)
    query = {"Action": "DescribeTasks", "Version": "2014-05-26", "RegionId": "cn-hangzhou"}
    async with virtual_ecs.session() as session, session.get(virtual_ecs.url, params=query) as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
        assert (response.content_length, response.content.total_bytes) == (143, received)


async def test_bad_gzip(virtual_ecs: EcsEmulator) -> None:
    """The body is said to be gzip and is not."""
    virtual_ecs.inject("bad_gzip")
    async with (
        aiohttp.ClientSession(connector=virtual_ecs.connector(), auto_decompress=False) as session,
        session.get(virtual_ecs.url) as response,
    ):
        assert response.headers["Content-Encoding"] == "gzip"
        body = await response.read()
    with pytest.raises(zlib.error, match="invalid"):
        zlib.decompress(body, wbits=31)


async def test_drip(virtual_ecs: EcsEmulator) -> None:
    """The body comes whole, but a few bytes at a time."""
    loop = asyncio.get_running_loop()
    virtual_ecs.inject("drip", size=10, pause=3)
    began = loop.time()
    reply = await curl(virtual_ecs, "DescribeTasks")
    assert reply.status == 200
    assert loop.time() - began == 3 * ((len(reply.body) - 1) // 10)


async def test_hang(virtual_ecs: EcsEmulator) -> None:
    """No answer ever comes; the client's own deadline ends it."""
    virtual_ecs.inject("hang")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(86_400):
            await curl(virtual_ecs, "DescribeTasks")
    assert virtual_ecs.requests[-1].answered is None


async def test_endless(virtual_ecs: EcsEmulator) -> None:
    """The body never ends, while time passes."""
    virtual_ecs.inject("endless")
    async with virtual_ecs.session() as session, session.get(virtual_ecs.url) as response:
        received = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                async for chunk in response.content.iter_any():
                    received += len(chunk)
        assert not response.content.at_eof()
    assert received > 1_000_000
