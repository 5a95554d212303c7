"""The models: frozen and typed, and tolerant of what the wire may hold."""

from __future__ import annotations

import copy
import pickle
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from ecs_waiter import OperationProgress, Task, TaskDetail, TaskPage, TaskStatus

# The example of the service's documentation.
DOCUMENTED = {
    "CreationTime": "2020-11-24T12:50Z",
    "TaskStatus": "Finished",
    "FinishedTime": "2020-11-24T12:50Z",
    "SupportCancel": "true",
    "TaskId": "t-bp1hvgwromzv32iq****",
    "TaskAction": "ImportImage",
    "ResourceId": "m-bp1i8huqm5u7****",
}
NOON = datetime(2020, 11, 24, 12, 50, tzinfo=UTC)


def _task(**wire: Any) -> Task:
    return Task.model_validate({"RegionId": "cn-hangzhou", "TaskId": "t-1", **wire})


def _detail(**wire: Any) -> TaskDetail:
    return TaskDetail.model_validate({"RegionId": "cn-hangzhou", "TaskId": "t-1", **wire})


def _operations(*rows: Any) -> dict[str, Any]:
    return {"OperationProgressSet": {"OperationProgress": list(rows)}}


def test_the_documented_row() -> None:
    """The documentation's own example is read whole, its times without seconds included."""
    assert Task.model_validate({**DOCUMENTED, "RegionId": "cn-hangzhou"}) == Task(
        region_id="cn-hangzhou",
        task_id="t-bp1hvgwromzv32iq****",
        task_action="ImportImage",
        task_status=TaskStatus.FINISHED,
        resource_id="m-bp1i8huqm5u7****",
        creation_time=NOON,
        finished_time=NOON,
        support_cancel=True,
    )


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("2020-11-24T12:50Z", NOON),
        ("2020-11-24T12:50:00Z", NOON),
        ("2020-11-24T12:50:00.000Z", NOON),
        ("2020-11-24T20:50:00+08:00", NOON),
        ("2020-11-24T12:50:00", NOON),
        (" 2020-11-24T12:50Z ", NOON),
        ("", None),
        (None, None),
        ("soon", None),
        ("2020-13-45T99:99Z", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59-14:00", None),
        (1606222200, None),
        (True, None),
        ([], None),
        ({}, None),
        (float("nan"), None),
    ],
)
@pytest.mark.parametrize("name", ["CreationTime", "FinishedTime"])
def test_times(name: str, told: object, meant: datetime | None) -> None:
    """A time is an aware datetime in UTC; what is no time is None."""
    task = _task(**{name: told})
    found = task.creation_time if name == "CreationTime" else task.finished_time
    assert found == meant
    assert found is None or found.tzinfo is UTC


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("true", True), ("false", False), ("True", True), (" FALSE ", False), (True, True), (False, False),
        ("", None), ("yes", None), (None, None), (1, None), ([], None), ({}, None),
    ],
)  # fmt: skip
def test_support_cancel(told: object, meant: bool | None) -> None:
    """SupportCancel is a string by the book and a boolean in the field; what is neither is None."""
    assert _task(SupportCancel=told).support_cancel is meant


@pytest.mark.parametrize("status", TaskStatus)
def test_known_status(status: TaskStatus) -> None:
    """A documented word is a member of the enum."""
    assert _task(TaskStatus=status.value).task_status is status


@pytest.mark.parametrize("word", ["Exploded", "finished", " Finished", "", "\u6210\u529f"])
def test_unknown_status(word: str) -> None:
    """An unknown word is kept as it is, a plain str."""
    found = _task(TaskStatus=word).task_status
    assert (found, type(found)) == (word, str)


@pytest.mark.parametrize("value", [None, 5, 1.5, True, [], {}, ["Finished"], {"Finished": 1}])
def test_status_of_another_type(value: object) -> None:
    """A status that is no word is an empty one, so not terminal."""
    assert _task(TaskStatus=value).task_status == ""


@pytest.mark.parametrize("name", ["TaskAction", "ResourceId", "TaskStatus", "SupportCancel", "CreationTime"])
@pytest.mark.parametrize("value", [None, 5, -1.5, True, [], {}, [[]], "\ud800", "\0", 10**300, float("inf")])
def test_one_odd_field(name: str, value: object) -> None:
    """A field of any type or content leaves the rest of its row readable."""
    task = Task.model_validate({**DOCUMENTED, "RegionId": "cn-hangzhou", name: value})
    assert task.task_id == DOCUMENTED["TaskId"]
    assert task.finished_time == NOON


def test_missing_fields() -> None:
    """An ID and a region are enough: text is then empty, all else None."""
    assert _task() == Task(
        region_id="cn-hangzhou",
        task_id="t-1",
        task_action="",
        task_status="",
        resource_id="",
        creation_time=None,
        finished_time=None,
        support_cancel=None,
    )


@pytest.mark.parametrize("name", ["Extra", "operations", "Operations", "tasks", "__class__", "model_config", ""])
def test_unknown_fields(name: str) -> None:
    """A field that nobody knows is left aside, whatever its name."""
    assert _task(**{name: {"a": [1]}}) == _task()
    assert _detail(**{name: 5}).task_id == "t-1"


def test_frozen() -> None:
    """A task does not change."""
    task = _task()
    with pytest.raises(ValidationError):
        task.task_id = "t-2"


def test_equal_tasks_are_one_in_a_set() -> None:
    """Equal tasks are equal keys."""
    assert len({_task(**DOCUMENTED), _task(**DOCUMENTED)}) == 1


