"""The module functions: a wait, a start or a cancellation with the TaskWaiter that all of them share on a loop."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from ecs_waiter.api.credentials import check_provider
from ecs_waiter.api.endpoints import resolve_endpoint
from ecs_waiter.api.proxies import check_trust_env
from ecs_waiter.arguments import WaiterOptions, WaitOptions, checked_policy
from ecs_waiter.ids import Targets, check_task_id
from ecs_waiter.sharing import SharedInstances, key
from ecs_waiter.wait import Wait, WaitEvent
from ecs_waiter.waiter import TaskWaiter

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    import aiohttp

    from ecs_waiter.api.credentials import CredentialsProvider
    from ecs_waiter.arguments import OnProgress, OnUpdate
    from ecs_waiter.errors import EcsWaiterError
    from ecs_waiter.ids import TaskIds
    from ecs_waiter.models import Task
    from ecs_waiter.polling.policy import PollPolicy
    from ecs_waiter.starting import AlwaysStartsTask, StartedTask

__all__ = [
    "as_completed",
    "cancel_task",
    "events",
    "run",
    "shared_waiter",
    "start",
    "updates",
    "wait_for_task",
    "wait_for_tasks",
]

T = TypeVar("T")

_shared_waiters: SharedInstances[TaskWaiter] = SharedInstances()


@overload
async def wait_for_tasks(
    task_ids: TaskIds,
    *,
    region_id: str | None = None,
    timeout: float | None = None,
    return_exceptions: Literal[False] = False,
    on_update: OnUpdate | None = None,
    on_progress: OnProgress | None = None,
    fail_fast: bool = False,
    credentials: CredentialsProvider | None = None,
    endpoint: str | None = None,
    policy: PollPolicy | None = None,
    session: aiohttp.ClientSession | None = None,
    trust_env: bool = False,
) -> dict[str, Task]: ...


@overload
async def wait_for_tasks(
    task_ids: TaskIds,
    *,
    region_id: str | None = None,
    timeout: float | None = None,
    return_exceptions: bool,
    on_update: OnUpdate | None = None,
    on_progress: OnProgress | None = None,
    fail_fast: bool = False,
    credentials: CredentialsProvider | None = None,
    endpoint: str | None = None,
    policy: PollPolicy | None = None,
    session: aiohttp.ClientSession | None = None,
    trust_env: bool = False,
) -> dict[str, Task | EcsWaiterError]: ...


async def wait_for_tasks(  # noqa: PLR0913 - the public API
    task_ids: TaskIds,
    *,
    region_id: str | None = None,
    timeout: float | None = None,
    return_exceptions: bool = False,
    on_update: OnUpdate | None = None,
    on_progress: OnProgress | None = None,
    fail_fast: bool = False,
    credentials: CredentialsProvider | None = None,
    endpoint: str | None = None,
    policy: PollPolicy | None = None,
    session: aiohttp.ClientSession | None = None,
    trust_env: bool = False,
) -> dict[str, Task] | dict[str, Task | EcsWaiterError]:
    """Wait until all tasks have ended, and return ID -> Task in the order asked.

    Waits on one event loop with the same credentials, endpoint, policy, session and trust_env share their polls, up
    to 100 IDs to a call. Policies are the same if their numbers are equal and their wait strategies are. Strategies of
    exactly the types of tenacity and of this library are compared by type and fields, everything else by identity.

    Args:
        task_ids: Task IDs of one region, or region -> task IDs.
        region_id: The region of plain IDs; ``ALIBABA_CLOUD_REGION_ID`` by default.
        timeout: Seconds that all of it may take; 0 is a single poll; None is no limit.
        return_exceptions: Return errors as results instead of raising.
        on_update: Called with each task at first sight and at every change of its status.
        on_progress: Called with the Progress of the wait after polls, at most once a second and at least every ten
            seconds, and when the last task has ended.
        fail_fast: Raise at the first failure instead of waiting for all.
        credentials: A credentials provider; the official default chain if None.
        endpoint: One base URL for every region; ``ECS_WAITER_ENDPOINT`` or the service's own if None.
        policy: How often to poll, and how long to retry.
        session: Your own aiohttp session, never closed here. Keep it open until the wait has ended.
        trust_env: Whether to use the proxies of the environment (``HTTPS_PROXY``, ``NO_PROXY``). Not with `session`.

    Raises:
        TaskError: Only one task was asked, and it failed, was canceled or is unknown.
        TasksFailedError: Several were asked and some failed.
        AuthenticationError: The credentials were rejected, or there are none.
        ApiError: The region rejected the calls, or failed for the whole outage budget (`ServiceUnavailableError`).
        WaitTimeoutError: The deadline passed.
        WaiterClosedError: `session` was closed meanwhile.
        TypeError: An argument is of the wrong type.
        ValueError: An argument is invalid.
    """
    options = WaitOptions(region_id, timeout, return_exceptions, on_update, on_progress, fail_fast)
    async with shared_waiter(WaiterOptions(credentials, endpoint, policy, session, trust_env)) as waiter:
        results: dict[str, Task] = await waiter.pollers.wait(Targets(task_ids, region_id), options)
    return results


async def wait_for_task(  # noqa: PLR0913 - the public API
    task_id: str,
    *,
    region_id: str | None = None,
    timeout: float | None = None,
    on_update: OnUpdate | None = None,
    on_progress: OnProgress | None = None,
    fail_fast: bool = False,
    credentials: CredentialsProvider | None = None,
    endpoint: str | None = None,
    policy: PollPolicy | None = None,
    session: aiohttp.ClientSession | None = None,
    trust_env: bool = False,
) -> Task:
    """Wait until one task has ended, and return it: `wait_for_tasks` of a single ID, whose polls it shares.

    The other arguments are those of `wait_for_tasks`.

    Raises:
        TaskFailedError: It failed; the message and `detail` hold the service's reason.
        TaskCanceledError: It was canceled or deleted.
        TaskNotFoundError: The region does not list it.
        AuthenticationError: The credentials were rejected, or there are none.
        ApiError: The region rejected the calls, or failed for the whole outage budget (`ServiceUnavailableError`).
        WaitTimeoutError: The deadline passed.
        TypeError: An argument is of the wrong type.
        ValueError: An argument is invalid.
    """
    options = WaitOptions(region_id, timeout, on_update=on_update, on_progress=on_progress, fail_fast=fail_fast)
    targets = Targets([check_task_id(task_id)], region_id)
    async with shared_waiter(WaiterOptions(credentials, endpoint, policy, session, trust_env)) as waiter:
        results: dict[str, Task] = await waiter.pollers.wait(targets, options)
    return results[task_id]


def events(  # noqa: PLR0913 - the public API
    task_ids: TaskIds,
    *,
    region_id: str | None = None,
    timeout: float | None = None,
    credentials: CredentialsProvider | None = None,
    endpoint: str | None = None,
    policy: PollPolicy | None = None,
    session: aiohttp.ClientSession | None = None,
    trust_env: bool = False,
) -> AsyncGenerator[WaitEvent, None]:
    """Iterate over everything that happens to the tasks, until all have ended, like `TaskWaiter.events`.

    Polls are shared, and the other arguments are, like those of `wait_for_tasks`.
    """
    shared = shared_waiter(WaiterOptions(credentials, endpoint, policy, session, trust_env))
    wait = Wait.for_events(Targets(task_ids, region_id), timeout)
    return _iterate(shared, lambda waiter: waiter.pollers.events(wait))


def as_completed(  # noqa: PLR0913 - the public API
    task_ids: TaskIds,
    *,
    region_id: str | None = None,
    timeout: float | None = None,
    credentials: CredentialsProvider | None = None,
    endpoint: str | None = None,
    policy: PollPolicy | None = None,
    session: aiohttp.ClientSession | None = None,
    trust_env: bool = False,
) -> AsyncGenerator[Task | EcsWaiterError, None]:
    """Iterate over the outcomes as they come, like `TaskWaiter.as_completed`: each a Task, or an error.

    Polls are shared, and the other arguments are, like those of `wait_for_tasks`.
    """
    shared = shared_waiter(WaiterOptions(credentials, endpoint, policy, session, trust_env))
    wait = Wait.for_outcomes(Targets(task_ids, region_id), timeout)
    return _iterate(shared, lambda waiter: waiter.pollers.outcomes(wait))


def updates(  # noqa: PLR0913 - the public API
    task_ids: TaskIds,
    *,
    region_id: str | None = None,
    timeout: float | None = None,
    credentials: CredentialsProvider | None = None,
    endpoint: str | None = None,
    policy: PollPolicy | None = None,
    session: aiohttp.ClientSession | None = None,
    trust_env: bool = False,
) -> AsyncGenerator[Task, None]:
    """Iterate over the tasks at first sight and at every change of status, like `TaskWaiter.updates`.

    Polls are shared, and the other arguments are, like those of `wait_for_tasks`.
    """
    shared = shared_waiter(WaiterOptions(credentials, endpoint, policy, session, trust_env))
    wait = Wait.for_updates(Targets(task_ids, region_id), timeout)
    return _iterate(shared, lambda waiter: waiter.pollers.updates(wait))


async def start(  # noqa: PLR0913 - the public API
    operation: str,
    *,
    region_id: str | None = None,
    params: Mapping[str, Any] | None = None,
    timeout: float | None = None,
    credentials: CredentialsProvider | None = None,
    endpoint: str | None = None,
    policy: PollPolicy | None = None,
    session: aiohttp.ClientSession | None = None,
    trust_env: bool = False,
) -> StartedTask:
    """Start a task and return its ID at once, like `TaskWaiter.start`.

    The other arguments are those of `wait_for_tasks`.
    """
    async with shared_waiter(WaiterOptions(credentials, endpoint, policy, session, trust_env)) as waiter:
        return await waiter.start(operation, region_id=region_id, params=params, timeout=timeout)


@overload
async def run(
    operation: AlwaysStartsTask,
    *,
    region_id: str | None = None,
    params: Mapping[str, Any] | None = None,
    timeout: float | None = None,
    on_update: OnUpdate | None = None,
    on_progress: OnProgress | None = None,
    credentials: CredentialsProvider | None = None,
    endpoint: str | None = None,
    policy: PollPolicy | None = None,
    session: aiohttp.ClientSession | None = None,
    trust_env: bool = False,
) -> Task: ...


@overload
async def run(
    operation: str,
    *,
    region_id: str | None = None,
    params: Mapping[str, Any] | None = None,
    timeout: float | None = None,
    on_update: OnUpdate | None = None,
    on_progress: OnProgress | None = None,
    credentials: CredentialsProvider | None = None,
    endpoint: str | None = None,
    policy: PollPolicy | None = None,
    session: aiohttp.ClientSession | None = None,
    trust_env: bool = False,
) -> Task | None: ...


async def run(  # noqa: PLR0913 - the public API
    operation: str,
    *,
    region_id: str | None = None,
    params: Mapping[str, Any] | None = None,
    timeout: float | None = None,
    on_update: OnUpdate | None = None,
    on_progress: OnProgress | None = None,
    credentials: CredentialsProvider | None = None,
    endpoint: str | None = None,
    policy: PollPolicy | None = None,
    session: aiohttp.ClientSession | None = None,
    trust_env: bool = False,
) -> Task | None:
    """Start a task and wait for it, like `TaskWaiter.run`.

    Polls are shared, and the other arguments are, like those of `wait_for_tasks`.
    """
    async with shared_waiter(WaiterOptions(credentials, endpoint, policy, session, trust_env)) as waiter:
        return await waiter.run(
            operation,
            region_id=region_id,
            params=params,
            timeout=timeout,
            on_update=on_update,
            on_progress=on_progress,
        )


async def cancel_task(  # noqa: PLR0913 - the public API
    task_id: str,
    *,
    region_id: str | None = None,
    credentials: CredentialsProvider | None = None,
    endpoint: str | None = None,
    policy: PollPolicy | None = None,
    session: aiohttp.ClientSession | None = None,
    trust_env: bool = False,
) -> bool:
    """Cancel a task, like `TaskWaiter.cancel_task`: True if the service accepted it, False if the task has ended.

    The other arguments are those of `wait_for_tasks`.
    """
    async with shared_waiter(WaiterOptions(credentials, endpoint, policy, session, trust_env)) as waiter:
        return await waiter.cancel_task(task_id, region_id=region_id)


# -- inside -----------------------------------------------------------------------------------------------------------


async def _iterate(
    shared: AbstractAsyncContextManager[TaskWaiter], begin: Callable[[TaskWaiter], AsyncGenerator[T, None]]
) -> AsyncGenerator[T, None]:
    async with shared as waiter, aclosing(begin(waiter)) as items:
        async for item in items:
            yield item


def shared_waiter(options: WaiterOptions) -> AbstractAsyncContextManager[TaskWaiter]:
    """The waiter that equal options share on this loop; it closes with the last who use it."""
    session, trust_env = options.session, options.trust_env
    provider = check_provider(options.credentials, trust_env=trust_env, session=session)
    base = resolve_endpoint(options.endpoint)
    policy = checked_policy(options.policy)
    shared_by = (key(provider), base, key(policy), key(session), check_trust_env(trust_env, session))
    return _shared_waiters.use(shared_by, lambda: TaskWaiter(provider, base, policy, session, trust_env=trust_env))
