"""The error tree: who is whose child, what each carries, and that it all survives pickle and copy."""

from __future__ import annotations

import asyncio
import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from ecs_waiter import (
    ApiError,
    AuthenticationError,
    EcsWaiterError,
    OperationProgress,
    ServiceUnavailableError,
    Task,
    TaskCanceledError,
    TaskDetail,
    TaskError,
    TaskFailedError,
    TaskNotFoundError,
    TasksFailedError,
    TaskStatus,
    ThrottledError,
    WaiterClosedError,
    WaitTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

TASK = Task(region_id="cn-hangzhou", task_id="t-1", task_action="ImportImage", task_status=TaskStatus.FAILED)
DETAIL = TaskDetail(
    region_id="cn-hangzhou",
    task_id="t-1",
    task_status=TaskStatus.FAILED,
    operations=(OperationProgress(error_code="ImageFormatMismatch", error_msg="not a qcow2 file"),),
)

TREE = {
    EcsWaiterError: Exception,
    ApiError: EcsWaiterError,
    ThrottledError: ApiError,
    AuthenticationError: ApiError,
    ServiceUnavailableError: ApiError,
    TaskError: EcsWaiterError,
    TaskFailedError: TaskError,
    TaskCanceledError: TaskError,
    TaskNotFoundError: TaskError,
    WaitTimeoutError: EcsWaiterError,
    WaiterClosedError: EcsWaiterError,
    TasksFailedError: EcsWaiterError,
}


def _errors() -> list[EcsWaiterError]:
    failed = TaskFailedError(TASK, DETAIL)
    unknown = TaskNotFoundError("t-2", "cn-hangzhou")
    return [
        EcsWaiterError("told"),
        ApiError("InvalidParameter", "told", "request", 400),
        ThrottledError("Throttling.User", "told", "request", 429, retry_after=1.5),
        AuthenticationError("Forbidden.RAM", "told", "request", 403),
        ServiceUnavailableError(None, "told", None, None, sent=False),
        TaskError("told", task_id="t-1", region_id="cn-hangzhou", task=TASK),
        failed,
        TaskFailedError(TASK),
        TaskCanceledError(TASK),
        unknown,
        TaskNotFoundError("t-2", "cn-hangzhou", TASK),
        WaitTimeoutError("told", pending=["t-2", "t-3"], results={"t-1": failed}),
        WaitTimeoutError.after(90, {"t-2": None}, {"t-1": TASK}, {}),
        WaiterClosedError("told"),
        TasksFailedError("told", [failed, unknown], results={"t-1": failed, "t-2": unknown}, pending=["t-3"]),
    ]


def _shown(value: object) -> object:
    """What two errors of equal content have in common: errors themselves have no equality."""
    if isinstance(value, BaseException):
        return type(value), str(value), repr(value), _shown(value.args), _shown(value.__cause__), _shown(vars(value))
    if isinstance(value, dict):
        return {name: _shown(held) for name, held in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(held) for held in value]
    return value


def _raise(error: EcsWaiterError) -> None:
    raise error


def _pickled(protocol: int) -> Callable[[Any], Any]:
    return lambda error: pickle.loads(pickle.dumps(error, protocol))  # noqa: S301 - our own bytes


WAYS: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"pickle {protocol}": _pickled(protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)},
}


@pytest.mark.parametrize(("child", "parent"), TREE.items())
def test_tree(child: type, parent: type) -> None:
    """Every error stands where the tree has it."""
    assert child.__bases__[0] is parent


@pytest.mark.parametrize(
    ("error", "also"),
    [(WaitTimeoutError, TimeoutError), (WaiterClosedError, RuntimeError), (TasksFailedError, ExceptionGroup)],
)
def test_built_in_kin(error: type, also: type) -> None:
    """What Python itself has a name for is that too: a timeout, a misuse of something closed, a group."""
    assert issubclass(error, also)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("error", _errors(), ids=lambda error: type(error).__name__)
def test_survives(error: EcsWaiterError, way: str) -> None:
    """Every error survives pickle and copy with its type, words, fields, notes and cause."""
    error.add_note("a note")
    error.__cause__ = ThrottledError("Throttling", "the last fault", retry_after=2)
    twin = WAYS[way](error)
    assert twin is not error
    assert _shown(twin) == _shown(error)


@pytest.mark.parametrize("error", _errors(), ids=lambda error: type(error).__name__)
def test_survives_raised(error: EcsWaiterError) -> None:
    """An error that was raised, with a traceback and a cause that cannot be pickled, is pickled without these."""
    with pytest.raises(EcsWaiterError) as raised:
        raise error from OSError(lambda: None)
    twin = _pickled(5)(raised.value)
    assert (str(twin), twin.__cause__, twin.__traceback__) == (str(error), None, None)


def test_copy_has_its_own_notes() -> None:
    """A note put on a copy stands on that copy alone."""
    error = WaiterClosedError("told")
    error.add_note("first")
    copy.copy(error).add_note("second")
    assert error.__notes__ == ["first"]


@pytest.mark.parametrize("way", WAYS)
def test_a_group_stays_one(way: str) -> None:
    """What stands among a group's exceptions and under its results is one object, in a twin too."""
    refused = AuthenticationError("Forbidden.RAM", "told")
    twin = WAYS[way](TasksFailedError("told", [refused], results={"t-1": refused, "t-2": refused}))
    assert twin.results["t-1"] is twin.results["t-2"] is twin.exceptions[0]


