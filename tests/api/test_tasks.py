"""What is read from DescribeTasks answers, whatever they hold."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecs_waiter import ServiceUnavailableError, Task
from ecs_waiter.api.tasks import FINAL_STATUSES, PollAnswer, detail_of, page_of, poll_answer, task_of
from ecs_waiter.api.transport import ApiResponse

REGION = "cn-hangzhou"
ROW = {
    "CreationTime": "2026-11-24T12:50:00Z",
    "ResourceId": "m-1",
    "SupportCancel": "true",
    "TaskAction": "ImportImage",
    "TaskId": "t-1",
    "TaskStatus": "Finished",
}
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["Finished", "Processing", "Exploded", "", "true", "2026-01-01", "9" * 50]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(ROW)), inner, max_size=3),
    max_leaves=6,
)
ROWS = st.lists(
    VALUES | st.fixed_dictionaries({}, optional={name: st.just(value) | VALUES for name, value in ROW.items()}),
    max_size=4,
)


def _answer(rows: list[Any]) -> PollAnswer:
    return PollAnswer(REGION, rows, total_count=len(rows))


@given(row=st.fixed_dictionaries({"TaskId": st.text()}, optional={"TaskStatus": VALUES}))
def test_a_status_is_that_of_the_validated_task(row: dict[str, Any]) -> None:
    """A raw status equals the one that pydantic makes of it; what pydantic makes empty is unread."""
    answer = _answer([row])
    expected = Task.model_validate({**row, "RegionId": REGION}).task_status
    assert answer.statuses == ({row["TaskId"]: expected} if expected else {})
    assert answer.unread == (not expected)
    if expected:
        assert answer.task(row["TaskId"]).task_status == expected


@given(rows=ROWS)
def test_any_rows(rows: list[Any]) -> None:
    """Every row is either counted or unread, and every listed task can be built."""
    answer = _answer(rows)
    assert answer.row_count + answer.unread == len(rows)
    for task_id, status in answer.statuses.items():
        task = answer.task(task_id)
        assert (task.region_id, task.task_id, task.task_status) == (REGION, task_id, status)
        assert answer.age_of(task_id) is None


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["Processing", "Finished", "Waiting"], "Finished"),
        (["Finished", "Processing"], "Finished"),
        (["Failed", "Finished"], "Failed"),
        (["Processing", "Waiting"], "Waiting"),
        (["Processing", None, ""], "Processing"),
    ],
)
def test_contradicting_rows(statuses: list[Any], expected: str) -> None:
    """The first row that says that the task has ended is used, otherwise the last row with a status."""
    answer = _answer([{**ROW, "TaskStatus": status, "ResourceId": str(status)} for status in statuses])
    assert answer.statuses == {"t-1": expected}
    assert answer.task("t-1").resource_id == expected
    assert answer.row_count == sum(map(bool, statuses))


def test_a_task_is_built_once() -> None:
    """It is validated when it is first asked for."""
    answer = _answer([ROW])
    task = answer.task("t-1")
    assert answer.task("t-1") is task
    assert task.creation_time == datetime(2026, 11, 24, 12, 50, tzinfo=UTC)
    with pytest.raises(KeyError):
        answer.task("t-2")


def test_the_age_is_by_the_services_clock() -> None:
    """The age is that at the service's date; a time by the minute counts as the end of that minute."""
    date = datetime(2026, 11, 24, 13, 0, tzinfo=UTC).timestamp()
    later = {**ROW, "TaskId": "t-2", "CreationTime": "2026-11-24T13:50:00Z"}
    unknown = {**ROW, "TaskId": "t-3", "CreationTime": "soon"}
    by_minute = {**ROW, "TaskId": "t-4", "CreationTime": "2026-11-24T12:50Z"}
    answer = PollAnswer(REGION, [ROW, later, unknown, by_minute], total_count=4, date=date)
    assert [answer.age_of(f"t-{number}") for number in (1, 2, 3, 4)] == [600, -3000, None, 540]


