"""The public face: its names and signatures are pinned, and importing it is light."""

from __future__ import annotations

import importlib
import importlib.resources
import inspect
import pkgutil
import subprocess
import sys
from typing import Any

import pytest

import ecs_waiter
import ecs_waiter.blocking
import ecs_waiter.emulator
from ecs_waiter import (
    Credentials,
    EcsClient,
    PollPolicy,
    StaticCredentials,
    TaskWaiter,
    wait_adaptive,
    wait_proportional,
)
from ecs_waiter.emulator import EcsEmulator

NAMES = [
    "ApiError",
    "AuthenticationError",
    "Credentials",
    "CredentialsProvider",
    "EcsClient",
    "EcsWaiterError",
    "Eta",
    "OperationProgress",
    "PollPolicy",
    "Progress",
    "ServiceUnavailableError",
    "StartedTask",
    "StaticCredentials",
    "Task",
    "TaskCanceledError",
    "TaskDetail",
    "TaskError",
    "TaskFailedError",
    "TaskNotFoundError",
    "TaskPage",
    "TaskStatus",
    "TaskWaiter",
    "TasksFailedError",
    "ThrottledError",
    "WaitEvent",
    "WaitTimeoutError",
    "WaiterClosedError",
    "as_completed",
    "cancel_task",
    "events",
    "run",
    "start",
    "updates",
    "wait_adaptive",
    "wait_for_task",
    "wait_for_tasks",
    "wait_proportional",
]

FILTERS = ["task_ids", "task_action", "task_status", "start_time", "end_time", "resource_ids"]

HEAVY = {
    "Tea",
    "airflow",
    "alibabacloud_credentials",
    "alibabacloud_ecs20140526",
    "alibabacloud_tea_openapi",
    "aliyunsdkcore",
    "opentelemetry",
    "pytest",
    "requests",
    "rich",
    "typer",
}


def _parameters(function: Any, kind: inspect._ParameterKind) -> set[str]:
    return {name for name, it in inspect.signature(function).parameters.items() if it.kind is kind}


def _positional(function: Any) -> list[str]:
    either = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return [n for n, it in inspect.signature(function).parameters.items() if it.kind is either and n != "self"]


def _keywords(function: Any) -> set[str]:
    return _parameters(function, inspect.Parameter.KEYWORD_ONLY)


