"""Hostile bodies and figures: what is no answer is a fault, and no figure or clock misleads a wait."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from support.helpers import clock, every, failure, since
from support.hostile import GOOD, GOOD_BYTES, Asked, at_first, finishes, hostile, page, response, row

from ecs_waiter import (
    ServiceUnavailableError,
    TaskNotFoundError,
    wait_for_task,
    wait_for_tasks,
)
from ecs_waiter.api.service_errors import date_of, error_info

pytestmark = pytest.mark.asyncio

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
    with hostile(at_first(body)) as service:
        await finishes(service, calls=3)


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
        await finishes(service, calls=1)


async def test_duplicate_keys() -> None:
    """Of a key that stands twice the last is taken."""
    with hostile(lambda _: b'{"TaskSet":null,' + GOOD_BYTES[1:]) as service:
        await finishes(service, calls=1)


@pytest.mark.parametrize("rows", [[row()], {"Task": [row()]}, {"Task": row()}], ids=["list", "map of list", "map"])
async def test_shapes_of_the_set(rows: Any) -> None:
    """The set of tasks is a map with a list by the book, and is read as a bare list and as a single row too."""
    with hostile(lambda _: {**GOOD, "TaskSet": rows}) as service:
        await finishes(service, calls=1)


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
    assert error_info(None, body).code is None
    with hostile(lambda asked: web.Response(status=502, body=body) if asked.number < 3 else GOOD) as service:
        await finishes(service, calls=3)


ERROR_PAGES = {
    "a huge reference": b"<Error><Code>&#" + b"9" * 5000 + b";</Code></Error>",
    "a huge hexadecimal reference": b"<Error><Code>&#x" + b"f" * 5000 + b";</Code></Error>",
    "references to nothing": b"<Error><Code>&#0;&#xd800;&#1114112;&nothing;&;</Code></Error>",
    "no end": b"<Error><Code>Internal",
    "bad UTF-8": b"<Error><Code>\xff</Code></Error>",
    "nested": b"<Error><Code><Code>A</Code></Code></Error>",
    "a document type": b'<!DOCTYPE a [<!ENTITY b "c">]><Error><Code>&b;</Code></Error>',
}


@pytest.mark.parametrize("body", ERROR_PAGES.values(), ids=ERROR_PAGES)
async def test_error_pages(body: bytes) -> None:
    """An error in odd XML is a fault like any other."""
    with hostile(lambda asked: web.Response(status=500, body=body) if asked.number < 3 else GOOD) as service:
        await finishes(service, calls=3)


# -- figures -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "total", [None, "x", "", -5, True, 1.5, [], {}, "1", 10**300, 2**63, float("nan"), float("inf")]
)
async def test_total_count_of_what_is_there(total: object) -> None:
    """A task that is in the answer settles, whatever the answer's count says."""
    with hostile(lambda _: page(row(), TotalCount=total)) as service:
        await finishes(service, calls=1)


@pytest.mark.parametrize("total", [None, "x", -5, True, 1.5, [], float("nan")])
async def test_total_count_that_is_none(total: object) -> None:
    """Without a readable count a missing ID is absent only when asked alone: its grace begins there."""
    with hostile(lambda asked: page(*(row(i) for i in asked.task_ids if i == "t-1"), TotalCount=total)):
        start = clock()
        results = await wait_for_tasks(["t-1", "t-2"], return_exceptions=True, policy=every(7))
        assert isinstance(results["t-2"], TaskNotFoundError)
        assert since(start) == 7 + 60


@pytest.mark.parametrize("size", [1, 10])
async def test_pages_that_are_too_short(size: int) -> None:
    """A service that gives pages of its own size, and no count, loses nobody."""
    ids = [f"t-{number:02}" for number in range(30)]

    def answer(asked: Asked) -> dict[str, Any]:
        return {"TaskSet": {"Task": [row(task_id) for task_id in asked.task_ids[:size]]}}

    with hostile(answer):
        results = await wait_for_tasks(ids, policy=every(7, not_found_grace=10))
        assert list(results) == ids


