"""Wait for long-running Alibaba Cloud ECS tasks: many waits, few calls."""

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
from ecs_waiter.models import OperationProgress, Task, TaskDetail, TaskPage, TaskStatus
from ecs_waiter.polling.policy import PollPolicy, wait_proportional
from ecs_waiter.waiter import TaskWaiter, wait_for_task, wait_for_tasks

__all__ = [
    "ApiError",
    "AuthenticationError",
    "Credentials",
    "CredentialsProvider",
    "EcsClient",
    "EcsWaiterError",
    "OperationProgress",
    "PollPolicy",
    "ServiceUnavailableError",
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
    "WaitTimeoutError",
    "WaiterClosedError",
    "wait_for_task",
    "wait_for_tasks",
    "wait_proportional",
]

__version__ = "0.1.0"
