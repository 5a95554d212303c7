"""One set of options: every public way to wait, start or cancel takes the same names, defaults and types."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest

import ecs_waiter
from ecs_waiter import TaskWaiter, blocking

if TYPE_CHECKING:
    from collections.abc import Callable

# What each name means everywhere: its annotation and its default.
OPTIONS: dict[str, tuple[str, object]] = {
    "region_id": ("str | None", None),
    "timeout": ("float | None", None),
    "return_exceptions": ("bool", False),
    "on_update": ("OnUpdate | None", None),
    "on_progress": ("OnProgress | None", None),
    "fail_fast": ("bool", False),
    "params": ("Mapping[str, Any] | None", None),
    "credentials": ("CredentialsProvider | None", None),
    "endpoint": ("str | None", None),
    "policy": ("PollPolicy | None", None),
    "session": ("aiohttp.ClientSession | None", None),
    "trust_env": ("bool", False),
}
OF_A_WAITER = ["credentials", "endpoint", "policy", "session", "trust_env"]
FIRST = {"task_ids": "TaskIds", "task_id": "str", "operation": "str"}

# The first argument, the other ones, and the result; "..." stands for the kind of iterator.
WAYS: dict[str, tuple[str, list[str], str]] = {
    "wait_for_task": ("task_id", ["region_id", "timeout", "on_update", "on_progress", "fail_fast"], "Task"),
    "wait_for_tasks": (
        "task_ids",
        ["region_id", "timeout", "return_exceptions", "on_update", "on_progress", "fail_fast"],
        "dict[str, Task] | dict[str, Task | EcsWaiterError]",
    ),
    "events": ("task_ids", ["region_id", "timeout"], "...[WaitEvent, ...]"),
    "as_completed": ("task_ids", ["region_id", "timeout"], "...[Task | EcsWaiterError, ...]"),
    "updates": ("task_ids", ["region_id", "timeout"], "...[Task, ...]"),
    "start": ("operation", ["region_id", "params", "timeout"], "StartedTask"),
    "run": ("operation", ["region_id", "params", "timeout", "on_update", "on_progress"], "Task | None"),
    "cancel_task": ("task_id", ["region_id"], "bool"),
}


def _result(name: str, iterator: str) -> str:
    _, _, result = WAYS[name]
    if not result.startswith("..."):
        return result
    rest = "None, None" if iterator == "Generator" else "None"
    return f"{iterator}{result[3:].removesuffix('...]')}{rest}]"


def _check(function: Callable[..., Any], first: str, names: list[str], result: str) -> None:
    signature = inspect.signature(function)
    found = [parameter for parameter in signature.parameters.values() if parameter.name != "self"]
    assert [(it.name, it.annotation, it.kind) for it in found[:1]] == [
        (first, FIRST[first], inspect.Parameter.POSITIONAL_OR_KEYWORD)
    ]
    assert [(it.name, (it.annotation, it.default)) for it in found[1:]] == [(name, OPTIONS[name]) for name in names]
    assert {it.kind for it in found[1:]} == {inspect.Parameter.KEYWORD_ONLY}
    assert signature.return_annotation == result


@pytest.mark.parametrize("name", WAYS)
def test_functions(name: str) -> None:
    """The functions of the package take the options of a wait and those of a waiter."""
    first, names, _ = WAYS[name]
    _check(getattr(ecs_waiter, name), first, [*names, *OF_A_WAITER], _result(name, "AsyncGenerator"))


@pytest.mark.parametrize("name", WAYS)
def test_methods(name: str) -> None:
    """The methods of a waiter take the options of a wait."""
    first, names, _ = WAYS[name]
    _check(getattr(TaskWaiter, name), first, names, _result(name, "AsyncGenerator"))


@pytest.mark.parametrize("name", WAYS)
def test_blocking_functions(name: str) -> None:
    """The blocking functions take the same, but no session, which belongs to an event loop."""
    first, names, _ = WAYS[name]
    of_a_waiter = [each for each in OF_A_WAITER if each != "session"]
    _check(getattr(blocking, name), first, [*names, *of_a_waiter], _result(name, "Generator"))


def test_other_methods() -> None:
    """`wait` is `wait_for_tasks`; `submit` and `eta` take a region."""
    assert TaskWaiter.wait is TaskWaiter.wait_for_tasks
    _check(TaskWaiter.submit, "task_id", ["region_id"], "asyncio.Future[Task]")
    _check(TaskWaiter.eta, "task_id", ["region_id"], "Eta | None")


def test_all_of_them() -> None:
    """Every function of the package and of the blocking module is compared here."""
    functions = {name for name in ecs_waiter.__all__ if inspect.isfunction(getattr(ecs_waiter, name))}
    assert functions == WAYS.keys()
    assert set(blocking.__all__) == WAYS.keys()
