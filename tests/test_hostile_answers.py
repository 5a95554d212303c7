"""Hostile answers: whatever the wire holds, it harms at most the task concerned, and nothing but a fault comes of it."""

from __future__ import annotations

import gzip
import json
import logging
import zlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from helpers import clock, every, failure, since
from hostile import Asked, Raw, hostile, page, row
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecs_waiter import (
    EcsClient,
    PollPolicy,
    ServiceUnavailableError,
    Task,
    TaskCanceledError,
    TaskFailedError,
    TaskNotFoundError,
    wait_for_task,
    wait_for_tasks,
)
from ecs_waiter.api.faults import date_of, told_by

if TYPE_CHECKING:
    from collections.abc import Callable

    from hostile import Service

pytestmark = pytest.mark.asyncio

GOOD = page(row())
GOOD_BYTES = json.dumps(GOOD).encode()


def _at_first(answer: Any, times: int = 2) -> Callable[[Asked], Any]:
    """A service that answers so a few times, then by the book."""
    return lambda asked: answer if asked.number <= times else GOOD


def _response(body: bytes = GOOD_BYTES, **headers: str) -> web.Response:
    return web.Response(body=body, headers={name.replace("_", "-"): value for name, value in headers.items()})


def _raw(*head: str, body: bytes = GOOD_BYTES) -> Raw:
    return Raw("\r\n".join([*head, "", ""]).encode() + body)


async def _finishes(service: Service, calls: int) -> None:
    """The task finishes, and it took so many calls."""
    task = await wait_for_task("t-1", policy=every(1))
    assert task.task_status == "Finished"
    assert len(service.asked) == calls


# -- bodies that are no answer -----------------------------------------------------------------------------------------

NO_ANSWER = {
    "empty": b"",
    "null": b"null",
    "a list": b"[]",
    "a list of rows": json.dumps([row()]).encode(),
    "a string": b'"Finished"',
    "a number": b"5",
    "NaN": b"NaN",
    "cut off": GOOD_BYTES[:-20],
    "twice": GOOD_BYTES * 2,
    "a page of HTML": b"<html><body>Finished</body></html>",
    "deep lists": b"[" * 200_000 + b"]" * 200_000,
    "deep maps": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a huge number": b'{"TaskSet":{"Task":[]},"TotalCount":' + b"9" * 5000 + b"}",
    "bad UTF-8": b'{"TaskSet":{"Task":[]},"RequestId":"\xff"}',
    "no TaskSet": b'{"RequestId":"R","TotalCount":0}',
    "TaskSet null": b'{"TaskSet":null,"TotalCount":0}',
    "TaskSet a string": b'{"TaskSet":"none","TotalCount":0}',
    "TaskSet a number": b'{"TaskSet":0,"TotalCount":0}',
    "Task a string": b'{"TaskSet":{"Task":"none"},"TotalCount":0}',
    "an error object": b'{"Code":"InternalError","Message":"sorry","RequestId":"R"}',
    "a refusal": b'{"Code":"InvalidAccessKeyId.NotFound","Message":"sorry","RequestId":"R"}',
    "a million rows": b'{"TaskSet":{"Task":[' + b",".join([b"null"] * 1_000_000) + b"]}}",
}


@pytest.mark.parametrize("body", NO_ANSWER.values(), ids=NO_ANSWER)
async def test_no_answer_is_a_fault(body: bytes) -> None:
    """A body with status 200 that is no answer is a passing fault, and no absence of tasks."""
    with hostile(_at_first(body)) as service:
        await _finishes(service, calls=3)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"Code":"A.B","Message":"m"}', b'{"TaskSet":null}'])
async def test_no_answer_for_the_whole_budget(body: bytes) -> None:
    """If nothing but faults come, the outage budget ends the wait, to the second."""
    with hostile(lambda _: body):
        start = clock()
        error = await failure(ServiceUnavailableError, wait_for_task("t-1", policy=every(1, outage_budget=60)))
        assert since(start) == 60
        assert isinstance(error.__cause__, ServiceUnavailableError)