@pytest.mark.parametrize(
    ("finished", "ago"),
    [
        ("2026-11-24T12:59:30Z", (31, 29)),
        ("2026-11-24T12:59Z", (61, 0)),
        ("2026-11-24T13:01:00Z", (-59, -61)),
        ("", None),
        (None, None),
    ],
)
def test_how_long_ago_a_task_finished(finished: str | None, ago: tuple[float, float] | None) -> None:
    """By the service's clock, up to the second or the minute that it names."""
    date = datetime(2026, 11, 24, 13, 0, tzinfo=UTC).timestamp()
    row = {**ROW, "FinishedTime": finished}
    dated, undated = (PollAnswer(REGION, [row], total_count=1, date=each) for each in (date, None))
    assert dated.finished_ago(dated.task("t-1")) == ago
    assert undated.finished_ago(undated.task("t-1")) is None


def test_final_statuses() -> None:
    """Finished, failed, and every word for canceled."""
    assert sorted(FINAL_STATUSES) == ["Canceled", "Cancelled", "Deleted", "Failed", "Finished"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "a set of tasks"),
        ({"TaskSet": {"Task": "t-1"}}, "a set of tasks"),
        ({"TaskSet": {"Task": [7, None]}}, "a row that can be read"),
        ({"TaskSet": {"Task": [{"TaskId": 7}]}}, "a row that can be read"),
        ({"TaskSet": {"Task": [{"TaskId": "t-1"}, 7]}}, "a row with a status"),
        ({"TaskSet": {"Task": [{"TaskId": "t-1"}] * 10_001}}, "10001 rows"),
    ],
)
def test_an_unreadable_answer_is_a_fault(data: dict[str, Any], message: str) -> None:
    """An answer of which nothing can be read says nothing about the tasks that were asked for."""
    with pytest.raises(ServiceUnavailableError, match=message):
        poll_answer(REGION, ApiResponse(data, None))


@pytest.mark.parametrize(
    "found",
    [
        {"Task": [ROW]},
        {"Task": ROW},
        [ROW],
        [{"Task": [ROW]}],
        [{"Task": ROW}],
    ],
)
def test_every_shape_of_the_set(found: Any) -> None:
    """The documented map with a list, and the other shapes that have been seen."""
    answer = poll_answer(REGION, ApiResponse({"TaskSet": found, "TotalCount": "1"}, 5.0))
    assert answer.statuses == {"t-1": "Finished"}
    assert (answer.row_count, answer.unread, answer.total_count, answer.date) == (1, 0, 1, 5.0)


# -- listings and details ----------------------------------------------------------------------------------------------

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
    task = task_of(REGION, row)
    assert (task is not None) == (isinstance(row, dict) and isinstance(row.get("TaskId"), str))
    assert task is None or (task.region_id, task.task_id) == (REGION, row["TaskId"])


@given(data=st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_any_answer(data: dict[str, Any]) -> None:
    """An answer is a page or a fault, a detail or a fault."""
    response = ApiResponse(data, None)
    with contextlib.suppress(ServiceUnavailableError):
        assert page_of(REGION, response, page_number=1, page_size=100).region_id == REGION
    with contextlib.suppress(ServiceUnavailableError):
        assert detail_of(REGION, "t-1", response).task_id == "t-1"


@pytest.mark.parametrize(
    ("value", "count"), [(3, 3), ("3", 3), (0, 0), ("٣", None), (-1, None), (True, None), (None, None), (3.5, None)]
)
def test_the_total(value: Any, count: int | None) -> None:
    """A total is a whole number, or missing."""
    assert poll_answer(REGION, ApiResponse({"TaskSet": [], "TotalCount": value}, None)).total_count == count


def test_a_row_has_the_names_of_the_wire() -> None:
    """The model's own field names mean nothing there."""
    task = task_of(REGION, {"TaskId": "t-1", "task_status": "Finished", "region_id": "elsewhere"})
    assert task == Task(region_id=REGION, task_id="t-1")


def test_times_are_utc() -> None:
    """Minutes are enough for a time, and it has a zone."""
    task = task_of(REGION, {"TaskId": "t-1", "CreationTime": "2020-11-24T12:50Z", "FinishedTime": ""})
    assert task is not None
    assert (task.creation_time, task.finished_time) == (datetime(2020, 11, 24, 12, 50, tzinfo=UTC), None)
