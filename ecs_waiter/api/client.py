"""EcsClient: one coroutine per API operation, each with its limits, retries and typed answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

import aiohttp

from ecs_waiter.api.call_policy import CallPolicy
from ecs_waiter.api.credentials import check_provider
from ecs_waiter.api.endpoints import base_url, resolve_endpoint
from ecs_waiter.api.idle import forget_idle
from ecs_waiter.api.limiter import PlaceTakenError, Priority, RegionLimiter
from ecs_waiter.api.operations import check_action, client_token_of, in_doubt, is_repeatable, region_of_call
from ecs_waiter.api.proxies import Proxies, check_trust_env
from ecs_waiter.api.quotas import find_quotas
from ecs_waiter.api.retry import Attempts, retry
from ecs_waiter.api.signing import canonical_query, flatten
from ecs_waiter.api.tasks import check_page, detail_of, filters, page_of, page_query, poll_answer, poll_query, tasks_in
from ecs_waiter.api.transport import Transport
from ecs_waiter.errors import ApiError
from ecs_waiter.ids import MAX_BATCH, check_region, check_task_id, resolve_region
from ecs_waiter.models import TaskStatus
from ecs_waiter.running_clock import RunningClock
from ecs_waiter.runtimes import running_loop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
    from datetime import datetime
    from types import TracebackType

    from ecs_waiter.api.credentials import CredentialsProvider
    from ecs_waiter.api.tasks import PollAnswer
    from ecs_waiter.api.transport import ApiResponse, Attempt, Counters
    from ecs_waiter.models import Task, TaskDetail, TaskPage

__all__ = ["EcsClient"]

_POLL = "DescribeTasks"
_MAX_STALE_PAGES = 10
"""Full pages in a row without a new task, after which an iteration ends: the service repeats itself."""

_ANY_REGION = "cn-hangzhou"

_LOOKUP_TRIES = 3
"""How often a look-up is sent before it fails, if polls take its place in the limiter each time."""

T = TypeVar("T")


class EcsClient:
    """Calls ECS in any region: signs the calls, keeps each region's rate limit, and retries transient faults.

    Args:
        credentials: A provider; None for the official chain, which is loaded on first use.
        endpoint: One base URL for every region; None for ``ECS_WAITER_ENDPOINT`` or each region's own.
        policy: Limits and budgets, in seconds; a PollPolicy is one too.
        session: Your own aiohttp session, which is never closed here; None for one of the client's own.
        region_id: The region of calls that name none; None for ``ALIBABA_CLOUD_REGION_ID``.
        trust_env: Whether to use the proxies of the environment (``HTTPS_PROXY``, ``NO_PROXY``). Not with `session`.

    Every call may raise:
        ThrottledError: The service throttled the call until the policy's `outage_budget` ended.
        AuthenticationError: The credentials were rejected, or there are none.
        ServiceUnavailableError: Transient faults lasted as long; `__cause__` is the last one.
        ApiError: The service rejected the call for another reason.
        ValueError, TypeError: An argument is invalid. Raised before anything is sent.
        WaiterClosedError: `session` is closed, or belongs to another event loop (a RuntimeError).
        RuntimeError: The client is closed.
    """

    def __init__(  # noqa: PLR0913 - each is an option of the user
        self,
        credentials: CredentialsProvider | None = None,
        endpoint: str | None = None,
        policy: CallPolicy | None = None,
        session: aiohttp.ClientSession | None = None,
        *,
        region_id: str | None = None,
        trust_env: bool = False,
    ) -> None:
        policy = CallPolicy() if policy is None else policy
        if not isinstance(policy, CallPolicy):
            raise TypeError(f"policy takes a PollPolicy, not {type(policy).__name__}")
        if session is not None and not isinstance(session, aiohttp.ClientSession):
            raise TypeError(f"session takes an aiohttp.ClientSession, not {type(session).__name__}")
        if session is not None and session.auth is not None:
            raise ValueError("session has an auth of its own, whose header would take the place of the signature")
        if session is not None and any(name.lower().startswith("x-acs-") for name in session.headers):
            raise ValueError("session has x-acs-... headers of its own, which would go out unsigned: leave them out")
        base = resolve_endpoint(endpoint)
        proxies = Proxies() if check_trust_env(trust_env, session) else None
        if proxies is not None:
            proxies.for_url(base_url(_ANY_REGION, base))  # raises now for a proxy that cannot be used
        self._policy = policy
        self._provider = check_provider(credentials, trust_env=trust_env, session=session)
        self._endpoint = base
        self._region_id = None if region_id is None else check_region(region_id)
        self._transport = Transport(
            provider=self._provider, endpoint=base, policy=policy, session=session, proxies=proxies
        )
        self._limiters: dict[str, RegionLimiter] = {}
        self._calling: Counter[str] = Counter()
        self._is_used: Callable[[str], bool] = lambda _region_id: False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the client's own connections; calls under way fail."""
        for limiter in self._limiters.values():
            limiter.retire()
        await self._transport.aclose()

    @property
    def endpoint(self) -> str | None:
        """The base URL of every region, if there is one."""
        return self._endpoint

    def limiter(self, region_id: str, operation: str = _POLL) -> RegionLimiter:
        """Return the limiter of an operation's calls to a region; by default that of the polls.

        Raises:
            RuntimeError: No event loop runs. Learned quotas are kept per event loop.
        """
        limiter = self._limiters.get(region_id)
        if limiter is None:
            quotas = find_quotas(self._provider, self._endpoint, region_id)
            limiter = self._limiters[region_id] = RegionLimiter(self._policy, _POLL, quotas=quotas)
            self._transport.remember(region_id)
            for idle, forgotten in forget_idle(self._limiters, self._is_idle):
                forgotten.retire()
                self._transport.forget(idle)
        return limiter if operation == _POLL else limiter.beside(operation)

    def rates(self, region_id: str) -> tuple[float | None, float | None]:
        """Return the rate in use and the learned quota of a region; None for what is not known."""
        return self._limiters[region_id].rates() if region_id in self._limiters else (None, None)

    def keep(self, is_used: Callable[[str], bool]) -> None:
        """Do not forget the regions for which `is_used` returns True, nor those with calls under way."""
        self._is_used = is_used

    def _is_idle(self, region_id: str, limiter: RegionLimiter) -> bool:
        return region_id not in self._calling and limiter.is_idle() and not self._is_used(region_id)

    @property
    def counted(self) -> Mapping[str, Counters]:
        """The counters of all regions by their names; those of forgotten regions are added up."""
        return self._transport.counted

    def counters(self, region_id: str) -> Counters:
        """Return the running counters of a region's calls."""
        return self._transport.counters(region_id)

    def observe(self, around: Callable[[Attempt], Attempt]) -> None:
        """Wrap every attempt at a call by `around`."""
        self._transport.observe(around)

    async def poll(self, region_id: str, task_ids: Sequence[str]) -> PollAnswer:
        """Make one attempt at DescribeTasks for up to 100 IDs. The caller holds a place of the region's limiter.

        Nothing is retried: the poller decides when it asks again.
        """
        with _in_region(region_id):
            query = poll_query(region_id, tuple(task_ids))
            limiter = self.limiter(region_id)
            response = await self._transport.send(region_id, _POLL, query, limiter=limiter, priority=Priority.POLL)
            return poll_answer(region_id, response)

    async def describe_tasks(  # noqa: PLR0913 - the operation's parameters
        self,
        *,
        region_id: str | None = None,
        task_ids: Iterable[str] | None = None,
        task_action: str | None = None,
        task_status: str | None = None,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
        resource_ids: Iterable[str] | None = None,
        page_number: int = 1,
        page_size: int | None = None,
    ) -> TaskPage:
        """Return one page of tasks, by one call.

        Args:
            region_id: The region; None for the client's own, or ``ALIBABA_CLOUD_REGION_ID``.
            task_ids: Up to 100 IDs; None for all tasks.
            task_action: The operation that started the tasks, e.g. ``ImportImage``.
            task_status: ``Processing``, ``Finished`` or ``Failed``.
            start_time: Tasks created at this time or later; with a time zone.
            end_time: Tasks created at this time or earlier; with a time zone.
            resource_ids: Up to 100 images, instances or disks.
            page_number: From 1.
            page_size: From 1 to 100; None for all of `task_ids`, or 100.
        """
        region = resolve_region(region_id, self._region_id)
        params = filters(
            task_ids=task_ids,
            task_action=task_action,
            task_status=task_status,
            start_time=start_time,
            end_time=end_time,
            resource_ids=resource_ids,
        )
        return await self._page(region, params, *check_page(params, page_number, page_size))

    async def finished_tasks(self, region_id: str, task_action: str, start_time: datetime) -> TaskPage:
        """Return a page of tasks created since then that have finished. All other calls go before this one."""
        params = filters(task_action=task_action, task_status="Finished", start_time=start_time)
        return await self._page(region_id, params, 1, MAX_BATCH, Priority.LOOKUP)

    async def _page(
        self, region: str, params: Mapping[str, str], number: int, size: int, priority: Priority = Priority.CALL
    ) -> TaskPage:
        page = partial(page_of, region, page_number=number, page_size=size)
        query = page_query(region, params, number=number, size=size)
        return await self._call(region, "DescribeTasks", query, page, priority=priority)

    def iter_tasks(  # noqa: PLR0913 - the operation's parameters
        self,
        *,
        region_id: str | None = None,
        task_ids: Iterable[str] | None = None,
        task_action: str | None = None,
        task_status: str | None = None,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
        resource_ids: Iterable[str] | None = None,
    ) -> AsyncIterator[Task]:
        """Iterate over all tasks that match, page by page. Each task comes once, even if pages shift meanwhile.

        The arguments are those of `describe_tasks`. They are checked before the iteration begins.
        """
        region = resolve_region(region_id, self._region_id)
        params = filters(
            task_ids=task_ids,
            task_action=task_action,
            task_status=task_status,
            start_time=start_time,
            end_time=end_time,
            resource_ids=resource_ids,
        )
        return self._tasks(region, params)

    async def describe_task_attribute(
        self, task_id: str, *, region_id: str | None = None, priority: Priority = Priority.CALL
    ) -> TaskDetail:
        """Return one task with its progress and, if it failed, the reason."""
        region = resolve_region(region_id, self._region_id)
        query = canonical_query({"RegionId": region, "TaskId": check_task_id(task_id)})

        def detail(response: ApiResponse) -> TaskDetail:
            return detail_of(region, task_id, response)

        return await self._call(region, "DescribeTaskAttribute", query, detail, priority=priority)

    async def cancel_task(self, task_id: str, *, region_id: str | None = None) -> None:
        """Ask the service to cancel a task; only imports and exports of images can be canceled."""
        region = resolve_region(region_id, self._region_id)
        query = canonical_query({"RegionId": region, "TaskId": check_task_id(task_id)})
        attempts = Attempts()
        try:
            await self._call(region, "CancelTask", query, _data, attempts=attempts)
        except ApiError as error:
            # An earlier attempt may have taken effect although its answer was lost.
            is_repeat = attempts.may_have_arrived and error.code == "InvalidTaskId.IncorrectTaskStatus"
            if not is_repeat or not await self._is_canceled(region, task_id):
                raise

    async def _is_canceled(self, region: str, task_id: str) -> bool:
        page = await self.describe_tasks(task_ids=[task_id], region_id=region)
        return any(isinstance(task.task_status, TaskStatus) and task.task_status.is_canceled for task in page.tasks)

    async def call(
        self, action: str, *, region_id: str | None = None, params: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the parsed answer of any RPC operation of ECS.

        A request that may have been executed is repeated only if the operation is read-only, is a dry run, or has a
        ``ClientToken`` in `params`. If an error leaves open whether the operation started, its message says so and how
        to find out. ``LastTokenProcessing`` (the first request with this token is still executing) is retried.

        A dry run (``DryRun``) that would succeed raises `ApiError` with the code ``DryRunOperation``, because that is
        how the service reports it; `TaskWaiter.run` returns None instead.

        Args:
            action: The operation's name, e.g. ``ExportImage``.
            region_id: The region; None for the ``RegionId`` of `params`, the client's own, or
                ``ALIBABA_CLOUD_REGION_ID``.
            params: Its parameters; lists and maps are flattened, ``RegionId`` is added.
        """
        return await self.recorded_call(action, region_id, params, Attempts())

    async def recorded_call(
        self, action: str, region_id: str | None, params: Mapping[str, Any] | None, attempts: Attempts
    ) -> dict[str, Any]:
        """Do what `call` does, and record in `attempts` what happened, also if the call is canceled."""
        action = check_action(action)
        if params is not None and not isinstance(params, Mapping):
            raise TypeError(f"params takes a mapping, not {type(params).__name__}")
        region = region_of_call(region_id, params or {}, self._region_id)
        flat = {"RegionId": region, **flatten(params or {})}
        return await self._call(
            region,
            action,
            canonical_query(flat),
            _data,
            repeatable=is_repeatable(action, flat),
            doubt=in_doubt(action, region, flat),
            token=client_token_of(action, flat),
            attempts=attempts,
        )

    async def _tasks(self, region: str, params: Mapping[str, str]) -> AsyncIterator[Task]:
        def page(response: ApiResponse) -> tuple[list[Task], int, int | None]:
            return tasks_in(region, response)

        seen: set[str] = set()
        rows = stale = number = 0
        while True:
            number += 1
            query = page_query(region, params, number=number, size=MAX_BATCH)
            listed, count, total_count = await self._call(region, "DescribeTasks", query, page)
            before = len(seen)
            for task in listed:
                if task.task_id not in seen:
                    seen.add(task.task_id)
                    yield task
            rows += count
            # New tasks push known ones to later pages, so a full page without a new task is not the end yet.
            stale = stale + 1 if len(seen) == before else 0
            is_full = count >= MAX_BATCH
            # A total below the number of rows is wrong if the page is full.
            is_last = total_count is not None and (rows == total_count or (rows > total_count and not is_full))
            if is_last or stale >= (_MAX_STALE_PAGES if is_full else 1):
                return

    async def _call(  # noqa: PLR0913 - each is one property of the call
        self,
        region: str,
        action: str,
        query: str,
        read: Callable[[ApiResponse], T],
        *,
        repeatable: bool = True,
        doubt: str = "",
        token: str | None = None,
        priority: Priority = Priority.CALL,
        attempts: Attempts | None = None,
    ) -> T:
        """Repeat a call while its errors are transient, those that `read` raises included."""
        running_loop()  # raises if asyncio does not run
        clock = RunningClock()
        noted = attempts or Attempts()

        async def attempt() -> T:
            limiter = self.limiter(region, action)
            for _ in range(_LOOKUP_TRIES):
                try:
                    with _in_region(region):
                        async with limiter.place(priority):
                            response = await self._transport.send(
                                region,
                                action,
                                query,
                                limiter=limiter,
                                priority=priority,
                                fresh=not repeatable,
                                attempts=noted,
                            )
                        return read(response)
                except PlaceTakenError:
                    continue
            raise ApiError(None, f"polls needed the place of {action} {_LOOKUP_TRIES} times: raise max_in_flight")

        def on_retry() -> None:
            self.counters(region).retried += 1

        self._calling[region] += 1
        try:
            with _in_region(region), clock.watching():
                return await retry(
                    attempt,
                    self._policy,
                    repeatable=repeatable,
                    doubt=doubt,
                    token=token,
                    clock=clock,
                    throttled_until=lambda: self.limiter(region, action).next_at,
                    attempts=noted,
                    on_retry=on_retry,
                )
        finally:
            self._calling[region] -= 1
            if not self._calling[region]:
                del self._calling[region]


@contextmanager
def _in_region(region_id: str) -> Iterator[None]:
    """Note the region in the errors of a call."""
    try:
        yield
    except ApiError as error:
        error.in_region(region_id)
        raise


def _data(response: ApiResponse) -> dict[str, Any]:
    return response.data