async def test_byte_order_mark() -> None:
    """A byte order mark before the JSON does no harm."""
    with hostile(lambda _: b"\xef\xbb\xbf" + GOOD_BYTES) as service:
        await _finishes(service, calls=1)


async def test_duplicate_keys() -> None:
    """Of a key that stands twice the last is taken."""
    with hostile(lambda _: b'{"TaskSet":null,' + GOOD_BYTES[1:]) as service:
        await _finishes(service, calls=1)


@pytest.mark.parametrize("rows", [[row()], {"Task": [row()]}, {"Task": row()}], ids=["list", "map of list", "map"])
async def test_shapes_of_the_set(rows: Any) -> None:
    """The set of tasks is a map with a list by the book, and is read as a bare list and as a single row too."""
    with hostile(lambda _: {**GOOD, "TaskSet": rows}) as service:
        await _finishes(service, calls=1)


@pytest.mark.parametrize("rows", [[], {"Task": []}, {"Task": None}])
async def test_an_empty_set_is_an_absence(rows: Any) -> None:
    """A set without rows says that the task is not there: after the grace it is unknown."""
    with hostile(lambda _: page(TaskSet=rows, TotalCount=0)):
        start = clock()
        await failure(TaskNotFoundError, wait_for_task("t-1", policy=every(7)))
        assert since(start) == 60


