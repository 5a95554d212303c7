"""EcsClient: one coroutine per API operation, each with its limits, retries and typed answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

import aiohttp

from ecs_waiter.api.answers import Snapshot, detail_of, page_of, snapshot_of, tasks_in, total_of
from ecs_waiter.api.attempts import CURRENT, Attempts
from ecs_waiter.api.call_policy import CallPolicy
from ecs_waiter.api.credentials import check_provider
from ecs_waiter.api.endpoints import base_url, resolve_endpoint
from ecs_waiter.api.filters import filters, whole
from ecs_waiter.api.idle import forget_idle
from ecs_waiter.api.limiter import PlaceTakenError, Priority, RegionLimiter
from ecs_waiter.api.listing import read_listing
from ecs_waiter.api.operations import check_action, client_token_of, in_doubt, is_repeatable, region_of_call
from ecs_waiter.api.proxies import Proxies, check_trust_env, trusts_env
from ecs_waiter.api.quotas import quotas_of
from ecs_waiter.api.retry import retrying
from ecs_waiter.api.signing import canonical_query, flatten
from ecs_waiter.api.tasks import PollAnswer, poll_answer, poll_query
from ecs_waiter.api.transport import KNOWN, Transport
from ecs_waiter.errors import ApiError
from ecs_waiter.ids import MAX_BATCH, check_task_id, resolve_region
from ecs_waiter.models import TaskStatus
from ecs_waiter.running_clock import RunningClock
from ecs_waiter.runtimes import running_loop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
    from datetime import datetime
    from types import TracebackType

    from ecs_waiter.api.credentials import CredentialsProvider
    from ecs_waiter.api.transport import Answer, Attempt, Counters
    from ecs_waiter.models import Task, TaskDetail, TaskPage

__all__ = ["EcsClient"]

_POLL = "DescribeTasks"
_STALE_PAGES = 10
"""Pages without any task that is new, in a row, after which the service is taken to repeat itself."""

_ANY_REGION = "cn-hangzhou"

_LOOK_UP_TRIES = 3
"""How often a look-up is sent whose place a poll takes: where polls are that frequent, it does not end by itself."""

T = TypeVar("T")


class EcsClient:
    """Calls ECS in any region: signed, within each region's rate, and again after faults that pass.

    Args:
        credentials: A provider; None for the official chain, loaded when first used.
        endpoint: One base URL for every region; None for ``ECS_WAITER_ENDPOINT`` or each region's own.
        policy: Limits and budgets, in seconds; a PollPolicy is one too.
        session: An aiohttp session of yours, never closed here; None for one of our own.
        trust_env: Whether to use the proxies of the environment (``HTTPS_PROXY``, ``NO_PROXY``). Not with `session`.

    Every call may raise:
        ThrottledError: The service asked for patience to the end of the policy's `outage_budget`.
        AuthenticationError: The credentials were refused, or there are none.
        ServiceUnavailableError: No good answer came for as long; `__cause__` is the last fault.
        ApiError: The service refused the call for another reason.
        ValueError, TypeError: Misuse, before anything is sent.
        WaiterClosedError: `session` is closed, or belongs to another event loop (a RuntimeError).
        RuntimeError: The client is closed.
    """

    def __init__(
        self,
        credentials: CredentialsProvider | None = None,
        endpoint: str | None = None,
        policy: CallPolicy | None = None,
        session: aiohttp.ClientSession | None = None,
        *,
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
            proxies.for_url(base_url(_ANY_REGION, base))  # a proxy that cannot be used is an error now
        self._policy = policy
        self._provider = check_provider(credentials, trust_env=trusts_env(trust_env, session))
        self._endpoint = base
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
        """Close every connection of our own; calls under way fail."""
        for limiter in self._limiters.values():
            limiter.retire()
        await self._transport.aclose()

    def limiter(self, region_id: str, operation: str = _POLL) -> RegionLimiter:
        """Return the gate that every call of an operation to a region passes; by default that of the polls.

        Raises:
            RuntimeError: No event loop runs; what the service taught is kept per loop.
        """
        limiter = self._limiters.get(region_id)
        if limiter is None:
            quotas = quotas_of(asyncio.get_running_loop())
            quota_of = quotas.of(self._provider, self._endpoint, region_id)
            limiter = self._limiters[region_id] = RegionLimiter(self._policy, _POLL, quota_of=quota_of)
            self._transport.remember(region_id)
            for idle, forgotten in forget_idle(self._limiters, self._is_idle):
                forgotten.retire()
                self._transport.forget(idle)
        return limiter if operation == _POLL else limiter.beside(operation)

    def keep(self, is_used: Callable[[str], bool]) -> None:
        """Keep the regions for which `is_used` is true, as well as those with calls under way."""
        self._is_used = is_used

    def _is_idle(self, region_id: str, limiter: RegionLimiter) -> bool:
        return region_id not in self._calling and limiter.is_idle() and not self._is_used(region_id)

    @property
    def counted(self) -> Mapping[str, Counters]:
        """The counters of all regions by their names, those of regions that were forgotten added up."""
        return self._transport.counted

    def counters(self, region_id: str) -> Counters:
        """Return the running counters of a region's calls."""
        return self._transport.counters(region_id)

    def observe(self, around: Callable[[Attempt], Attempt]) -> None:
        """Have every attempt at a call made by what `around` makes of the plain one."""
        self._transport.observe(around)

    def prepare(self, region_id: str, task_ids: Sequence[str]) -> str:
        """Return the query of a poll for up to 100 checked IDs, to be used as often as they are polled."""
        return canonical_query(
            {
                "PageNumber": "1",
                "PageSize": str(len(task_ids)),
                "RegionId": region_id,
                "TaskIds": ",".join(sorted(task_ids)),
            }
        )

    async def poll(self, region_id: str, query: str, is_known: Callable[[int], bool] | None = None) -> Snapshot | None:
        """Make one attempt at a prepared poll, for which the caller holds a place of the region's limiter.

        A fault is raised at once: the poller puts the IDs back and decides when to ask again.

        Returns:
            What was answered; None if it has a fingerprint that is known, and so tells nothing new.
        """
        with _in_region(region_id):
            answer = await self._transport.send(
                region_id,
                _POLL,
                query,
                limiter=self.limiter(region_id),
                priority=Priority.POLL,
                is_known=is_known,
                read=partial(read_listing, region_id),
            )
            return None if answer is KNOWN else snapshot_of(region_id, answer)

    async def poll_tasks(self, region_id: str, task_ids: Sequence[str]) -> PollAnswer:
        """Make one attempt at DescribeTasks for up to 100 IDs. The caller holds a place of the region's limiter.

        Nothing is retried: the poller decides when it asks again.
        """
        with _in_region(region_id):
            answer = await self._transport.send(
                region_id,
                _POLL,
                poll_query(region_id, task_ids),
                limiter=self.limiter(region_id),
                priority=Priority.POLL,
            )
            return poll_answer(region_id, answer)

    async def describe_tasks(  # noqa: PLR0913 - the operation's parameters
        self,
        region_id: str | None = None,
        *,
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
            region_id: The region; None for ``ALIBABA_CLOUD_REGION_ID``.
            task_ids: Up to 100 IDs; None for all tasks.
            task_action: The operation that started the tasks, e.g. ``ImportImage``.
            task_status: ``Processing``, ``Finished`` or ``Failed``.
            start_time: Tasks created at this time or later; with a time zone.
            end_time: Tasks created at this time or earlier; with a time zone.
            resource_ids: Up to 100 images, instances or disks.
            page_number: From 1.
            page_size: From 1 to 100; None for all of `task_ids`, or 100.
        """
        region = resolve_region(region_id)
        params = filters(
            task_ids=task_ids,
            task_action=task_action,
            task_status=task_status,
            start_time=start_time,
            end_time=end_time,
            resource_ids=resource_ids,
        )
        asked = params["TaskIds"].count(",") + 1 if "TaskIds" in params else MAX_BATCH
        size = whole("page_size", asked if page_size is None else page_size, MAX_BATCH)
        number = whole("page_number", page_number)

        def page(answer: Answer) -> TaskPage:
            return page_of(region, answer, page_number=number, page_size=size)

        return await self._called(region, "DescribeTasks", _paged(region, params, number, size), page)

    def iter_tasks(  # noqa: PLR0913 - the operation's parameters
        self,
        region_id: str | None = None,
        *,
        task_ids: Iterable[str] | None = None,
        task_action: str | None = None,
        task_status: str | None = None,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
        resource_ids: Iterable[str] | None = None,
    ) -> AsyncIterator[Task]:
        """Iterate over all tasks that match, page by page; each comes once, though pages may shift meanwhile.

        The arguments are those of `describe_tasks`, checked before the iteration begins.
        """
        region = resolve_region(region_id)
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
        self, region_id: str | None, task_id: str, *, priority: Priority = Priority.CALL
    ) -> TaskDetail:
        """Return one task with its progress and, if it failed, the reason."""
        region = resolve_region(region_id)
        query = canonical_query({"RegionId": region, "TaskId": check_task_id(task_id)})

        def detail(answer: Answer) -> TaskDetail:
            return detail_of(region, task_id, answer)

        return await self._called(region, "DescribeTaskAttribute", query, detail, priority=priority)

    async def cancel_task(self, region_id: str | None, task_id: str) -> None:
        """Ask the service to cancel a task; only imports and exports of images can be canceled."""
        region = resolve_region(region_id)
        query = canonical_query({"RegionId": region, "TaskId": check_task_id(task_id)})
        attempts = Attempts()
        try:
            await self._called(region, "CancelTask", query, _data, attempts=attempts)
        except ApiError as error:
            # An attempt before may have taken effect although its answer was lost.
            is_repeat = attempts.may_have_arrived and error.code == "InvalidTaskId.IncorrectTaskStatus"
            if not is_repeat or not await self._is_canceled(region, task_id):
                raise

    async def _is_canceled(self, region: str, task_id: str) -> bool:
        statuses = [task.task_status for task in (await self.describe_tasks(region, task_ids=[task_id])).tasks]
        return any(isinstance(status, TaskStatus) and status.is_canceled for status in statuses)

    async def call(
        self, action: str, *, region_id: str | None = None, params: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the parsed answer of any RPC operation of ECS.

        What may have happened is repeated only if the operation only reads, is a dry run, or has a ``ClientToken``
        among `params`. Whenever an error leaves open whether the operation started, its message says so and how to
        find out. ``LastTokenProcessing`` (the first request with this token is still at work) is retried.

        A dry run (``DryRun``) that would succeed raises `ApiError` with the code ``DryRunOperation``, because that is
        how the service reports it; `TaskWaiter.run` returns None instead.

        Args:
            action: The operation's name, e.g. ``ExportImage``.
            region_id: The region; None for the ``RegionId`` of `params`, or ``ALIBABA_CLOUD_REGION_ID``.
            params: Its parameters; lists and maps are flattened, ``RegionId`` is added.
        """
        action = check_action(action)
        if params is not None and not isinstance(params, Mapping):
            raise TypeError(f"params takes a mapping, not {type(params).__name__}")
        region = region_of_call(region_id, params or {})
        flat = {"RegionId": region, **flatten(params or {})}
        return await self._called(
            region,
            action,
            canonical_query(flat),
            _data,
            repeatable=is_repeatable(action, flat),
            doubt=in_doubt(action, region, flat),
            token=client_token_of(action, flat),
        )

    async def _tasks(self, region: str, params: Mapping[str, str]) -> AsyncIterator[Task]:
        def page(answer: Answer) -> tuple[tuple[list[Task], int], int | None]:
            return tasks_in(region, answer), total_of(answer)

        seen: set[str] = set()
        rows = stale = number = 0
        while True:
            number += 1
            query = _paged(region, params, number, MAX_BATCH)
            (listed, count), total_count = await self._called(region, "DescribeTasks", query, page)
            before = len(seen)
            for task in listed:
                if task.task_id not in seen:
                    seen.add(task.task_id)
                    yield task
            rows += count
            # New tasks push known ones on to later pages, so that a full page without any news is not the end yet.
            stale = stale + 1 if len(seen) == before else 0
            is_full = count >= MAX_BATCH
            # A total below what a full page brings is not believed.
            is_last = total_count is not None and (rows == total_count or (rows > total_count and not is_full))
            if is_last or stale >= (_STALE_PAGES if is_full else 1):
                return

    async def _called(  # noqa: PLR0913 - each is one property of the call
        self,
        region: str,
        action: str,
        query: str,
        read: Callable[[Answer], T],
        *,
        repeatable: bool = True,
        doubt: str = "",
        token: str | None = None,
        priority: Priority = Priority.CALL,
        attempts: Attempts | None = None,
    ) -> T:
        """Attempt the call until an answer comes that `read` finds no fault with."""
        running_loop()  # raises where asyncio does not run

        async def attempt() -> T:
            limiter = self.limiter(region, action)
            for _ in range(_LOOK_UP_TRIES):
                try:
                    with _in_region(region):
                        async with limiter.place(priority):
                            answer = await self._transport.send(
                                region, action, query, limiter=limiter, fresh=not repeatable, priority=priority
                            )
                        return read(answer)
                except PlaceTakenError:
                    continue
            raise ApiError(None, f"polls needed the place of {action} {_LOOK_UP_TRIES} times: raise max_in_flight")

        counters = self.counters(region)

        def on_retry() -> None:
            counters.retried += 1

        clock = RunningClock()
        # The caller may have put its own there, to know of the attempts even if it is cut off.
        attempts = attempts or CURRENT.get() or Attempts()
        again = retrying(
            self._policy,
            repeatable=repeatable,
            doubt=doubt,
            token=token,
            clock=clock,
            attempts=attempts,
            on_retry=on_retry,
        )
        before = CURRENT.get()
        CURRENT.set(attempts)
        self._calling[region] += 1
        try:
            with _in_region(region), clock.watching():
                return await again(attempt)
        finally:
            # Not by a token: a loop that is closed under the call ends it in another context.
            CURRENT.set(before)
            self._calling[region] -= 1
            if not self._calling[region]:
                del self._calling[region]


@contextmanager
def _in_region(region_id: str) -> Iterator[None]:
    """Have the errors of a call name the region called."""
    try:
        yield
    except ApiError as error:
        error.in_region(region_id)
        raise


def _paged(region: str, params: Mapping[str, str], number: int, size: int) -> str:
    return canonical_query({**params, "PageNumber": str(number), "PageSize": str(size), "RegionId": region})


def _data(answer: Answer) -> dict[str, Any]:
    return answer.data