def test_names() -> None:
    """The public names are these, sorted."""
    assert ecs_waiter.__all__ == NAMES
    assert sorted(NAMES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there(name: str) -> None:
    """Every public name can be imported, and tells its purpose."""
    assert inspect.getdoc(getattr(ecs_waiter, name))


def test_star_import() -> None:
    """`import *` brings the public names and nothing else."""
    space: dict[str, object] = {}
    exec("from ecs_waiter import *", space)  # noqa: S102 - a star import stands at module level only
    assert sorted(set(space) - {"__builtins__"}) == NAMES


def test_no_other_name() -> None:
    """A name that is not there is an AttributeError, as of any module."""
    with pytest.raises(AttributeError, match="wait_for_tsk"):
        ecs_waiter.wait_for_tsk  # noqa: B018 - asking is the test


@pytest.mark.parametrize("module", [ecs_waiter.blocking, ecs_waiter.emulator])
def test_names_of_other_faces(module: Any) -> None:
    """The other public modules pin theirs."""
    names = {
        "ecs_waiter.blocking": [
            "as_completed",
            "cancel_task",
            "events",
            "run",
            "start",
            "updates",
            "wait_for_task",
            "wait_for_tasks",
        ],
        "ecs_waiter.emulator": ["EcsEmulator", "Injection", "Request"],
    }
    assert module.__all__ == names[module.__name__]


def test_all_is_true_everywhere() -> None:
    """Whatever a module of the package lists in `__all__` is there."""
    for found in pkgutil.walk_packages(ecs_waiter.__path__, "ecs_waiter."):
        if found.name.startswith(("ecs_waiter.cli", "ecs_waiter.airflow", "ecs_waiter.telemetry")):
            continue  # they need extras
        module = importlib.import_module(found.name)
        for name in getattr(module, "__all__", ()):
            assert hasattr(module, name), f"{found.name}.{name}"


@pytest.mark.parametrize(
    ("function", "positional", "keywords"),
    [
        (EcsClient.describe_tasks, [], {*FILTERS, "region_id", "page_number", "page_size"}),
        (EcsClient.iter_tasks, [], {*FILTERS, "region_id"}),
        (EcsClient.cancel_task, ["task_id"], {"region_id"}),
        (EcsClient.call, ["action"], {"region_id", "params"}),
        (PollPolicy, [], {"wait", "history", "not_found_grace", "outage_budget", "max_in_flight", "max_calls_per_second",
                          "call_timeout"}),
        (wait_adaptive, ["share", "min", "max", "first", "crowd", "jitter"], set()),
        (wait_proportional, ["factor", "min", "max", "jitter"], set()),
        (Credentials, ["access_key_id", "access_key_secret", "security_token"], set()),
        (StaticCredentials, ["access_key_id", "access_key_secret", "security_token"], set()),
        (EcsEmulator.add_task, [], {"region_id", "task_action", "duration", "outcome", "error", "task_id",
                                    "visible_after", "resource_id", "status", "task_group_id"}),
    ],
)  # fmt: skip
def test_signatures(function: Any, positional: list[str], keywords: set[str]) -> None:
    """What is passed by position and what by name only is pinned."""
    assert _positional(function) == positional
    assert _keywords(function) == keywords


@pytest.mark.parametrize("face", [TaskWaiter, EcsClient])
def test_signature_of_a_face(face: type) -> None:
    """Waiter and client take the same arguments, all of them optional."""
    expected = {**dict.fromkeys(["credentials", "endpoint", "policy", "session", "region_id"]), "trust_env": False}
    parameters = inspect.signature(face).parameters
    assert {name: it.default for name, it in parameters.items()} == expected
    assert list(parameters) == list(expected)


def test_one_attribute_look_up() -> None:
    """An ID is all that a look-up needs by position; its region is named."""
    assert _positional(EcsClient.describe_task_attribute) == ["task_id"]
    assert "region_id" in _keywords(EcsClient.describe_task_attribute)


@pytest.mark.parametrize(
    "statement",
    ["import ecs_waiter", "from ecs_waiter import *", "import ecs_waiter.blocking", "import ecs_waiter.testing.plugin"],
)
def test_importing_is_light(statement: str) -> None:
    """Importing the library loads no SDK, no terminal, no telemetry, and starts no thread."""
    code = f"{statement}\nimport sys, threading\nprint(*sys.modules)\nprint(threading.active_count())"
    if "plugin" in statement:
        code = f"import pytest\n{code}"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    modules, threads = run.stdout.splitlines()
    roots = {name.partition(".")[0] for name in modules.split()}
    assert roots & HEAVY <= ({"pytest"} if "plugin" in statement else set())
    assert threads == "1"


def test_making_a_waiter_is_light() -> None:
    """A waiter that nobody has used yet has loaded no SDK and needs no event loop."""
    code = (
        "import sys; from ecs_waiter import EcsClient, TaskWaiter; TaskWaiter(); EcsClient(); "
        "print('alibabacloud_credentials' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert run.stdout == "False\n"


def test_typed() -> None:
    """The package says that it has types."""
    assert importlib.resources.files("ecs_waiter").joinpath("py.typed").is_file()


def test_a_system_without_fork() -> None:
    """Where processes cannot fork, as on Windows, everything imports all the same."""
    code = "import os, aiohttp, pydantic.main, tenacity; del os.register_at_fork; import ecs_waiter.blocking; from ecs_waiter import *"
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - ours