async def test_rows_of_other_tasks_only() -> None:
    """An answer that lists only tasks that nobody asked for says nothing of the one asked for."""

    def answer(asked: Asked) -> dict[str, Any]:
        return page(row("t-other") if asked.number < 20 else row("t-1"), TotalCount=1)

    with hostile(answer):
        assert (await wait_for_task("t-1", policy=every(7, not_found_grace=10))).task_id == "t-1"


@pytest.mark.parametrize("rows", [False, 0, "", {}, None, "t-1", 5])
async def test_sets_of_another_type(rows: object) -> None:
    """What is not a list of rows is a fault and no absence; so is null without a count."""

    def answer(asked: Asked) -> dict[str, Any]:
        return {"TaskSet": {"Task": rows}} if asked.number < 20 else page(row("t-1"))

    with hostile(answer):
        assert (await wait_for_task("t-1", policy=every(7, not_found_grace=10))).task_id == "t-1"


@pytest.mark.parametrize("task_set", [{}, {"Task": None}])
async def test_no_rows_that_are_counted(task_set: dict[str, object]) -> None:
    """No rows, null or left out, are none where the service counts none."""
    with hostile(lambda _: {"TaskSet": task_set, "TotalCount": 0}):
        await failure(TaskNotFoundError, wait_for_task("t-1"))


async def test_a_count_that_contradicts_the_rows() -> None:
    """An answer that counts fewer tasks than it lists says nothing of those that it does not list."""

    def answer(asked: Asked) -> dict[str, Any]:
        listed = asked.task_ids if asked.number > 20 else asked.task_ids[:1]
        return page(*map(row, listed), TotalCount=len(listed) if asked.number > 20 else 0)

    with hostile(answer):
        assert list(await wait_for_tasks(["t-1", "t-2"], policy=every(7, not_found_grace=10))) == ["t-1", "t-2"]


async def test_a_single_row_for_a_set() -> None:
    """A task set that is one row is read."""
    with hostile(lambda _: {"TaskSet": row("t-1"), "TotalCount": 1}):
        assert (await wait_for_task("t-1")).task_id == "t-1"


@pytest.mark.parametrize("total", [7, 10**300, "7"])
async def test_total_count_that_is_always_too_high(total: object) -> None:
    """An ID that every answer counts and none lists, asked alone too, is a fault after the budget, never absent."""
    with hostile(lambda asked: page(*(row(i) for i in asked.task_ids if i == "t-1"), TotalCount=total)):
        policy = every(2, outage_budget=100)
        results = await wait_for_tasks(["t-1", "t-2"], return_exceptions=True, policy=policy, timeout=120)
        assert isinstance(results["t-2"], ServiceUnavailableError)


@pytest.mark.parametrize(
    "created",
    ["2999-01-01T00:00Z", "0001-01-01T00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "", "x", 5, None],
)
@pytest.mark.parametrize("date", ["Thu, 01 Jan 2026 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "x", ""])
async def test_wrong_clocks_leave_the_pace_in_bounds(created: object, date: str) -> None:
    """Whatever a row's creation time and the answer's date say, the pace stays between floor and ceiling."""

    def answer(asked: Asked) -> web.Response:
        status = "Processing" if asked.number < 4 else "Finished"
        return response(json.dumps(page(row("t-1", status, CreationTime=created))).encode(), Date=date)

    with hostile(answer):
        start = clock()
        await wait_for_task("t-1")
        assert 3 * 2 <= since(start) <= 3 * 30


DATES = ["", " ", ",", "x", "1 1 1 1 1", "0", "Thu, 01 Jan 1970 00:00:00 +9999999", "Mon, 99 Jan 2026 99:99:99 GMT",
         "99999999999999999999 Jan 99999999999999999999 1:1:1 GMT", "Mon, 01 Jan 0001 00:00:00 +1400"]  # fmt: skip


@pytest.mark.parametrize("date", DATES)
async def test_a_date_that_is_none(date: str) -> None:
    """A Date header that is none does no harm."""
    with hostile(lambda _: response(Date=date)) as service:
        await finishes(service, calls=1)


@given(date=st.text(alphabet=" ,:+-0123456789GMTJanFri", max_size=40))
async def test_any_date(date: str) -> None:
    """No text in the Date header escapes as an error."""
    found = date_of({"Date": date})
    assert found is None or datetime.fromtimestamp(found, UTC)
