"""Hostile by chance: whatever JSON or bytes come, a wait comes to its end, and to no error of our own."""

from __future__ import annotations

import gzip
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.helpers import every
from support.hostile import LENGTH, Asked, Raw, hostile, page, raw, row

from ecs_waiter import (
    EcsWaiterError,
    wait_for_tasks,
)

pytestmark = pytest.mark.asyncio

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


SAMPLES = [
    raw("HTTP/1.1 200 OK", "Date: Thu, 01 Jan 2026 00:00:00 GMT", "Set-Cookie: a=b; Path=/", LENGTH).data,
    raw("HTTP/1.1 400 No", body=b"<Error><Code>A&#65;</Code><Message><![CDATA[x]]>&amp;</Message></Error>").data,
    raw("HTTP/1.1 503 No", "Transfer-Encoding: chunked", body=b'8\r\n{"Code":\r\n5\r\n"A"}\n\r\n0\r\n\r\n').data,
    raw("HTTP/1.1 429 No", "Content-Encoding: gzip", "x-acs-retry-after: 9", body=gzip.compress(b'{"Code":"A"}')).data,
]
PIECES = [
    b"\r\n",
    b"\0",
    b"\xff",
    b": ",
    b"9" * 5000,
    b"&#x",
    b"<Code>",
    b'"',
    b"\\u0000",
    b"\\ud800",
    b"[",
    b"-1",
    b"1e999",
]


def _garbled(draw: random.Random) -> Raw:
    data = bytearray(draw.choice(SAMPLES))
    for _ in range(draw.choice((1, 1, 2, 3, 8))):
        at = draw.randrange(len(data) + 1)
        piece = draw.choice([b"", draw.randbytes(3), draw.choice(PIECES), bytes(data[at // 2 :][:20])])
        data[at : at + draw.choice((0, 0, 1, 9))] = piece
    return Raw(bytes(data))


@pytest.mark.parametrize("seed", range(100))
async def test_garbled_answers(seed: int) -> None:
    """Whatever a broken wire makes of an answer, it is a fault or an answer, and no error of our own."""
    draw = random.Random(seed)
    both = page(row("t-1"), row("t-2"))
    with hostile(lambda asked: _garbled(draw) if asked.number < 5 else both):
        results = await wait_for_tasks(["t-1", "t-2"], policy=every(1), return_exceptions=True)
    assert EcsWaiterError not in {type(result) for result in results.values()}