def test_fields_of_an_api_error() -> None:
    """An ApiError has the service's code, words and request ID, and the HTTP status; its text has all but the last."""
    error = ApiError("InvalidParameter", "wrong", "R-1", 400)
    assert (error.code, error.message, error.request_id, error.http_status) == ("InvalidParameter", "wrong", "R-1", 400)
    assert str(error) == "InvalidParameter: wrong (request ID R-1)"


def test_no_code_and_no_request_id() -> None:
    """What is absent is not told as None."""
    assert str(ApiError(None, "a page of HTML")) == "a page of HTML"


def test_retry_after() -> None:
    """A ThrottledError tells the wait asked for in seconds, or None."""
    assert ThrottledError("Throttling", "slow down").retry_after is None
    assert ThrottledError("Throttling", "slow down", retry_after=1.5).retry_after == 1.5


def test_fields_of_a_failure() -> None:
    """A TaskFailedError names its task and region and has the service's reason, in the message too."""
    error = TaskFailedError(TASK, DETAIL)
    assert (error.task_id, error.region_id, error.task, error.detail) == ("t-1", "cn-hangzhou", TASK, DETAIL)
    assert "ImageFormatMismatch: not a qcow2 file" in str(error)


def test_failure_without_a_reason() -> None:
    """Without a reason `.detail` is None, and the message says so."""
    error = TaskFailedError(TASK)
    assert error.detail is None
    assert str(error) == "task t-1 (ImportImage, cn-hangzhou) failed: no reason is known"


def test_not_found_names_the_region() -> None:
    """The message names the region asked, for a wrong one is the usual cause."""
    assert "cn-hangzhou" in str(TaskNotFoundError("t-1", "cn-hangzhou"))


def test_timeout_names_what_is_pending() -> None:
    """A timeout names the first few of what is pending, and counts the others."""
    told = str(WaitTimeoutError.after(90, {f"t-{n}": None for n in range(1000)}, {"t-x": TASK}, {}))
    assert "90 s" in told
    assert "1000 of 1001" in told
    assert "t-4 and 995 more" in told
    assert len(told) < 200


def test_pending_and_results_are_the_errors_own() -> None:
    """What a caller does later to what the error was made of does not change the error."""
    pending, results = ["t-2"], {"t-1": TASK}
    error = WaitTimeoutError("told", pending=pending, results=results)
    pending.clear()
    results.clear()
    assert (error.pending, error.results) == (("t-2",), {"t-1": TASK})


def test_except_star_takes_its_kind() -> None:
    """`except*` picks each kind out of the group, with all results still at hand."""
    failed, unknown = TaskFailedError(TASK, DETAIL), TaskNotFoundError("t-2", "cn-hangzhou")
    taken: list[tuple[type, tuple[object, ...], object]] = []
    try:
        raise TasksFailedError("told", [failed, unknown], results={"t-1": failed, "t-2": unknown})
    except* TaskFailedError as group:
        taken.append((type(group), group.exceptions, group.results))  # type: ignore[attr-defined]
    except* TaskNotFoundError as group:
        taken.append((type(group), group.exceptions, group.results))  # type: ignore[attr-defined]
    results = {"t-1": failed, "t-2": unknown}
    assert taken == [(TasksFailedError, (failed,), results), (TasksFailedError, (unknown,), results)]


def test_what_except_star_leaves() -> None:
    """What `except*` does not take goes on as the same kind of group."""
    failed, unknown = TaskFailedError(TASK, DETAIL), TaskNotFoundError("t-2", "cn-hangzhou")

    def take_the_failed() -> None:
        try:
            raise TasksFailedError("told", [failed, unknown], pending=["t-3"])
        except* TaskFailedError:
            pass

    with pytest.raises(TasksFailedError) as left:
        take_the_failed()
    assert left.value.exceptions == (unknown,)
    assert left.value.pending == ("t-3",)


def test_except_star_takes_a_single_error() -> None:
    """One error that is raised as itself is taken by the same `except*` as a group."""
    taken: list[object] = []
    try:
        _raise(TaskFailedError(TASK))
    except* TaskFailedError as group:
        taken.extend(group.exceptions)
    assert [type(error) for error in taken] == [TaskFailedError]


def test_plain_except_takes_all() -> None:
    """`except EcsWaiterError` takes everything that the library raises by itself, groups too."""
    for error in _errors():
        with pytest.raises(EcsWaiterError):
            raise error


def test_in_a_task_group() -> None:
    """The groups of asyncio hold ours like any other exception."""

    async def fail() -> None:
        raise TasksFailedError("told", [TaskCanceledError(TASK)])

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())

    caught: list[BaseException] = []
    try:
        asyncio.run(both())
    except* TaskCanceledError as group:
        caught.extend(group.exceptions)
    (ours,) = caught
    assert isinstance(ours, TasksFailedError)
    assert [type(error) for error in ours.exceptions] == [TaskCanceledError]


@pytest.mark.parametrize("word", ["two\nlines", "\x1b[31mred", "half \ud800", "nul \0", "\u202eback"])
def test_a_message_is_one_clean_line(word: str) -> None:
    """Whatever the service's words hold, a task's error is one line that any terminal can show."""
    task = TASK.model_copy(update={"task_action": word})
    detail = TaskDetail(region_id="r", task_id="t-1", operations=(OperationProgress(error_msg=word),))
    for error in (TaskFailedError(task, detail), TaskFailedError(TASK, detail), TaskCanceledError(task)):
        assert str(error).isprintable()
        assert str(error).encode()


def test_a_message_is_bounded() -> None:
    """Megabytes in a reason do not become megabytes in a message."""
    detail = TaskDetail(region_id="r", task_id="t-1", operations=(OperationProgress(error_msg="x" * 10**6),))
    assert len(str(TaskFailedError(TASK, detail))) < 5000
