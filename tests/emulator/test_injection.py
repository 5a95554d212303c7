"""A fault hits requests by count, by seeded probability, by filter and by predicate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from support.curling import curl

from ecs_waiter.emulator import EcsEmulator

if TYPE_CHECKING:
    from collections.abc import Sequence


async def _statuses(ecs: EcsEmulator, count: int, **options: Any) -> Sequence[int]:
    return [(await curl(ecs, "DescribeTasks", **options)).status for _ in range(count)]


@pytest.mark.asyncio
async def test_by_count(virtual_ecs: EcsEmulator) -> None:
    """`times` limits the hits; the handle counts them."""
    handle = virtual_ecs.inject("throttle", times=2)
    assert await _statuses(virtual_ecs, 1) == [400]
    assert repr(handle).endswith(" hits=1>")
    assert handle.active
    assert await _statuses(virtual_ecs, 3) == [400, 200, 200]
    assert repr(handle).endswith(" hits=2 inactive>")
    assert (handle.hits, handle.active) == (2, False)


@pytest.mark.asyncio
async def test_faults_of_the_whole_answer_take_turns(virtual_ecs: EcsEmulator) -> None:
    """Of faults that decide the whole answer only the first hits; the next one waits until it is over."""
    virtual_ecs.inject("throttle", times=2)
    virtual_ecs.inject("status", status=503, times=1)
    assert await _statuses(virtual_ecs, 4) == [400, 400, 503, 200]


@pytest.mark.asyncio
async def test_removed_fault_hits_no_more(virtual_ecs: EcsEmulator) -> None:
    """A handle takes its fault out, and `clear_faults` takes out all."""
    first = virtual_ecs.inject("throttle")
    second = virtual_ecs.inject("status", status=500)
    first.remove()
    assert await _statuses(virtual_ecs, 1) == [500]
    virtual_ecs.clear_faults()
    assert await _statuses(virtual_ecs, 1) == [200]
    assert (first.active, second.active) == (False, False)


@pytest.mark.asyncio
async def test_by_filters_and_predicate(virtual_ecs: EcsEmulator) -> None:
    """Operation, region and predicate must all agree."""
    virtual_ecs.inject(
        "throttle", action="DescribeTasks", region_id="us-west-1", where=lambda request: "t-1" in request.task_ids
    )
    assert await _statuses(virtual_ecs, 1, region="us-west-1", TaskIds="t-1") == [400]
    assert await _statuses(virtual_ecs, 1, region="us-west-1", TaskIds="t-2") == [200]
    assert await _statuses(virtual_ecs, 1, TaskIds="t-1") == [200]
    assert (await curl(virtual_ecs, "CancelTask", region="us-west-1", TaskId="t-1")).code == "InvalidTaskId.NotFound"


@pytest.mark.asyncio
async def test_by_probability_with_a_seed(virtual_ecs: EcsEmulator) -> None:
    """The same seed makes the same choices, in the share that was asked for."""
    seen = []
    for seed in (7, 7, 8):
        handle = virtual_ecs.inject("throttle", probability=0.3, seed=seed)
        seen.append(await _statuses(virtual_ecs, 100))
        handle.remove()
        assert 20 <= handle.hits <= 40
    assert seen[0] == seen[1] != seen[2]


@pytest.mark.asyncio
async def test_probability_of_the_extremes(virtual_ecs: EcsEmulator) -> None:
    """0 never hits and 1 always does."""
    never = virtual_ecs.inject("throttle", probability=0)
    virtual_ecs.inject("status", status=500, probability=1)
    assert await _statuses(virtual_ecs, 20) == [500] * 20
    assert never.hits == 0


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (
            "throttel",
            {},
            "unknown fault 'throttel'; the faults are backwards, bad_gzip, body, clock, cut_short, delay, double, ",
        ),
        ("throttle", {"retry": 5}, "'throttle' has no retry; its settings are code, status, message, retry_after, "),
        ("hang", {"seconds": 5}, "'hang' has no seconds; it has no settings"),
        ("reject", {}, "'reject' lacks a setting: .*task_id"),
        ("throttle", {"probability": -0.1}, "probability takes a number, from 0 to 1, not -0.1"),
        ("throttle", {"probability": 1.5}, "probability takes a number, from 0 to 1, not 1.5"),
        ("throttle", {"probability": math.nan}, "probability takes a number, from 0 to 1, not nan"),
        ("throttle", {"probability": True}, "probability takes a number, from 0 to 1, not True"),
        ("throttle", {"times": 0}, "times takes a number, 1 or more, not 0"),
        ("throttle", {"times": 1.5}, "times takes a whole number, not 1.5"),
        ("throttle", {"where": "DescribeTasks"}, "where takes a function of the request, not 'DescribeTasks'"),
        ("throttle", {"retry_after": -1}, "retry_after takes a number, 0 or more, not -1"),
        ("throttle", {"status": 200}, "status takes a number, from 400 to 599, not 200"),
        ("quota", {"calls": -1}, "calls takes a number, 0 or more, not -1"),
        ("throttle", {"retry_after": math.inf}, "retry_after takes a number, from 0 to 1e"),
        ("throttle", {"retry_form": "weeks"}, "retry_form takes one of milliseconds, seconds, date, not 'weeks'"),
        ("throttle", {"retry_form": "date", "older_header": True}, "older_header needs retry_form='milliseconds'"),
        ("quota", {"per": 0, "aligned": True}, "aligned windows take per as a number of seconds above 0, not 0"),
        ("quota", {"per": math.inf, "aligned": True}, "aligned windows take per as a number of seconds above 0"),
        ("ratelimit", {"remain": -1}, "remain takes a number, 0 or more, not -1"),
        ("ratelimit", {"header": "x-other"}, "header takes one of x-ratelimit-user-api, x-ratelimit-user"),
        ("unreadable", {"row": {1, 2}}, "row takes what JSON can hold"),
        ("quota", {"per": -1}, "per takes a number, 0 or more, not -1"),
        ("status", {"status": 99}, "status takes a number, from 200 to 599, not 99"),
        ("status", {"body": "yaml"}, "body takes one of json, xml, html, not 'yaml'"),
        ("refuse", {"status": "403"}, "status takes a number, from 400 to 599, not '403'"),
        ("reject", {"task_id": "t-1", "status": 200}, "status takes a number, from 400 to 599"),
        ("reset", {"when": "never"}, "when takes one of before, middle, after, not 'never'"),
        ("truncate", {"keep": 2}, "keep takes a number, from 0 to 1, not 2"),
        ("delay", {"seconds": -1}, "seconds takes a number, from 0 to 1e"),
        ("drip", {"size": 0}, "size takes a number, 1 or more, not 0"),
        ("drip", {"pause": -1}, "pause takes a number"),
        ("cut_short", {"rows": -1}, "rows takes a number, 0 or more, not -1"),
        ("foreign", {"rows": 0.5}, "rows takes a whole number, not 0.5"),
        ("rewrite", {"change": None}, "change takes a function of the answer's fields, not None"),
        ("body", {"status": 99}, "status takes a number, from 200 to 599, not 99"),
        ("body", {"content": {1, 2}}, "content takes bytes, text or what JSON can hold"),
        ("clock", {"offset": math.inf}, "offset takes a number"),
    ],
)
def test_fault_that_cannot_be_is_refused(kind: str, settings: dict[str, Any], message: str) -> None:
    """An unknown fault or setting is an error that lists what there is; an impossible value says what can be."""
    with pytest.raises(ValueError, match=message):
        EcsEmulator().inject(kind, **settings)