@pytest.mark.parametrize("padding", [b" ", b"\n", b"<", b"<Code>", b"<Message><![CDATA["])
async def test_no_page_stalls_the_loop(padding: bytes) -> None:
    """A page is searched for an error in a time that grows no faster than the page."""
    body = b"<Code>" + padding * (2_000_000 // len(padding))
    assert told_by(None, body).code is None
    with hostile(lambda asked: web.Response(status=502, body=body) if asked.number < 3 else GOOD) as service:
        await _finishes(service, calls=3)


# -- rows --------------------------------------------------------------------------------------------------------------


async def test_rows_of_other_types() -> None:
    """Rows that are no maps, and maps that name no task, harm no other row."""
    odd = [None, 5, 1.5, True, "t-1", [], ["t-1"], {}, {"TaskId": None}, {"TaskId": 5}, {"TaskId": ["t-1"]}]
    with hostile(lambda _: page(*odd, row(), *odd)) as service:
        await _finishes(service, calls=1)


async def test_tasks_nobody_asked_for() -> None:
    """Rows of other tasks settle nothing."""
    with hostile(
        lambda asked: page(row("t-0"), row("t-1", "Processing" if asked.number < 3 else "Finished"))
    ) as service:
        assert list(await wait_for_tasks(["t-1"], policy=every(1))) == ["t-1"]
        assert len(service.asked) == 3


@pytest.mark.parametrize("status", [None, 5, True, [], {}, ["Finished"], "", "finished", " Finished", "\ud800", "\0"])
async def test_a_status_that_is_none(status: object) -> None:
    """A status of another type or an unknown word is not terminal: polling goes on."""
    with hostile(lambda asked: page(row("t-1", status if asked.number < 3 else "Finished"), row("t-2"))) as service:
        await wait_for_tasks(["t-1", "t-2"], policy=every(1))
        assert [asked.task_ids for asked in service.asked] == [("t-1", "t-2"), ("t-1",), ("t-1",)]


@pytest.mark.parametrize("name", ["TaskAction", "ResourceId", "SupportCancel", "CreationTime", "FinishedTime", "Extra"])
@pytest.mark.parametrize("value", [None, 5, 1e308, True, [], {}, [[]] * 10, "\ud800", "\0\x1b[31m\n", "x" * 10**6])
@pytest.mark.parametrize("status", ["Finished", "Failed", "Deleted"])
async def test_an_odd_field_beside_the_status(name: str, value: object, status: str) -> None:
    """A task settles by its status, whatever stands in its other fields."""
    with hostile(lambda _: page(row("t-1", status, **{name: value}), row("t-2"))) as service:
        results = await wait_for_tasks(["t-1", "t-2"], return_exceptions=True, timeout=60)
    kinds = {"Failed": TaskFailedError, "Deleted": TaskCanceledError}
    if status in kinds:
        assert isinstance(results["t-1"], kinds[status])
        assert str(results["t-1"]).isprintable()
    assert isinstance(results["t-2"], Task)
    assert sum(asked.action == "DescribeTasks" for asked in service.asked) == 1


async def test_only_id_and_status() -> None:
    """An ID and a status are enough."""
    with hostile(lambda _: {"TaskSet": {"Task": [{"TaskId": "t-1", "TaskStatus": "Finished"}]}}) as service:
        await _finishes(service, calls=1)


@pytest.mark.parametrize("region", ["us-west-1", "", None, 5, ["cn-hangzhou"]])
async def test_a_wrong_region_in_a_row(region: object) -> None:
    """A task is of the region that was asked, whatever its row says."""
    with hostile(lambda _: page(row(RegionId=region), RegionId=region)):
        assert (await wait_for_task("t-1")).region_id == "cn-hangzhou"


@pytest.mark.parametrize("order", [1, -1])
async def test_rows_that_contradict_each_other(order: int) -> None:
    """Of two rows of one task the one that says it has ended is right."""
    rows = [row("t-1", "Processing"), row("t-1", "Finished")][::order]
    with hostile(lambda _: page(*rows)) as service:
        await _finishes(service, calls=1)


async def test_a_status_that_goes_backwards() -> None:
    """What has settled once stays settled, though the service takes it back later."""

    def answer(asked: Asked) -> Any:
        first = "Finished" if asked.number == 1 else "Processing"
        return page(row("t-1", first), row("t-2", "Processing" if asked.number < 3 else "Finished"))

    with hostile(answer):
        tasks = await wait_for_tasks(["t-1", "t-2"], policy=every(1))
        assert [task.task_status for task in tasks.values()] == ["Finished", "Finished"]


async def test_a_flood_of_odd_words(caplog: pytest.LogCaptureFixture) -> None:
    """Unknown words are logged once each, on one line each, and a flood of them does not flood the log."""
    ids = [f"t-{n:03}" for n in range(100)]
    with (
        hostile(
            lambda asked: page(*(row(i, f"\n\x1b[31m\ud800{i}" if asked.number == 1 else "Finished") for i in ids))
        ),
        caplog.at_level(logging.WARNING, "ecs_waiter"),
    ):
        await wait_for_tasks(ids, policy=every(1))
    assert 1 <= len(caplog.messages) <= 25
    assert all(message.isprintable() for message in caplog.messages)


# -- figures -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "total", [None, "x", "", -5, True, 1.5, [], {}, "1", 10**300, 2**63, float("nan"), float("inf")]
)
async def test_total_count_of_what_is_there(total: object) -> None:
    """A task that is in the answer settles, whatever the answer's count says."""
    with hostile(lambda _: page(row(), TotalCount=total)) as service:
        await _finishes(service, calls=1)


@pytest.mark.parametrize("total", [None, "x", -5, True, 1.5, [], "1", float("nan")])
async def test_total_count_that_is_none(total: object) -> None:
    """A count that is none cuts no answer short: a task that is not there is unknown when its grace is over."""
    with hostile(lambda _: page(row("t-1"), TotalCount=total)):
        start = clock()
        results = await wait_for_tasks(["t-1", "t-2"], return_exceptions=True, policy=every(7))
        assert isinstance(results["t-2"], TaskNotFoundError)
        assert since(start) == 60


