"""TaskWaiter, wait_for_task and wait_for_tasks: the face users meet."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, aclosing, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, cast, overload

from ecs_waiter.api.client import EcsClient
from ecs_waiter.api.credentials import CredentialsProvider, check_provider
from ecs_waiter.api.endpoints import resolve_endpoint
from ecs_waiter.api.idle import forget_idle
from ecs_waiter.api.operations import region_of_call
from ecs_waiter.api.proxies import check_trust_env
from ecs_waiter.api.retry import Attempts
from ecs_waiter.api.transport import Counters
from ecs_waiter.arguments import checked_callback, checked_policy, checked_timeout
from ecs_waiter.errors import (
    ApiError,
    EcsWaiterError,
    TaskCanceledError,
    TaskFailedError,
    WaiterClosedError,
    WaitTimeoutError,
)
from ecs_waiter.ids import Targets, check_task_id, resolve_region
from ecs_waiter.polling.notifier import UnknownStatuses
from ecs_waiter.polling.poller import RegionPoller
from ecs_waiter.runtimes import finished, running_loop
from ecs_waiter.sharing import Sharing, identity, policy_key
from ecs_waiter.slices import do_in_slices, in_slices
from ecs_waiter.start import Start
from ecs_waiter.telemetry import telemetry
from ecs_waiter.wait import News, Stream, Submitted, Wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    import aiohttp

    from ecs_waiter.arguments import OnUpdate
    from ecs_waiter.ids import TaskIds
    from ecs_waiter.models import Task
    from ecs_waiter.polling.policy import PollPolicy
    from ecs_waiter.stats import RegionStats, WaiterStats

__all__ = ["TaskWaiter", "wait_for_task", "wait_for_tasks"]

_AlwaysStartsTask: TypeAlias = Literal[
    "ExportImage",
    "ExportSnapshot",
    "ImportImage",
    "ModifyDiskDeployment",
    "ModifyInstanceClockOptions",
    "ModifyInstanceNetworkOptions",
    "ModifySnapshotCategory",
    "RedeployInstance",
]
"""`STARTS_TASK` without `MAY_BE_DONE_AT_ONCE`, for type checkers."""

_LATE = 0.5
"""Seconds by which a deadline must be noticed late for a wait to have one last look: the loop did not run."""

_log = logging.getLogger("ecs_waiter")


class TaskWaiter:
    """Waits for tasks of any number of regions; all its waits share its polls.

    Use it as ``async with TaskWaiter() as waiter``, for a whole program's life if you like: it costs nothing while
    nobody waits. Leaving the block ends everything it has under way.

    Args:
        credentials: A credentials provider; the official default chain if None.
        endpoint: One base URL for every region, instead of the service's own; ``ECS_WAITER_ENDPOINT`` if None.
            Plain http is accepted for loopback addresses only.
        policy: When to look and how much trouble to bear.
        session: Your own aiohttp session, which stays yours to close; one of its own if None.
        trust_env: Whether to use the proxies of the environment (``HTTPS_PROXY``, ``NO_PROXY``). Not with `session`.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: The endpoint is no base URL, or plain http to another machine; or `trust_env` is True with a
            session, or with a proxy in the environment that cannot be used.
    """

    def __init__(
        self,
        credentials: CredentialsProvider | None = None,
        endpoint: str | None = None,
        policy: PollPolicy | None = None,
        session: aiohttp.ClientSession | None = None,
        *,
        trust_env: bool = False,
    ) -> None:
        self._policy = checked_policy(policy)
        self._client = EcsClient(credentials, endpoint, self._policy, session, trust_env=trust_env)
        self._client.keep(self._is_used)
        self._unknown_statuses = UnknownStatuses()
        self._pollers: dict[str, RegionPoller] = {}
        self._waits: set[Wait] = set()
        self._futures: set[asyncio.Future[Task]] = set()
        self._starts: set[asyncio.Task[dict[str, Any]]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: asyncio.Task[None] | None = None
        self._is_closed = False
        self._telemetry = telemetry(self._counts)
        if self._telemetry is not None:
            self._client.observe(self._telemetry.around)

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else f"{sum(poller.waiting for poller in self._pollers.values())} waiting"
        return f"<TaskWaiter {state}>"

    async def __aenter__(self) -> Self:
        """Make it ready."""
        self._check_open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await self.aclose()

    async def aclose(self) -> None:
        """End all polling and close the connections.

        Futures still pending are canceled; a wait under way raises `WaiterClosedError`; a task known to have failed
        is told as failed. Nothing outlives this call, not even if it is canceled itself.
        """
        if self._closing is None:
            self._is_closed = True
            ending: list[asyncio.Task[Any]] = [task for poller in self._pollers.values() for task in poller.close()]
            for start in self._starts:
                start.cancel()
            ending += self._starts
            self._closing = running_loop().create_task(self._close(ending))
        await _to_the_end(self._closing)

    async def _close(self, ending: list[asyncio.Task[Any]]) -> None:
        # First what is known: a failed task is reported as failed wherever it is waited for.
        for poller in tuple(self._pollers.values()):
            await poller.report_failures()
        async for waits in in_slices(tuple(self._waits)):
            for wait in waits:
                wait.close()
        async for futures in in_slices(tuple(self._futures)):
            for future in futures:
                future.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        await self._client.aclose()
        if self._telemetry is not None:
            self._telemetry.close()

    @property
    def client(self) -> EcsClient:
        """The client of this waiter, for other calls under the same limits; it closes with the waiter."""
        return self._client

    @property
    def stats(self) -> WaiterStats:
        """What was done so far, by region."""
        from ecs_waiter.stats import WaiterStats  # noqa: PLC0415 - most programs never ask

        now = 0.0 if self._loop is None else self._loop.time()
        regions = {}
        for region_id, counts in self._counts().items():
            poller = self._pollers.get(region_id)
            if poller is not None:
                counts = replace(counts, fault=poller.fault, next_poll=poller.next_poll(now))  # noqa: PLW2901
            regions[region_id] = counts
        return WaiterStats(MappingProxyType(regions))

    def _counts(self) -> dict[str, RegionStats]:
        """The counts alone, which other threads may ask for too."""
        from ecs_waiter.stats import RegionStats  # noqa: PLC0415 - most programs never ask

        regions = {}
        pollers = self._pollers.copy()
        for region_id, counters in {**dict.fromkeys(pollers, None), **self._client.counted}.items():
            poller = pollers.get(region_id)
            counted = Counters() if counters is None else counters
            regions[region_id] = RegionStats(
                calls=counted.calls,
                polls=counted.polls + (poller.polls if poller else 0),
                settled=counted.settled + (poller.settled if poller else 0),
                throttled=counted.throttled,
                retried=counted.retried + (poller.retried if poller else 0),
                waiting=poller.waiting if poller else 0,
            )
        return regions

    def submit(self, task_id: str, *, region_id: str | None = None) -> asyncio.Future[Task]:
        """Start waiting for one task, and return the future that resolves with it. Canceling it stops this wait only.

        Raises:
            WaiterClosedError: The waiter is closed (a RuntimeError).
            RuntimeError: No event loop runs, or another one than this waiter's.
            TypeError: The ID or the region is no string.
            ValueError: The ID or the region is not one, or no region is known.
        """
        self._check_open()
        check_task_id(task_id)
        region = resolve_region(region_id)
        poller = self._poller(region)
        future: asyncio.Future[Task] = asyncio.get_running_loop().create_future()
        subscriber = Submitted(future)

        def done(_: asyncio.Future[Task]) -> None:
            self._futures.discard(future)
            if future.cancelled():
                poller.discard(task_id, subscriber)
            if self._telemetry is not None:
                self._telemetry.end(subscriber, subscriber.error)

        self._futures.add(future)
        if self._telemetry is not None:
            self._telemetry.begin(subscriber, (region,), 1)
        future.add_done_callback(done)
        try:
            poller.add((task_id,), subscriber)
        except BaseException:
            future.cancel()
            raise
        return future

    @overload
    async def wait(
        self,
        task_ids: TaskIds,
        *,
        region_id: str | None = None,
        timeout: float | None = None,
        return_exceptions: Literal[False] = False,
        on_update: OnUpdate | None = None,
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
        fail_fast: bool = False,
    ) -> dict[str, Task] | dict[str, Task | EcsWaiterError]:
        """Wait until all tasks have ended, and return ID -> Task in the order asked.

        Args:
            task_ids: Task IDs of one region, or region -> task IDs.
            region_id: The region of plain IDs; ``ALIBABA_CLOUD_REGION_ID`` by default.
            timeout: Seconds that all of it may take; 0 is one look; None is no limit.
            return_exceptions: Return errors as results instead of raising.
            on_update: Called with each task at first sight and at every change of its status. What it raises is
                raised from here.
            fail_fast: Raise at the first failure instead of waiting for all; like every failure it is told when its
                reason is known, which the service is given 30 s to say.

        Raises:
            TaskError: Only one task was asked, and it failed, was canceled or is unknown.
            TasksFailedError: Several were asked and some failed.
            ApiError: The region refused, or failed for the whole outage budget.
            WaitTimeoutError: The deadline passed.
            WaiterClosedError: The waiter was closed meanwhile.
            TypeError: An argument is of the wrong type.
            ValueError: An argument makes no sense.
        """
        if fail_fast and return_exceptions:
            raise ValueError("fail_fast raises at the first failure, return_exceptions never: choose one")
        notify = checked_callback(on_update)
        seconds = checked_timeout(timeout)
        self._check_open()
        deadline = _deadline(seconds)
        targets = Targets(task_ids, region_id)
        wait = Wait(
            targets,
            wants_changes=notify is not None,
            needs_detail=seconds != 0,
            single_poll=seconds == 0,
            fail_fast=fail_fast,
        )
        await wait.read()
        with self._observed(wait), self._taking_part(wait, deadline):
            await self._join(wait)
            while (event := await wait.next()) is not None:
                if notify is not None:
                    notify(cast("Task", event))
            await self._tell_known_failures(wait)
            await self._conclude(wait, seconds)
        if not return_exceptions and (failure := wait.failure()) is not None:
            raise failure
        return wait.outcomes

    def as_completed(
        self, task_ids: TaskIds, *, region_id: str | None = None, timeout: float | None = None
    ) -> AsyncIterator[Task | EcsWaiterError]:
        """Iterate over the outcomes as they come: each a Task, or the error of a task that did not finish.

        The error of a whole region (an `ApiError`) is given once for each of the tasks that it ended.

        Args:
            task_ids: Task IDs of one region, or region -> task IDs.
            region_id: The region of plain IDs; ``ALIBABA_CLOUD_REGION_ID`` by default.
            timeout: Seconds that all of it may take; 0 is one look; None is no limit.

        The first 20,000 IDs are read and checked by this call, further ones when the iteration begins, so do not change
        a longer list before its first event. No call is made before all IDs are checked.

        Raises:
            WaitTimeoutError: The deadline passed, after all that had settled was given.
            WaiterClosedError: The waiter was closed meanwhile.
            TypeError: An argument is of the wrong type.
            ValueError: An argument makes no sense.
        """
        seconds = checked_timeout(timeout)
        self._check_open()
        targets = Targets(task_ids, region_id)
        targets.begin()
        wait = Wait(targets, wants_outcomes=True, needs_detail=seconds != 0, single_poll=seconds == 0)
        return self._events(wait, seconds, _deadline(seconds))

    def updates(
        self, task_ids: TaskIds, *, region_id: str | None = None, timeout: float | None = None
    ) -> AsyncIterator[Task]:
        """Iterate over the tasks at first sight and at every change of status, until all have ended.

        Failed and canceled tasks are given like the others. What has no Task (an unknown ID, a region that refuses)
        is raised after the others have ended.

        Args:
            task_ids: Task IDs of one region, or region -> task IDs.
            region_id: The region of plain IDs; ``ALIBABA_CLOUD_REGION_ID`` by default.
            timeout: Seconds that all of it may take; 0 is one look; None is no limit.

        The first 20,000 IDs are read and checked by this call, further ones when the iteration begins, so do not change
        a longer list before its first event. No call is made before all IDs are checked.

        Raises:
            TaskNotFoundError: The only ID asked is unknown.
            TasksFailedError: Several were asked and some have no Task.
            ApiError: The region refused, or failed for the whole outage budget.
            WaitTimeoutError: The deadline passed.
            WaiterClosedError: The waiter was closed meanwhile.
            TypeError: An argument is of the wrong type.
            ValueError: An argument makes no sense.
        """
        seconds = checked_timeout(timeout)
        self._check_open()
        targets = Targets(task_ids, region_id)
        targets.begin()
        wait = Wait(targets, wants_changes=True, needs_detail=False, single_poll=seconds == 0)
        return self._updates(wait, seconds, _deadline(seconds))

    async def follow(
        self, task_ids: Mapping[str, Iterable[str]], *, timeout: float | None = None
    ) -> AsyncGenerator[News, None]:
        """Iterate over all changes and outcomes of any number of tasks, and keep none of them: for the command.

        A task's last news is final. Its end is news that is not final, too; that comes before its outcome, which for a
        failure is known when its reason is. The errors raised have no `results`, `pending` or `last`.

        Raises:
            WaitTimeoutError: The deadline passed, after all that had settled was given.
            WaiterClosedError: The waiter was closed meanwhile.
        """
        self._check_open()
        deadline = _deadline(timeout)
        targets = Targets(task_ids, None)
        for _ in targets.read():
            await asyncio.sleep(0)
        async with aclosing(self._events(Stream(targets, single_poll=timeout == 0), timeout, deadline)) as events:
            async for news in events:
                yield news

    @overload
    async def run(
        self,
        operation: _AlwaysStartsTask,
        *,
        region_id: str | None = None,
        params: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        on_update: OnUpdate | None = None,
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
    ) -> Task | None: ...

    async def run(
        self,
        operation: str,
        *,
        region_id: str | None = None,
        params: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        on_update: OnUpdate | None = None,
    ) -> Task | None:
        """Start a task, e.g. ``ImportImage``, and wait for it.

        Starting is not idempotent: it is repeated only if it surely did not happen, or if the operation takes a
        ``ClientToken``, which is added here. If an error leaves open whether the operation started, it says so, and
        which token to use to find out.

        Args:
            operation: The operation's name. It must be one that starts a task.
            region_id: The region; ``ALIBABA_CLOUD_REGION_ID`` by default.
            params: The operation's parameters; lists and maps are flattened as the service wants them.
            timeout: Seconds that start and task may take together; None is no limit.
            on_update: Called with the task at first sight and at every change of its status.

        Returns:
            The finished task. None in two cases: ``ModifyDiskSpec`` was done at once, so that there is nothing to wait
            for; or `params` asked for a dry run (``DryRun``), and the service reported that the request would succeed.

        Raises:
            WaitTimeoutError: The deadline passed; no ID is pending if the start was not answered yet.
            WaiterClosedError: The waiter was closed meanwhile.
            ServiceUnavailableError: No good answer came, or one that does not say which task was started.
            ApiError: The service refused.
            TaskError: The task failed, was canceled or is unknown.
            TypeError: An argument is of the wrong type.
            ValueError: An argument is invalid, or the operation is not known to start a task.
        """
        checked_callback(on_update)  # before anything is started
        seconds = checked_timeout(timeout)
        self._check_open()
        if params is not None and not isinstance(params, Mapping):
            raise TypeError(f"params takes a mapping of the operation's parameters, not {type(params).__name__}")
        start = Start(operation, region_of_call(region_id, params or {}), params or {})
        region = start.region_id
        self._poller(region)  # its calls count in `stats` from the start on
        deadline = _deadline(seconds)
        try:
            task_id = start.task_id(await self._start(start, deadline, seconds))
        except ApiError as error:
            if not start.passed_dry_run(error):
                raise
            _log.info(start.would_succeed)
            return None
        if task_id is None:
            _log.info(start.done_at_once)
            return None
        left = None if deadline is None else max(0.0, deadline - asyncio.get_running_loop().time())
        try:
            done = await self.wait([task_id], region_id=region, timeout=left, on_update=on_update)
        except BaseException as error:
            # Without the ID a caller could only search for the task, or start it twice.
            if task_id not in str(error):
                error.add_note(f"{operation} was started in {region} as task {task_id}")
            raise
        return done[task_id]

    # -- inside -------------------------------------------------------------------------------------------------------

    async def _start(self, start: Start, deadline: float | None, timeout: float | None) -> dict[str, Any]:
        attempts = Attempts()
        call = self._client.recorded_call(start.operation, start.region_id, start.params, attempts)
        attempt = asyncio.get_running_loop().create_task(call)
        self._starts.add(attempt)
        unanswered = f"{start.operation} in {start.region_id} was not answered"
        try:
            async with asyncio.timeout_at(deadline) as limit:
                return await attempt
        except asyncio.CancelledError as error:
            caller = asyncio.current_task()
            if not self._is_closed or (caller is not None and caller.cancelling()):
                # It shows below the TimeoutError of a caller's own deadline.
                error.add_note(f"{unanswered} before it was canceled: {start.cut_off(attempts)}")
                raise
            raise WaiterClosedError(
                f"the TaskWaiter was closed; {unanswered} before: {start.cut_off(attempts)}"
            ) from None
        except TimeoutError:
            if not limit.expired():
                raise
            if attempt.done() and not attempt.cancelled() and attempt.exception() is None:
                # It was answered in the very iteration of the loop in which the deadline passed.
                return attempt.result()
            faults = {} if attempts.fault is None else {start.region_id: attempts.fault}
            raise WaitTimeoutError(
                f"{unanswered} within {timeout:g} s: {start.cut_off(attempts)}", faults=faults
            ) from None
        finally:
            self._starts.discard(attempt)

    async def _events(self, wait: Wait, timeout: float | None, deadline: float | None) -> AsyncGenerator[Any, None]:
        await wait.read()
        with self._observed(wait), self._taking_part(wait, deadline):
            await self._join(wait)
            while True:
                while (event := await wait.next()) is not None:
                    yield event
                if not await self._tell_known_failures(wait):
                    break
            await self._conclude(wait, timeout)

    async def _updates(self, wait: Wait, timeout: float | None, deadline: float | None) -> AsyncGenerator[Task, None]:
        async with aclosing(self._events(wait, timeout, deadline)) as events:
            async for event in events:
                yield cast("Task", event)
        if (failure := wait.failure(shown=(TaskFailedError, TaskCanceledError))) is not None:
            raise failure

    def _check_open(self) -> None:
        if self._is_closed:
            raise WaiterClosedError("this TaskWaiter is closed: make another one")
        loop = running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise RuntimeError("this TaskWaiter belongs to another event loop: make one for this loop")

    def _poller(self, region_id: str) -> RegionPoller:
        poller = self._pollers.get(region_id)
        if poller is None:
            poller = self._pollers[region_id] = RegionPoller(
                region_id, self._client, self._policy, self._unknown_statuses, self._telemetry
            )
            self._client.limiter(region_id)
            for idle, forgotten in forget_idle(self._pollers, lambda _, each: each.is_idle):
                counters = self._client.counters(idle)
                counters.polls += forgotten.polls
                counters.settled += forgotten.settled
                counters.retried += forgotten.retried
        return poller

    def _is_used(self, region_id: str) -> bool:
        poller = self._pollers.get(region_id)
        return poller is not None and not poller.is_idle

    def _observed(self, wait: Wait) -> AbstractContextManager[None]:
        return nullcontext() if self._telemetry is None else self._telemetry.waiting(wait)

    @contextmanager
    def _taking_part(self, wait: Wait, deadline: float | None) -> Iterator[None]:
        """Have a wait take part until the block ends, however it ends: its own interest stops, and no one else's."""
        if deadline is not None:
            # Reading the IDs may have taken longer than the deadline, which is not a gap.
            now = asyncio.get_running_loop().time()
            self._expire_at(max(deadline + (self._policy.call_timeout if wait.single_poll else 0.0), now), wait)
        self._waits.add(wait)
        if self._is_closed:
            wait.close()
        try:
            yield
        finally:
            self._waits.discard(wait)
            if wait.timer is not None:
                wait.timer.cancel()
            # On a closed loop nobody is left to notify.
            if self._loop is None or not self._loop.is_closed():
                self._leave(wait)

    def _expire_at(self, when: float, wait: Wait) -> None:
        wait.timer = asyncio.get_running_loop().call_at(when, self._expire, when, wait)

    def _expire(self, deadline: float, wait: Wait) -> None:
        """Its deadline ends a wait then and there, whether or not anybody takes its news off.

        If the loop did not run when the deadline passed, the wait has one last look.
        """
        now = asyncio.get_running_loop().time()
        if now - deadline > _LATE and not wait.single_poll and not self._is_closed:
            wait.poll_once_more()
            self._expire_at(now + self._policy.call_timeout, wait)
            wait.unpolled = 1
            do_in_slices(wait.asked(), partial(self._look_at, wait), partial(self._polled, wait))
            return
        self._end_at_deadline(wait)

    def _end_at_deadline(self, wait: Wait) -> None:
        def expire() -> None:
            wait.expire()
            self._leave(wait)

        do_in_slices(self._known_failures(wait), partial(self._tell_failures, wait), expire)

    def _leave(self, wait: Wait) -> None:
        """End a wait's interest in its tasks; at its deadline, note what is known of those that are pending."""
        if wait.is_leaving:
            return
        wait.is_leaving = True
        if wait.is_expired:
            faults = ((region_id, self._poller(region_id).fault_at_deadline()) for region_id in wait.targets.regions)
            wait.faults = {region_id: fault for region_id, fault in faults if fault and wait.is_pending_in(region_id)}

        if not wait.keeps and self._waits <= {wait} and not self._futures:
            # A million are not let go one by one where nobody else waits.
            for poller in self._pollers.values():
                poller.forget()
            wait.left.set()
            return

        def let_go(asked: list[tuple[str, str]]) -> None:
            for region_id, task_id in asked:
                if task_id in wait.outcomes:
                    continue
                poller = self._poller(region_id)
                if wait.is_expired and wait.keeps:
                    wait.last[task_id] = poller.last_known(task_id)
                    wait.unasked += not poller.is_asked(task_id)
                poller.discard(task_id, wait)

        do_in_slices(wait.asked() if wait.pending else (), let_go, wait.left.set)

    async def _conclude(self, wait: Wait, timeout: float | None) -> None:
        """Take no more outcomes; raise if the wait ended before its tasks did."""
        await wait.put_in_order()
        if wait.pending:
            self._leave(wait)
            if wait.keeps:
                await wait.left.wait()
        if (error := wait.ended_early(timeout)) is not None:
            raise error

    def _look_at(self, wait: Wait, asked: list[tuple[str, str]]) -> None:
        """Poll those tasks of a wait that are pending now, for their last look."""
        if wait.is_leaving or self._is_closed:
            return
        by_region: defaultdict[str, list[str]] = defaultdict(list)
        for region_id, task_id in asked:
            if task_id not in wait.outcomes:
                by_region[region_id].append(task_id)
        for region_id, task_ids in by_region.items():
            self._poll_once(region_id, task_ids, wait)

    def _poll_once(self, region_id: str, task_ids: list[str], wait: Wait) -> None:
        wait.unpolled += 1
        polled = self._poller(region_id).poll_once(task_ids, wait)
        polled.add_done_callback(lambda _: self._polled(wait))

    def _polled(self, wait: Wait) -> None:
        """End a wait once each of its tasks had its single poll."""
        wait.unpolled -= 1
        if not wait.unpolled and not wait.is_leaving and not self._is_closed:
            self._end_at_deadline(wait)

    async def _join(self, wait: Wait) -> None:
        """Put the tasks on the schedules."""
        wait.unpolled = 1
        for region_id, task_ids in wait.targets.regions.items():
            async for piece in in_slices(task_ids):
                if self._is_closed or wait.is_expired:
                    return
                self._poller(region_id).add(piece, wait)
                if wait.single_poll:
                    self._poll_once(region_id, piece, wait)
        if wait.single_poll:
            self._polled(wait)

    async def _tell_known_failures(self, wait: Wait) -> bool:
        """At its end a wait is told of the failures whose reasons are still being looked up; whether there were any."""
        told = False
        async for failures in in_slices(self._known_failures(wait)):
            self._tell_failures(wait, failures)
            told = True
        return told

    def _known_failures(self, wait: Wait) -> Iterator[tuple[RegionPoller, Task]]:
        if wait.pending:
            for region_id, task_ids in wait.targets.regions.items():
                poller = self._poller(region_id)
                for task in poller.known_failures(task_ids, wait):
                    yield poller, task

    def _tell_failures(self, wait: Wait, failures: list[tuple[RegionPoller, Task]]) -> None:
        for poller, task in failures:
            poller.discard(task.task_id, wait)
            wait.task_failed(task.task_id, TaskFailedError(task), is_regional=False)


