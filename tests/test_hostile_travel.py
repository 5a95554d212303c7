"""Hostile travel: an answer that breaks HTTP is a fault, and an odd one is read."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from support.hostile import GOOD, GOOD_BYTES, LENGTH, Asked, Raw, at_first, finishes, hostile, page, raw, response, row

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.asyncio

BAD_TRAVEL = {
    "too short a length": raw("HTTP/1.1 200 OK", "Content-Length: 10"),
    "too long a length": raw("HTTP/1.1 200 OK", "Content-Length: 99999"),
    "a negative length": raw("HTTP/1.1 200 OK", "Content-Length: -5"),
    "two lengths": raw("HTTP/1.1 200 OK", "Content-Length: 10", LENGTH),
    "length and chunks": raw("HTTP/1.1 200 OK", "Content-Length: 3", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "no chunk": raw("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=b"zz\r\n"),
    "half a chunk": raw("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=b"ff\r\nabc"),
    "no status line": Raw(b"hello"),
    "binary": Raw(bytes(range(256))),
    "nothing": Raw(b""),
    "status 999": raw("HTTP/1.1 999 What", LENGTH),
    "status 000": raw("HTTP/1.1 000 What", LENGTH),
    "status 101": raw("HTTP/1.1 101 Switching Protocols"),
    "a huge header": raw("HTTP/1.1 200 OK", "X-Big: " + "x" * 100_000, LENGTH),
    "countless headers": raw("HTTP/1.1 200 OK", *(f"X-{n}: y" for n in range(50_000)), LENGTH),
    "gzip that is none": raw("HTTP/1.1 200 OK", "Content-Encoding: gzip", LENGTH),
    "gzip in gzip": raw("HTTP/1.1 200 OK", "Content-Encoding: gzip, gzip", LENGTH),
    "another encoding": raw("HTTP/1.1 200 OK", "Content-Encoding: br", LENGTH),
}


@pytest.mark.parametrize("answer", BAD_TRAVEL.values(), ids=BAD_TRAVEL)
async def test_bad_travel_is_a_fault(answer: Raw) -> None:
    """An answer that breaks HTTP is a passing fault."""
    with hostile(at_first(answer)) as service:
        await finishes(service, calls=3)


GOOD_TRAVEL = {
    "a continuation first": Raw(b"HTTP/1.1 100 Continue\r\n\r\n" + raw("HTTP/1.1 200 OK", LENGTH).data),
    "until the end": raw("HTTP/1.1 200 OK"),
    "two at once": Raw(raw("HTTP/1.1 200 OK", LENGTH).data * 2),
    "an unknown charset": raw("HTTP/1.1 200 OK", "Content-Type: application/json; charset=klingon", LENGTH),
    "another media type": raw("HTTP/1.1 200 OK", "Content-Type: image/png", LENGTH),
    "odd bytes in a header": raw("HTTP/1.1 200 OK", "X-Odd: \u00e9\u2603", LENGTH),
}


@pytest.mark.parametrize("answer", GOOD_TRAVEL.values(), ids=GOOD_TRAVEL)
async def test_odd_travel(answer: Raw) -> None:
    """An answer that is merely odd is read."""
    with hostile(lambda _: answer) as service:
        await finishes(service, calls=1)


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("GZIP", gzip.compress), ("deflate", zlib.compress), ("", bytes)]
)
async def test_packed_answers(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    """What was asked for, gzip and deflate, is unpacked."""
    with hostile(lambda _: response(pack(GOOD_BYTES), Content_Encoding=encoding)) as service:
        await finishes(service, calls=1)


async def test_a_bomb_is_a_fault() -> None:
    """A small body that unpacks to a huge one is a fault before it is unpacked."""
    bomb = gzip.compress(b" " * 50_000_000)
    with hostile(lambda asked: response(bomb, Content_Encoding="gzip") if asked.number < 3 else GOOD) as service:
        await finishes(service, calls=3)


async def test_a_huge_body_is_a_fault() -> None:
    """A body beyond any page's size is a fault."""
    with hostile(at_first(GOOD_BYTES + b" " * 8_000_000)) as service:
        await finishes(service, calls=3)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(status: int) -> None:
    """A signed request follows no redirect: it is a fault."""
    away = {"Location": "http://127.0.0.1:2/?there"}
    with hostile(lambda asked: web.Response(status=status, headers=away) if asked.number < 3 else GOOD) as service:
        await finishes(service, calls=3)
        assert {asked.headers["host"] for asked in service.asked} == {"127.0.0.1:1"}


async def test_no_cookies() -> None:
    """A cookie that the service sets is not sent back."""

    def answer(asked: Asked) -> web.Response:
        status = "Processing" if asked.number < 3 else "Finished"
        return response(json.dumps(page(row("t-1", status))).encode(), Set_Cookie="a=b; Path=/")

    with hostile(answer) as service:
        await finishes(service, calls=3)
        assert not any("cookie" in asked.headers for asked in service.asked)
