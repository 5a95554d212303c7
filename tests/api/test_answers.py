"""What is made of parsed answers, whatever they hold."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecs_waiter.api.answers import detail_of, page_of, snapshot_of, task_of
from ecs_waiter.api.transport import Answer
from ecs_waiter.errors import ServiceUnavailableError
from ecs_waiter.models import Task

FIELDS = ["TaskId", "TaskStatus", "TaskAction", "ResourceId", "CreationTime", "SupportCancel", "TaskProcess", "RegionId",
          "TotalCount", "OperationProgressSet", "TaskSet", "Task", "PageNumber", "RequestId"]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5),
    max_leaves=15,
)


@given(row=JSON)
def test_any_row(row: Any) -> None:
    """A row is a task with an ID, or nothing."""
    task = task_of("cn-hangzhou", row)
    assert (task is not None) == (isinstance(row, dict) and isinstance(row.get("TaskId"), str))
    assert task is None or (task.region_id, task.task_id) == ("cn-hangzhou", row["TaskId"])


@given(data=st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_any_answer(data: dict[str, Any]) -> None:
    """An answer is a page or a fault, a detail or a fault."""
    answer = Answer(data, None, 0)
    with contextlib.suppress(ServiceUnavailableError):
        assert page_of("cn-hangzhou", answer, page_number=1, page_size=100).region_id == "cn-hangzhou"
    with contextlib.suppress(ServiceUnavailableError):
        assert detail_of("cn-hangzhou", "t-1", answer).task_id == "t-1"


@pytest.mark.parametrize(
    ("told", "count"), [(3, 3), ("3", 3), (0, 0), ("٣", None), (-1, None), (True, None), (None, None), (3.5, None)]
)
def test_the_total(told: Any, count: int | None) -> None:
    """A total is a whole number, or not told."""
    assert snapshot_of("cn-hangzhou", Answer({"TaskSet": [], "TotalCount": told}, None, 0)).total_count == count


def test_a_row_has_the_names_of_the_wire() -> None:
    """The model's own names mean nothing there."""
    task = task_of("cn-hangzhou", {"TaskId": "t-1", "task_status": "Finished", "region_id": "elsewhere"})
    assert task == Task(region_id="cn-hangzhou", task_id="t-1")


def test_a_flood_of_rows() -> None:
    """An answer of far more rows than a page may have is a fault, and not read."""
    rows = [{"TaskId": "t-1"}] * 10_001
    with pytest.raises(ServiceUnavailableError, match="10001 rows"):
        snapshot_of("cn-hangzhou", Answer({"TaskSet": {"Task": rows}}, None, 0))


def test_times_are_utc() -> None:
    """Minutes are enough for a time, and it has a zone."""
    task = task_of("cn-hangzhou", {"TaskId": "t-1", "CreationTime": "2020-11-24T12:50Z", "FinishedTime": ""})
    assert task is not None
    assert (task.creation_time, task.finished_time) == (datetime(2020, 11, 24, 12, 50, tzinfo=UTC), None)
