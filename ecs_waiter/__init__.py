"""Wait for long-running Alibaba Cloud ECS tasks: many waits, few calls."""

from importlib import import_module
from typing import TYPE_CHECKING

from ecs_waiter.version import __version__ as __version__

if TYPE_CHECKING:
    from ecs_waiter.api.client import EcsClient
    from ecs_waiter.api.credentials import Credentials, CredentialsProvider, StaticCredentials
    from ecs_waiter.errors import (
        ApiError,
        AuthenticationError,
        EcsWaiterError,
        ServiceUnavailableError,
        TaskCanceledError,
        TaskError,
        TaskFailedError,
        TaskNotFoundError,
        TasksFailedError,
        ThrottledError,
        WaiterClosedError,
        WaitTimeoutError,
    )
    from ecs_waiter.functions import (
        as_completed,
        cancel_task,
        events,
        run,
        start,
        updates,
        wait_for_task,
        wait_for_tasks,
    )
    from ecs_waiter.models import OperationProgress, Task, TaskDetail, TaskPage, TaskStatus
    from ecs_waiter.polling.durations import Eta
    from ecs_waiter.polling.policy import PollPolicy, wait_adaptive, wait_proportional
    from ecs_waiter.progress import Progress
    from ecs_waiter.starting import StartedTask
    from ecs_waiter.wait import WaitEvent
    from ecs_waiter.waiter import TaskWaiter

__all__ = [
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

# A name is looked up in this order when it is first used, the lightest module first. The pytest plugin, which is loaded
# in every test run, and the command's --help need none of them.
_HOMES = (
    "errors",
    "models",
    "api.credentials",
    "polling.policy",
    "polling.durations",
    "progress",
    "wait",
    "starting",
    "api.client",
    "waiter",
    "functions",
)


def __getattr__(name: str) -> object:
    if name in __all__:
        for home in _HOMES:
            module = import_module(f"ecs_waiter.{home}")
            if name in module.__all__:
                globals()[name] = getattr(module, name)
                return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