@pytest.mark.parametrize("total", [7, 10**300, "7"])
async def test_total_count_that_is_always_too_high(total: object) -> None:
    """Answers that are for ever cut short, even if one ID is asked, do not keep an unknown ID waiting for ever."""
    with hostile(lambda asked: page(*(row(i) for i in asked.task_ids if i == "t-1"), TotalCount=total)):
        results = await wait_for_tasks(["t-1", "t-2"], return_exceptions=True, policy=every(2), timeout=120)
        assert isinstance(results["t-2"], TaskNotFoundError)


@pytest.mark.parametrize(
    "created",
    ["2999-01-01T00:00Z", "0001-01-01T00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "", "x", 5, None],
)
@pytest.mark.parametrize("date", ["Thu, 01 Jan 2026 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "x", ""])
async def test_wrong_clocks_leave_the_pace_in_bounds(created: object, date: str) -> None:
    """Whatever a row's creation time and the answer's date say, the pace stays between floor and ceiling."""

    def answer(asked: Asked) -> web.Response:
        status = "Processing" if asked.number < 4 else "Finished"
        return _response(json.dumps(page(row("t-1", status, CreationTime=created))).encode(), Date=date)

    with hostile(answer):
        start = clock()
        await wait_for_task("t-1")
        assert 3 * 2 <= since(start) <= 3 * 30


DATES = ["", " ", ",", "x", "1 1 1 1 1", "0", "Thu, 01 Jan 1970 00:00:00 +9999999", "Mon, 99 Jan 2026 99:99:99 GMT",
         "99999999999999999999 Jan 99999999999999999999 1:1:1 GMT", "Mon, 01 Jan 0001 00:00:00 +1400"]  # fmt: skip


@pytest.mark.parametrize("date", DATES)
async def test_a_date_that_is_none(date: str) -> None:
    """A Date header that is none does no harm."""
    with hostile(lambda _: _response(Date=date)) as service:
        await _finishes(service, calls=1)


@given(date=st.text(alphabet=" ,:+-0123456789GMTJanFri", max_size=40))
async def test_any_date(date: str) -> None:
    """No text in the Date header escapes as an error."""
    found = date_of({"Date": date})
    assert found is None or datetime.fromtimestamp(found, UTC)


# -- how it travels ----------------------------------------------------------------------------------------------------

LENGTH = f"Content-Length: {len(GOOD_BYTES)}"
BAD_TRAVEL = {
    "too short a length": _raw("HTTP/1.1 200 OK", "Content-Length: 10"),
    "too long a length": _raw("HTTP/1.1 200 OK", "Content-Length: 99999"),
    "a negative length": _raw("HTTP/1.1 200 OK", "Content-Length: -5"),
    "two lengths": _raw("HTTP/1.1 200 OK", "Content-Length: 10", LENGTH),
    "length and chunks": _raw("HTTP/1.1 200 OK", "Content-Length: 3", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "no chunk": _raw("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=b"zz\r\n"),
    "half a chunk": _raw("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=b"ff\r\nabc"),
    "no status line": Raw(b"hello"),
    "binary": Raw(bytes(range(256))),
    "nothing": Raw(b""),
    "status 999": _raw("HTTP/1.1 999 What", LENGTH),
    "status 000": _raw("HTTP/1.1 000 What", LENGTH),
    "status 101": _raw("HTTP/1.1 101 Switching Protocols"),
    "a huge header": _raw("HTTP/1.1 200 OK", "X-Big: " + "x" * 100_000, LENGTH),
    "countless headers": _raw("HTTP/1.1 200 OK", *(f"X-{n}: y" for n in range(50_000)), LENGTH),
    "gzip that is none": _raw("HTTP/1.1 200 OK", "Content-Encoding: gzip", LENGTH),
    "gzip in gzip": _raw("HTTP/1.1 200 OK", "Content-Encoding: gzip, gzip", LENGTH),
    "another encoding": _raw("HTTP/1.1 200 OK", "Content-Encoding: br", LENGTH),
}


@pytest.mark.parametrize("answer", BAD_TRAVEL.values(), ids=BAD_TRAVEL)
async def test_bad_travel_is_a_fault(answer: Raw) -> None:
    """An answer that breaks HTTP is a passing fault."""
    with hostile(_at_first(answer)) as service:
        await _finishes(service, calls=3)


GOOD_TRAVEL = {
    "a continuation first": Raw(b"HTTP/1.1 100 Continue\r\n\r\n" + _raw("HTTP/1.1 200 OK", LENGTH).data),
    "until the end": _raw("HTTP/1.1 200 OK"),
    "two at once": Raw(_raw("HTTP/1.1 200 OK", LENGTH).data * 2),
    "an unknown charset": _raw("HTTP/1.1 200 OK", "Content-Type: application/json; charset=klingon", LENGTH),
    "another media type": _raw("HTTP/1.1 200 OK", "Content-Type: image/png", LENGTH),
    "odd bytes in a header": _raw("HTTP/1.1 200 OK", "X-Odd: \u00e9\u2603", LENGTH),
}


@pytest.mark.parametrize("answer", GOOD_TRAVEL.values(), ids=GOOD_TRAVEL)
async def test_odd_travel(answer: Raw) -> None:
    """An answer that is merely odd is read."""
    with hostile(lambda _: answer) as service:
        await _finishes(service, calls=1)


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("GZIP", gzip.compress), ("deflate", zlib.compress), ("", bytes)]
)
async def test_packed_answers(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    """What was asked for, gzip and deflate, is unpacked."""
    with hostile(lambda _: _response(pack(GOOD_BYTES), Content_Encoding=encoding)) as service:
        await _finishes(service, calls=1)


async def test_a_bomb_is_a_fault() -> None:
    """A small body that unpacks to a huge one is a fault before it is unpacked."""
    bomb = gzip.compress(b" " * 50_000_000)
    with hostile(lambda asked: _response(bomb, Content_Encoding="gzip") if asked.number < 3 else GOOD) as service:
        await _finishes(service, calls=3)


async def test_a_huge_body_is_a_fault() -> None:
    """A body beyond any page's size is a fault."""
    with hostile(_at_first(GOOD_BYTES + b" " * 8_000_000)) as service:
        await _finishes(service, calls=3)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(status: int) -> None:
    """A signed request follows no redirect: it is a fault."""
    away = {"Location": "http://127.0.0.1:2/?there"}
    with hostile(lambda asked: web.Response(status=status, headers=away) if asked.number < 3 else GOOD) as service:
        await _finishes(service, calls=3)
        assert {asked.headers["host"] for asked in service.asked} == {"127.0.0.1:1"}


async def test_no_cookies() -> None:
    """A cookie that the service sets is not sent back."""

    def answer(asked: Asked) -> web.Response:
        status = "Processing" if asked.number < 3 else "Finished"
        return _response(json.dumps(page(row("t-1", status))).encode(), Set_Cookie="a=b; Path=/")

    with hostile(answer) as service:
        await _finishes(service, calls=3)
        assert not any("cookie" in asked.headers for asked in service.asked)


# -- the reason of a failure -------------------------------------------------------------------------------------------


def _failed(detail: Any, status: int = 200) -> Callable[[Asked], Any]:
    def answer(asked: Asked) -> Any:
        if asked.action == "DescribeTasks":
            return page(row("t-1", "Failed"))
        return web.json_response(detail, status=status)

    return answer


@pytest.mark.parametrize(
    "detail",
    [
        [], None, 5, {}, {"TaskId": "t-2"}, {"TaskId": 5}, {"OperationProgressSet": 5}, {"TaskStatus": "Finished"},
        {"OperationProgressSet": {"OperationProgress": [5, None]}}, {"Code": "A.B", "Message": "m"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [200, 400, 403, 404, 503])
async def test_a_look_up_that_fails(detail: Any, status: int) -> None:
    """A task known to have failed is told as failed in half a minute, whatever becomes of the look-up."""
    with hostile(_failed(detail, status)):
        start = clock()
        error = await failure(TaskFailedError, wait_for_task("t-1"))
        assert since(start) <= 30
        assert error.task is not None
        assert error.task.task_status == "Failed"


async def test_an_odd_reason() -> None:
    """A reason with odd characters is told, on one clean line."""
    step = {"ErrorCode": "C\ud800", "ErrorMsg": "first\nsecond\x1b[31m"}
    with hostile(_failed(row("t-1", "Failed", OperationProgressSet={"OperationProgress": [step]}))):
        error = await failure(TaskFailedError, wait_for_task("t-1"))
    assert "first" in str(error)
    assert str(error).isprintable()


# -- anything at all ---------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=()), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["TaskId", "TaskStatus", "Task", "CreationTime", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)
ROWS = st.lists(
    st.dictionaries(
        st.sampled_from(
            ["TaskId", "TaskStatus", "TaskAction", "ResourceId", "SupportCancel", "CreationTime", "RegionId"]
        ),
        st.sampled_from(["t-1", "t-2", "Finished", "Processing"]) | JSON,
    )
    | JSON,
    max_size=4,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(answers=st.lists(JSON | ROWS.map(lambda rows: page(*rows)), max_size=6))
async def test_anything(answers: list[Any]) -> None:
    """Whatever JSON the first answers hold, the wait comes to its end."""

    def answer(asked: Asked) -> Any:
        return answers[asked.number - 1] if asked.number <= len(answers) else page(row("t-1"), row("t-2"))

    with hostile(answer):
        results = await wait_for_tasks(["t-1", "t-2"], policy=every(1), timeout=300, return_exceptions=True)
    assert list(results) == ["t-1", "t-2"]


# -- listings ----------------------------------------------------------------------------------------------------------


async def test_a_listing_of_unreadable_rows() -> None:
    """A listing leaves unreadable rows aside and goes on behind them."""
    pages: list[list[Any]] = [[{"TaskId": 5}] * 100, [row("t-1"), None, "x"]]
    with hostile(lambda asked: page(*pages[asked.number - 1], TotalCount=103)):
        async with EcsClient() as client:
            assert [task.task_id async for task in client.iter_tasks()] == ["t-1"]


async def test_a_listing_that_repeats_itself() -> None:
    """A service that gives the same page for ever is not listed for ever, and each task comes once."""
    same = [row(f"t-{n}") for n in range(100)]
    with hostile(lambda _: page(*same, TotalCount=10**9)) as service:
        async with EcsClient() as client:
            assert len([task async for task in client.iter_tasks()]) == 100
        assert len(service.asked) <= 20


async def test_a_listing_that_understates_its_size() -> None:
    """Full pages are followed by the next one, though the count says that there is none."""
    pages: list[list[Any]] = [[row(f"t-{n}-{m}") for m in range(100)] for n in range(3)]
    pages.append([])
    with hostile(lambda asked: page(*pages[asked.number - 1], TotalCount=0)):
        async with EcsClient() as client:
            assert len([task async for task in client.iter_tasks()]) == 300


@pytest.mark.parametrize("figure", [None, "x", -1, 10**300, [], True])
async def test_a_page_of_odd_figures(figure: object) -> None:
    """A page's figures that cannot be read are those that were asked for."""
    with hostile(lambda _: page(row(), TotalCount=figure, PageNumber=figure, PageSize=figure, RequestId=figure)):
        async with EcsClient(policy=PollPolicy(outage_budget=5)) as client:
            found = await client.describe_tasks(task_ids=["t-1"])
    assert [task.task_id for task in found.tasks] == ["t-1"]
    if figure != 10**300:
        assert (found.total_count, found.page_number, found.page_size, found.request_id) == (1, 1, 1, found.request_id)
