"""Answers made to exhaust whoever reads them: each is a fault, or read within bounds, and the wait goes on."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from support.hostile import GOOD_BYTES, LENGTH, Asked, Raw, at_first, finishes, hostile, page, raw, row

from ecs_waiter import ServiceUnavailableError, TaskFailedError, wait_for_task

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.asyncio

# The bound on an answer; what is made of it in memory may be a good deal larger, but not without an end.
BOUND = 4 * 2**20
MEMORY = 40 * BOUND

HEADERS = {
    "one huge name": raw("HTTP/1.1 200 OK", f"{'X' * 100_000}: y", LENGTH),
    "a huge reason phrase": raw(f"HTTP/1.1 200 {'x' * 100_000}", LENGTH),
    "a huge status line": Raw(b"HTTP/1.1 200 " + b"x" * 2**20),
    "folded for ever": raw("HTTP/1.1 200 OK", "X: y", *[" z" * 50] * 20_000, LENGTH),
    "100,000 cookies": raw("HTTP/1.1 200 OK", *(f"Set-Cookie: c{n}=v" for n in range(100_000)), LENGTH),
    "a chunk's size of digits": raw("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=b"1" * 2**20),
    "a chunk's endless extension": raw("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=b"1;" + b"x" * 2**20),
    "endless trailers": raw(
        "HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=b"0\r\n" + b"".join(b"X%d: y\r\n" % n for n in range(90_000))
    ),
    "a length of digits": raw("HTTP/1.1 200 OK", f"Content-Length: {'9' * 5000}"),
}  # fmt: skip


@pytest.mark.parametrize("answer", HEADERS.values(), ids=HEADERS)
async def test_header_bombs(answer: Raw) -> None:
    """Headers without an end are a fault, before they fill the memory."""
    tracemalloc.start()
    try:
        with hostile(at_first(answer)) as service:
            await finishes(service, calls=3)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


async def test_continuations_for_a_while() -> None:
    """Ten thousand interim answers before the answer are passed over."""
    many = Raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000 + raw("HTTP/1.1 200 OK", LENGTH).data)
    with hostile(at_first(many)) as service:
        task = await wait_for_task("t-1")
    assert task.task_status == "Finished"
    assert len(service.asked) <= 3


def _nested(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    return (opening * depth + closing * depth).encode()


DEEP = {
    "lists": _nested(1_000_000),
    "maps": _nested(100_000, '{"a":', "}").replace(b":}", b":1}"),
    "unclosed": b"[" * 2_000_000,
    "just deep enough": b'{"TaskSet":' + _nested(900) + b"}",
    "deep in a row": json.dumps(page(row())).encode().replace(b'"m-1"', _nested(100_000)),
    "deep and escaped": b'{"\\u0041":' + _nested(100_000) + b"}",
    "deep and escaped, just readable": b'{"\\u0041":' + _nested(900) + b"}",
    "deep error": b'{"Code":"A","Message":' + _nested(50_000) + b"}",
}


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("body", DEEP.values(), ids=DEEP)
async def test_deep_json(body: bytes, status: int) -> None:
    """JSON of any depth is a fault, on any status."""
    head = (f"HTTP/1.1 {status} OK", f"Content-Length: {len(body)}")
    with hostile(at_first(raw(*head, body=body))) as service:
        await finishes(service, calls=3)


async def test_a_deep_reason() -> None:
    """A failed task whose reason is nested without an end is a failed task without a reason."""

    def answer(asked: Asked) -> Any:
        return page(row("t-1", "Failed")) if asked.action == "DescribeTasks" else _nested(100_000)

    with hostile(answer), pytest.raises(TaskFailedError) as failed:
        await wait_for_task("t-1")
    assert failed.value.detail is None


CROWDS: dict[str, Callable[[], bytes]] = {
    "numbers": lambda: json.dumps(page(*([1] * 1_000_000))).encode(),
    "empty rows": lambda: json.dumps(page(*([{}] * 900_000)), separators=(",", ":")).encode(),
    "strangers": lambda: json.dumps(page(*({"TaskId": f"t-x{n}"} for n in range(170_000)))).encode(),
    "strangers that finished": lambda: json.dumps(page(*(row(f"t-x{n}") for n in range(22_000)))).encode(),
    "one task": lambda: json.dumps(page(*({"TaskId": "t-1", "TaskStatus": f"S{n}"} for n in range(90_000)))).encode(),
    "keys": lambda: json.dumps(page(**{f"k{n}": 0 for n in range(250_000)})).encode(),
    "rows with an escape": lambda: json.dumps(page(*([{"a": "\n" * 40}] * 40_000))).encode(),
}


@pytest.mark.parametrize("crowd", CROWDS.values(), ids=CROWDS)
async def test_rows_nobody_asked_for(crowd: Callable[[], bytes]) -> None:
    """As many rows as an answer may hold settle nothing, harm nobody and are not kept."""
    body = crowd()
    assert BOUND / 3 < len(body) <= BOUND
    with hostile(at_first(body, times=1)) as service:
        tracemalloc.start()
        try:
            task = await wait_for_task("t-1")
            assert tracemalloc.get_traced_memory()[1] < MEMORY
        finally:
            tracemalloc.stop()
    assert task.task_status == "Finished"
    assert len(service.asked) == 2


async def test_just_within_the_bound() -> None:
    """The largest answer that is allowed is read; one byte more is a fault."""
    with hostile(lambda _: GOOD_BYTES.ljust(BOUND)):
        assert (await wait_for_task("t-1")).task_status == "Finished"
    with hostile(at_first(GOOD_BYTES.ljust(BOUND + 1), times=1)) as service:
        await finishes(service, calls=2)


@pytest.mark.parametrize("more", [0, 1])
async def test_the_bound_on_what_is_unpacked(more: int) -> None:
    """The bound holds for the unpacked answer too, to the byte."""
    packed = gzip.compress(GOOD_BYTES.ljust(BOUND + more))
    head = ("HTTP/1.1 200 OK", "Content-Encoding: gzip", f"Content-Length: {len(packed)}")
    with hostile(at_first(raw(*head, body=packed), times=1)) as service:
        await finishes(service, calls=1 + more)


async def test_bombs_for_ever() -> None:
    """A service that throws nothing but bombs is an outage: the budget ends the wait."""
    bomb = gzip.compress(b" " * (64 * BOUND))
    head = ("HTTP/1.1 200 OK", "Content-Encoding: gzip", f"Content-Length: {len(bomb)}")
    with hostile(lambda _: raw(*head, body=bomb)), pytest.raises(ServiceUnavailableError, match="larger than"):
        await wait_for_task("t-1")
