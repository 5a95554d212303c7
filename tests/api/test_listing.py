"""Answers by the book are read in one pass: to the letter as the patient reader would, which has all the others."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import SchemaValidator

from ecs_waiter import ServiceUnavailableError, Task
from ecs_waiter.api import faults, listing
from ecs_waiter.api.answers import snapshot_of
from ecs_waiter.api.listing import read_listing
from ecs_waiter.api.transport import Answer

# Whose models can be read otherwise than their class does.
quickly = pytest.mark.skipif(
    tuple(map(int, pydantic.VERSION.split(".")[:2])) < (2, 13), reason="pydantic 2.13 or newer"
)

REGION = "cn-hangzhou"
ROW = {
    "CreationTime": "2026-11-24T12:50:00Z",
    "FinishedTime": "2026-11-24T13:50Z",
    "ResourceId": "m-1",
    "SupportCancel": "true",
    "TaskAction": "ImportImage",
    "TaskId": "t-1",
    "TaskStatus": "Finished",
}
PAGE = {
    "PageNumber": 1,
    "PageSize": 1,
    "RegionId": REGION,
    "RequestId": "R",
    "TaskSet": {"Task": [ROW]},
    "TotalCount": 1,
}

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["Finished", "Odd", "true", " FALSE ", "yes", "2026-01-01", "0001-01-01T00:00+23:59", "9" * 50]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(ROW)), inner, max_size=3),
    max_leaves=6,
)
NAMED = {name: st.just(ROW[name]) | VALUES for name in ROW} | dict.fromkeys(
    ["task_id", "task_status", "RegionId"], VALUES
)
ROWS = st.lists(st.fixed_dictionaries({}, optional=NAMED), max_size=3)
BOOKISH = st.fixed_dictionaries({"TaskSet": st.fixed_dictionaries({"Task": ROWS})}, optional={"TotalCount": VALUES})


def _read(body: bytes) -> tuple[Any, ...]:
    """As the patient reader does."""
    snapshot = snapshot_of(REGION, Answer(faults.parsed(body), None, 0))
    return snapshot.tasks, [task.model_fields_set for task in snapshot.tasks], snapshot.total_count


def _read_at_once(body: bytes) -> tuple[Any, ...] | None:
    found = read_listing(REGION, body)
    if found is None:
        return None
    snapshot = snapshot_of(REGION, Answer({}, None, 0, found))
    return snapshot.tasks, [task.model_fields_set for task in snapshot.tasks], snapshot.total_count


@quickly
def test_by_the_book() -> None:
    """The documented answer is read at once, into plain Tasks."""
    body = json.dumps(PAGE).encode()
    found = _read_at_once(body)
    assert found is not None
    assert found == _read(body)
    assert [type(task) for task in found[0]] == [Task]
    assert found[0][0].region_id == REGION


@quickly
@pytest.mark.parametrize(
    "row",
    [
        {},
        {"TaskStatus": "Odd"},
        {"FinishedTime": ""},
        {"FinishedTime": None},
        {"CreationTime": 7},
        {"CreationTime": "2026-11-24T12:50:00+08:00"},
        {"RegionId": "elsewhere"},
        {"SupportCancel": "maybe"},
        {"Extra": {"deep": [1]}},
        {"region_id": "x", "task_action": "y", "TaskAction": "z"},
    ],
)
def test_small_oddities(row: dict[str, Any]) -> None:
    """What is odd in one value is read at once, too, and means the same."""
    body = json.dumps({**PAGE, "TaskSet": {"Task": [{**ROW, **row}]}}).encode()
    assert _read_at_once(body) == _read(body)


@pytest.mark.parametrize(
    "page",
    [
        {"TaskSet": [ROW]},
        {"TaskSet": {"Task": ROW}},
        {"TaskSet": {"Task": None}},
        {"TaskSet": {}},
        {"TaskSet": {"Task": [ROW, 1]}},
        {"TaskSet": {"Task": [{**ROW, "TaskId": 7}]}},
        {"TaskSet": {"Task": [{**ROW, "SupportCancel": True}]}},
        {"TaskSet": {"Task": [{**ROW, "TaskAction": 12}]}},
        {"TaskSet": {"Task": [{**ROW, "ResourceId": []}]}},
        {"TaskSet": {"Task": [{"task_id": "t-1"}]}},
        {"TaskSet": {"Task": [{"TaskId": "t-1"}] * 10_001}},
        {"Code": "Throttling"},
        [],
    ],
)
def test_what_is_odd_is_left(page: Any) -> None:
    """Shapes that are not by the book are for the patient reader."""
    assert read_listing(REGION, json.dumps(page).encode()) is None


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"TaskSet": {"Task": [' + b"[" * 500 + b"]}}"])
def test_no_json(body: bytes) -> None:
    """So is what cannot be read at all."""
    assert read_listing(REGION, body) is None


@given(page=BOOKISH)
def test_both_readers_agree(page: dict[str, Any]) -> None:
    """Whatever the quick reader takes, the patient one reads alike."""
    body = json.dumps(page).encode()
    try:
        found = _read_at_once(body)
    except ServiceUnavailableError:
        # A row without a status is a fault for both.
        with pytest.raises(ServiceUnavailableError):
            _read(body)
        return
    assert found is None or found == _read(body)


@pytest.mark.parametrize("broken", [TypeError("no such argument"), KeyError("schema")])
def test_another_pydantic(broken: Exception) -> None:
    """Where pydantic does not make the reader, all answers are left."""
    listing._reader.cache_clear()
    try:
        with mock.patch.object(listing, "SchemaValidator", side_effect=broken):
            assert read_listing(REGION, json.dumps(PAGE).encode()) is None
    finally:
        listing._reader.cache_clear()


@quickly
def test_a_pydantic_that_reads_otherwise() -> None:
    """Where it makes one that believes the rows about their region, that is noticed before any answer is read."""
    listing._reader.cache_clear()

    def ask_the_class(answer: Any, *_config: Any, **_settings: Any) -> SchemaValidator:
        return SchemaValidator(answer)

    try:
        with mock.patch.object(listing, "SchemaValidator", ask_the_class):
            assert read_listing(REGION, json.dumps(PAGE).encode()) is None
    finally:
        listing._reader.cache_clear()