_shared_waiters: Sharing[TaskWaiter] = Sharing()


def _shared_waiter(
    credentials: CredentialsProvider | None,
    endpoint: str | None,
    policy: PollPolicy | None,
    session: aiohttp.ClientSession | None,
    *,
    trust_env: bool,
) -> AbstractAsyncContextManager[TaskWaiter]:
    provider = check_provider(credentials, trust_env=trust_env, session=session)
    base = resolve_endpoint(endpoint)
    checked = checked_policy(policy)
    key = (identity(provider), base, policy_key(checked), identity(session), check_trust_env(trust_env, session))
    return _shared_waiters.use(key, lambda: TaskWaiter(provider, base, checked, session, trust_env=trust_env))


@overload
async def wait_for_tasks(
    task_ids: TaskIds,
    *,
    region_id: str | None = None,
    timeout: float | None = None,
    return_exceptions: Literal[False] = False,
    on_update: OnUpdate | None = None,
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
        timeout: Seconds that all of it may take; 0 is one look; None is no limit.
        return_exceptions: Return errors as results instead of raising.
        on_update: Called with each task at first sight and at every change of its status.
        fail_fast: Raise at the first failure instead of waiting for all.
        credentials: A credentials provider; the official default chain if None.
        endpoint: One base URL for every region; ``ECS_WAITER_ENDPOINT`` or the service's own if None.
        policy: When to look and how much trouble to bear.
        session: Your own aiohttp session, never closed here. Keep it open until the wait has ended.
        trust_env: Whether to use the proxies of the environment (``HTTPS_PROXY``, ``NO_PROXY``). Not with `session`.

    Raises:
        TaskError: Only one task was asked, and it failed, was canceled or is unknown.
        TasksFailedError: Several were asked and some failed.
        AuthenticationError: The credentials were refused, or there are none.
        ApiError: The region refused, or failed for the whole outage budget (`ServiceUnavailableError`).
        WaitTimeoutError: The deadline passed.
        WaiterClosedError: `session` was closed meanwhile.
        TypeError: An argument is of the wrong type.
        ValueError: An argument makes no sense.
    """
    async with _shared_waiter(credentials, endpoint, policy, session, trust_env=trust_env) as waiter:
        return await waiter.wait(
            task_ids,
            region_id=region_id,
            timeout=timeout,
            return_exceptions=return_exceptions,
            on_update=on_update,
            fail_fast=fail_fast,
        )


async def wait_for_task(  # noqa: PLR0913 - the public API
    task_id: str,
    *,
    region_id: str | None = None,
    timeout: float | None = None,
    on_update: OnUpdate | None = None,
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
        TaskNotFoundError: The region has no such task.
        AuthenticationError: The credentials were refused, or there are none.
        ApiError: The region refused, or failed for the whole outage budget (`ServiceUnavailableError`).
        WaitTimeoutError: The deadline passed.
        TypeError: An argument is of the wrong type.
        ValueError: An argument makes no sense.
    """
    results = await wait_for_tasks(
        [check_task_id(task_id)],
        region_id=region_id,
        timeout=timeout,
        on_update=on_update,
        fail_fast=fail_fast,
        credentials=credentials,
        endpoint=endpoint,
        policy=policy,
        session=session,
        trust_env=trust_env,
    )
    return results[task_id]


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else asyncio.get_running_loop().time() + timeout


async def _to_the_end(task: asyncio.Task[None]) -> None:
    """Await a task that must end even if its awaiter is canceled; the cancellation is passed on afterwards."""
    if (canceled := await finished(task)) is not None:
        raise canceled
    task.result()