def test_an_endless_time_is_none_and_is_not_kept() -> None:
    """A time of megabytes is no time, and no memory is spent on remembering that."""
    tracemalloc.start()
    try:
        assert _task(CreationTime="2" * 1_000_000).creation_time is None
        assert tracemalloc.get_traced_memory()[0] < 500_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("model", [_task(**DOCUMENTED), _detail(**_operations({"ErrorCode": "C"}))])
def test_pickle_and_copy(model: Task) -> None:
    """A model survives pickle and copy."""
    assert pickle.loads(pickle.dumps(model)) == model  # noqa: S301 - our own bytes
    assert copy.deepcopy(model) == model


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("45%", 45), ("45", 45), ("100%", 100), ("0%", 0), ("45.7%", 45), (45, 45), (45.2, 45), (" 45 % ", 45),
        ("", None), ("101%", None), ("-5%", None), ("half", None), (True, None), (None, None), ([], None),
        (float("nan"), None), (float("inf"), None), (10**300, None), ("9" * 5000, None), ("\u0664\u0665%", None),
    ],
)  # fmt: skip
def test_progress(told: object, meant: int | None) -> None:
    """TaskProcess is a whole percentage from 0 to 100, or None."""
    assert _detail(TaskProcess=told).task_process == meant


@pytest.mark.parametrize(
    ("told", "meant"), [(3, 3), ("3", 3), (0, 0), (-1, None), ("x", None), (None, None), (True, None), (1e300, None)]
)
def test_counts(told: object, meant: int | None) -> None:
    """A count is a whole number that is not negative, or None."""
    detail = _detail(TotalCount=told, SuccessCount=told, FailedCount=told)
    assert [detail.total_count, detail.success_count, detail.failed_count] == [meant] * 3


def test_operations() -> None:
    """The operations carry the reason of a failure, with their related items as a mapping."""
    related = {"RelatedItem": [{"Name": "OSSObject", "Value": "image.qcow2"}]}
    wire = {"OperationStatus": "Failed", "ErrorCode": "C", "ErrorMsg": "why", "RelatedItemSet": related}
    detail = _detail(**_operations(wire))
    assert detail.operations == (
        OperationProgress(
            operation_status="Failed", error_code="C", error_msg="why", related_items={"OSSObject": "image.qcow2"}
        ),
    )
    assert detail.reason == "C: why"


@pytest.mark.parametrize(
    "told",
    [
        {"OperationProgress": [{"ErrorCode": "C"}]},
        {"OperationProgress": {"ErrorCode": "C"}},
        [{"ErrorCode": "C"}],
        {"OperationProgress": [None, 5, "x", [], {"ErrorCode": "C"}, {"ErrorCode": [], "RelatedItemSet": 5}]},
        {"OperationProgress": [{"ErrorCode": "C", "RelatedItemSet": [{"Name": []}, None, {"Value": "x"}]}]},
        {"OperationProgress": [{"ErrorCode": "C", "RelatedItems": 5}]},
    ],
)
def test_operations_in_another_shape(told: object) -> None:
    """A list, a single map and rows of other types leave the reason readable."""
    assert _detail(OperationProgressSet=told).reason == "C"


@pytest.mark.parametrize("told", [None, "x", 5, {}, [], {"OperationProgress": None}, {"OperationProgress": "x"}])
def test_no_operations(told: object) -> None:
    """What holds no operations is none, and there is no reason then."""
    detail = _detail(OperationProgressSet=told)
    assert detail.operations == ()
    assert detail.reason is None


def test_reasons_are_told_once() -> None:
    """Operations that failed alike give one reason; those that went well give none."""
    same = {"ErrorCode": "C", "ErrorMsg": "why"}
    detail = _detail(**_operations(same, {"OperationStatus": "Finished"}, same, {"ErrorMsg": "else"}))
    assert detail.reason == "C: why; else"


def test_page() -> None:
    """A page holds its tasks, where it stands and how many there are."""
    page = TaskPage(
        tasks=(_task(),), total_count=250, page_number=2, page_size=100, region_id="cn-hangzhou", request_id="R"
    )
    assert page.tasks[0].task_id == "t-1"
    with pytest.raises(ValidationError):
        page.total_count = 1


def test_canceled_words() -> None:
    """Deleted is the service's word for canceled; the plain words mean what they say."""
    assert {status for status in TaskStatus if status.is_canceled} == {"Deleted", "Canceled", "Cancelled"}


def test_hashes() -> None:
    """A task's hash, and a detail's, is that of its region and ID, whatever else it holds; equality looks at all."""
    task = _task(TaskStatus="Processing")
    detail = _detail(**_operations({"OperationStatus": "Failed", "RelatedItemSet": {"RelatedItem": [{"Name": "a"}]}}))
    assert hash(task) == hash(detail) == hash(("cn-hangzhou", "t-1"))
    assert hash(_task(TaskStatus="Finished")) == hash(task)
    assert len({task, _task(TaskStatus="Processing"), copy.deepcopy(task), pickle.loads(pickle.dumps(task))}) == 1  # noqa: S301 - our own
    assert len({task, detail, _task(TaskStatus="Finished")}) == 3
    assert len({detail, copy.deepcopy(detail), pickle.loads(pickle.dumps(detail))}) == 1  # noqa: S301 - our own
    assert hash(_task(TaskId="t-2")) != hash(task)
