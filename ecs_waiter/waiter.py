"""TaskWaiter: waits for tasks, starts them, and cancels them. All its waits share its polls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self, overload

from ecs_waiter.api.client import EcsClient
from ecs_waiter.arguments import WaitOptions, checked_policy, checked_timeout
from ecs_waiter.ids import Targets, check_region, check_task_id, resolve_region
from ecs_waiter.pollers import Pollers
from ecs_waiter.starting import AlwaysStartsTask, Start, StartedTask
from ecs_waiter.wait import Wait, WaitEvent

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator, Mapping
    from types import TracebackType

    import aiohttp

    from ecs_waiter.api.credentials import CredentialsProvider
    from ecs_waiter.arguments import OnProgress, OnUpdate
    from ecs_waiter.errors import EcsWaiterError
    from ecs_waiter.ids import TaskIds
    from ecs_waiter.models import Task
    from ecs_waiter.polling.durations import Eta
    from ecs_waiter.polling.policy import PollPolicy
    from ecs_waiter.stats import WaiterStats

__all__ = ["TaskWaiter"]


class TaskWaiter:
    """Waits for tasks of any number of regions; all its waits share its polls.

    Use it as ``async with TaskWaiter() as waiter``, for a whole program's life if you like: it costs nothing while
    nobody waits. Leaving the block ends everything it has under way.

    Args:
        credentials: A credentials provider; the official default chain if None.
        endpoint: One base URL for every region, instead of the service's own; ``ECS_WAITER_ENDPOINT`` if None.
            Plain http is accepted for loopback addresses only.
        policy: How often to poll, and how long to retry.
        session: Your own aiohttp session, which stays yours to close; one of its own if None.
        region_id: The region of waits that name none; ``ALIBABA_CLOUD_REGION_ID`` if None.
        trust_env: Whether to use the proxies of the environment (``HTTPS_PROXY``, ``NO_PROXY``). Not with `session`.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: The endpoint is not a base URL, or plain http to another machine; the region is not a region's name;
            or `trust_env` is True with a session, or with a proxy in the environment that cannot be used.
    """

    def __init__(  # noqa: PLR0913 - the public API
        self,
        credentials: CredentialsProvider | None = None,
        endpoint: str | None = None,
        policy: PollPolicy | None = None,
        session: aiohttp.ClientSession | None = None,
        *,
        region_id: str | None = None,
        trust_env: bool = False,
    ) -> None:
        checked = checked_policy(policy)
        self._region_id = None if region_id is None else check_region(region_id)
        self._client = EcsClient(credentials, endpoint, checked, session, region_id=region_id, trust_env=trust_env)
        self.pollers = Pollers(self._client, checked)

    def __repr__(self) -> str:
        return f"<TaskWaiter {self.pollers!r}>"

    async def __aenter__(self) -> Self:
        self.pollers.check_open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End all polling and close the connections.

        Futures still pending are canceled; a wait under way raises `WaiterClosedError`; a task known to have failed
        is reported as failed. Nothing outlives this call, not even if it is canceled itself.
        """
        await self.pollers.aclose()

    @property
    def client(self) -> EcsClient:
        """The client of this waiter, for other calls under the same limits; it closes with the waiter."""
        return self._client

    @property
    def stats(self) -> WaiterStats:
        """What was done so far, by region."""
        return self.pollers.stats()

    def eta(self, task_id: str, *, region_id: str | None = None) -> Eta | None:
        """Return the time left for a task, in seconds from now; None if nobody waits for it, or too little is known.

        It is derived from how long at least ten tasks of the same operation took that finished, and assumes that the
        past repeats. The policy's `history` says from which tasks that is learned.
        """
        return self.pollers.eta(resolve_region(region_id, self._region_id), check_task_id(task_id))

    # -- waiting ------------------------------------------------------------------------------------------------------

    def submit(self, task_id: str, *, region_id: str | None = None) -> asyncio.Future[Task]:
        """Start waiting for one task, and return the future that resolves with it. Canceling it stops this wait only.

        Raises:
            WaiterClosedError: The waiter is closed (a RuntimeError).
            RuntimeError: No event loop runs, or another one than this waiter's.
            TypeError: The ID or the region is not a string.
            ValueError: The ID or the region is invalid, or no region is known.
        """
        self.pollers.check_open()
        return self.pollers.submit(resolve_region(region_id, self._region_id), check_task_id(task_id))

    @overload
    async def wait(
        self,
        task_ids: TaskIds,
        *,
        region_id: str | None = None,
        timeout: float | None = None,
        return_exceptions: Literal[False] = False,
        on_update: OnUpdate | None = None,
        on_progress: OnProgress | None = None,
        fail_fast: bool = False,
    ) -> dict[str, Task]: ...

    @overload
    async def wait(
        self,
        task_ids: TaskIds,
        *,
        region_id: str | None = None,
        timeout: float | None = None,
        return_exceptions: bool,
        on_update: OnUpdate | None = None,
        on_progress: OnProgress | None = None,
        fail_fast: bool = False,
    ) -> dict[str, Task | EcsWaiterError]: ...

    async def wait(  # noqa: PLR0913 - the public API
        self,
        task_ids: TaskIds,
        *,
        region_id: str | None = None,
        timeout: float | None = None,
        return_exceptions: bool = False,
        on_update: OnUpdate | None = None,
        on_progress: OnProgress | None = None,
        fail_fast: bool = False,
    ) -> dict[str, Task] | dict[str, Task | EcsWaiterError]:
        """Wait until all tasks have ended, and return ID -> Task in the order asked.

        Args:
            task_ids: Task IDs of one region, or region -> task IDs.
            region_id: The region of plain IDs; the waiter's own or ``ALIBABA_CLOUD_REGION_ID`` by default.
            timeout: Seconds that all of it may take; 0 is a single poll; None is no limit.
            return_exceptions: Return errors as results instead of raising.
            on_update: Called with each task at first sight and at every change of its status. What it raises is
                raised from here.
            on_progress: Called with the Progress of the wait after polls, at most once a second and at least every ten
                seconds, and when the last task has ended. What it raises is raised from here.
            fail_fast: Raise at the first failure instead of waiting for all. Like every failure, it is reported when
                its reason is known, or after 30 s without one.

        Raises:
            TaskError: Only one task was asked, and it failed, was canceled or is unknown.
            TasksFailedError: Several were asked and some failed.
            ApiError: The region rejected the calls, or failed for the whole outage budget.
            WaitTimeoutError: The deadline passed.
            WaiterClosedError: The waiter was closed meanwhile.
            TypeError: An argument is of the wrong type.
            ValueError: An argument is invalid.
        """
        options = WaitOptions(region_id, timeout, return_exceptions, on_update, on_progress, fail_fast)
        results: dict[str, Task] = await self.pollers.wait(Targets(task_ids, region_id, self._region_id), options)
        return results

    wait_for_tasks = wait

    async def wait_for_task(  # noqa: PLR0913 - the public API
        self,
        task_id: str,
        *,
        region_id: str | None = None,
        timeout: float | None = None,
        on_update: OnUpdate | None = None,
        on_progress: OnProgress | None = None,
        fail_fast: bool = False,
    ) -> Task:
        """Wait until one task has ended, and return it: `wait` for a single ID, with the same arguments and errors."""
        options = WaitOptions(region_id, timeout, on_update=on_update, on_progress=on_progress, fail_fast=fail_fast)
        results = await self.pollers.wait(Targets([check_task_id(task_id)], region_id, self._region_id), options)
        task: Task = results[task_id]
        return task

    def events(
        self, task_ids: TaskIds, *, region_id: str | None = None, timeout: float | None = None
    ) -> AsyncGenerator[WaitEvent, None]:
        """Iterate over everything that happens to the tasks, until all have ended: changes and outcomes.

        A task's first sight and each change of its status is an event. Its end is one event, which is `final`: with
        the task if it finished, with an error otherwise. A failure comes once its reason is known, or after 30 s
        without one. The error of a whole region comes once for each of its tasks.

        Args:
            task_ids: Task IDs of one region, or region -> task IDs.
            region_id: The region of plain IDs; the waiter's own or ``ALIBABA_CLOUD_REGION_ID`` by default.
            timeout: Seconds that all of it may take; 0 is a single poll; None is no limit.

        The first 20,000 IDs are read and checked by this call, further ones when the iteration begins, so do not change
        a longer list before its first event. No call is made before all IDs are checked.

        Raises:
            WaitTimeoutError: The deadline passed, after all outcomes so far were given. What is pending gets no final
                event. The error's `results` and `last` are empty, because the events are not kept.
            WaiterClosedError: The waiter was closed meanwhile.
            TypeError: An argument is of the wrong type.
            ValueError: An argument is invalid.
        """
        return self.pollers.events(Wait.for_events(Targets(task_ids, region_id, self._region_id), timeout))

    def as_completed(
        self, task_ids: TaskIds, *, region_id: str | None = None, timeout: float | None = None
    ) -> AsyncGenerator[Task | EcsWaiterError, None]:
        """Iterate over the outcomes among the `events`: each a Task, or the error of a task that did not finish.

        The arguments and errors are those of `events`, but `WaitTimeoutError` has all its fields.
        """
        return self.pollers.outcomes(Wait.for_outcomes(Targets(task_ids, region_id, self._region_id), timeout))

    def updates(
        self, task_ids: TaskIds, *, region_id: str | None = None, timeout: float | None = None
    ) -> AsyncGenerator[Task, None]:
        """Iterate over the tasks of the `events`: at first sight and at every change of status, until all have ended.

        Failed and canceled tasks are given like the others, as soon as they are seen. What has no Task (an unknown
        ID, a region that rejects the calls) is raised after the others have ended. The arguments are those of
        `events`.

        Raises:
            TaskNotFoundError: The only ID asked is unknown.
            TasksFailedError: Several were asked and some have no Task.
            ApiError: The region rejected the calls, or failed for the whole outage budget.
            WaitTimeoutError: The deadline passed.
            WaiterClosedError: The waiter was closed meanwhile.
        """
        return self.pollers.updates(Wait.for_updates(Targets(task_ids, region_id, self._region_id), timeout))

    # -- starting and canceling ---------------------------------------------------------------------------------------

    async def start(
        self,
        operation: str,
        *,
        region_id: str | None = None,
        params: Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> StartedTask:
        """Start a task, e.g. ``ImportImage``, and return its ID at once.

        Starting is not idempotent: it is repeated only if it surely did not happen, or if the operation takes a
        ``ClientToken``, which is added here. If an error leaves open whether the operation started, it says so, and
        which token to use to find out.

        Args:
            operation: The operation's name. It must be one that starts a task.
            region_id: The region; the waiter's own or ``ALIBABA_CLOUD_REGION_ID`` by default.
            params: The operation's parameters; lists and maps are flattened as the service expects them.
            timeout: Seconds that the start may take; None is no limit.

        Returns:
            The IDs. `task_id` is None in two cases, which are logged: ``ModifyDiskSpec`` was done at once; or `params`
            asked for a dry run (``DryRun``), and the service reported that the request would succeed.

        Raises:
            WaitTimeoutError: The deadline passed before the start was answered.
            WaiterClosedError: The waiter was closed meanwhile.
            ServiceUnavailableError: No good answer came, or one that does not say which task was started.
            ApiError: The service rejected the start.
            TypeError: An argument is of the wrong type.
            ValueError: An argument is invalid, or the operation is not known to start a task.
        """
        seconds = checked_timeout(timeout)
        return await self.pollers.start(Start(operation, region_id, params, default_region=self._region_id), seconds)

    @overload
    async def run(
        self,
        operation: AlwaysStartsTask,
        *,
        region_id: str | None = None,
        params: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        on_update: OnUpdate | None = None,
        on_progress: OnProgress | None = None,
    ) -> Task: ...

    @overload
    async def run(
        self,
        operation: str,
        *,
        region_id: str | None = None,
        params: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        on_update: OnUpdate | None = None,
        on_progress: OnProgress | None = None,
    ) -> Task | None: ...

    async def run(  # noqa: PLR0913 - the public API
        self,
        operation: str,
        *,
        region_id: str | None = None,
        params: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        on_update: OnUpdate | None = None,
        on_progress: OnProgress | None = None,
    ) -> Task | None:
        """Start a task and wait for it: `start`, then `wait`, with their arguments and errors and one deadline.

        Returns:
            The finished task; None where `start` returns no task ID.
        """
        options = WaitOptions(timeout=timeout, on_update=on_update, on_progress=on_progress)
        return await self.pollers.run(Start(operation, region_id, params, default_region=self._region_id), options)

    async def cancel_task(self, task_id: str, *, region_id: str | None = None) -> bool:
        """Cancel a task. Only imports and exports of images can be canceled.

        Returns:
            True if the service accepted it; False if the task has already ended.

        Raises:
            TaskNotFoundError: The region does not know the task.
            ApiError: The service rejected it, or did not answer.
            TypeError: The ID or the region is not a string.
            ValueError: The ID or the region is invalid, or no region is known.
        """
        return await self.pollers.cancel(resolve_region(region_id, self._region_id), check_task_id(task_id))
