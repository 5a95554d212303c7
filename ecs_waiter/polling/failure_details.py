"""FailureDetails: why a task failed, looked up once per task and never at the expense of the polls."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from ecs_waiter.api.limiter import Priority
from ecs_waiter.errors import TaskFailedError
from ecs_waiter.polling.outage import TICK
from ecs_waiter.polling.subscribers import notify_failed
from ecs_waiter.slices import in_slices

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence

    from ecs_waiter.api.client import EcsClient
    from ecs_waiter.models import Task, TaskDetail
    from ecs_waiter.polling.subscribers import Observer, Subscriber
    from ecs_waiter.running_clock import RunningClock

__all__ = ["FailureDetails"]

_LONGEST = 30.0
"""Seconds that a failure is held back at most while its details are looked up."""

_AT_ONCE = 4
"""Look-ups of a region under way at the same time; the limiter decides how many of them may be calls."""

logger = logging.getLogger("ecs_waiter.polling")


class _Failure:
    """A failed task, the subscribers that wait for its details, and until when they do."""

    __slots__ = ("subscribers", "task", "until")

    def __init__(self, task: Task, subscribers: Iterable[Subscriber], until: float) -> None:
        self.task = task
        self.subscribers = dict.fromkeys(subscribers)
        self.until = until


class FailureDetails:
    """The failed tasks of one region whose details are being looked up, oldest first.

    Args:
        region_id: The region.
        client: Makes the calls.
        spawn: Starts a coroutine as a task that its owner keeps and ends.
        clock: Times the look-ups.
        observer: Gets each look-up.
    """

    def __init__(
        self,
        region_id: str,
        client: EcsClient,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        clock: RunningClock,
        observer: Observer | None = None,
    ) -> None:
        self._region_id = region_id
        self._client = client
        self._spawn = spawn
        self._clock = clock
        self._observer = observer
        self._failures: dict[str, _Failure] = {}
        self._queue: deque[_Failure] = deque()
        self._workers = 0

    def __len__(self) -> int:
        return len(self._failures)

    def add(self, task: Task, subscribers: Iterable[Subscriber]) -> None:
        """Report a failure: at once to subscribers that need no details, to the others with them."""
        waiting = [subscriber for subscriber in subscribers if subscriber.needs_detail]
        _report(task, [subscriber for subscriber in subscribers if not subscriber.needs_detail])
        if not waiting:
            return
        until = self._clock.time() + _LONGEST
        failure = self._failures[task.task_id] = _Failure(task, waiting, until)
        self._queue.append(failure)
        if self._workers < _AT_ONCE:
            # Counted after it started: a task that cannot be made would take a worker's place forever.
            self._spawn(self._work())
            self._workers += 1

    def join(self, task_id: str, subscriber: Subscriber) -> bool:
        """Add a subscriber to a task that is known to have failed; False if it is not."""
        failure = self._failures.get(task_id)
        if failure is None:
            return False
        if subscriber.wants_changes:
            subscriber.task_changed(failure.task)
        if subscriber.needs_detail:
            failure.subscribers[subscriber] = None
        else:
            _report(failure.task, [subscriber])
        return True

    def discard(self, task_id: str, subscriber: Subscriber) -> None:
        """Remove a subscriber; without any the look-up is not made."""
        failure = self._failures.get(task_id)
        if failure is not None:
            failure.subscribers.pop(subscriber, None)
            if not failure.subscribers:
                del self._failures[task_id]

    def known_failures(self, task_ids: Sequence[str], subscriber: Subscriber) -> Iterator[Task]:
        """Yield a subscriber's tasks that have failed and whose details are being looked up.

        Meanwhile they may be reported, and subscribers may leave.
        """
        if len(task_ids) > len(self._failures):
            known: Iterable[_Failure | None] = tuple(self._failures.values())
        else:
            known = map(self._failures.get, task_ids)
        for failure in known:
            if failure is not None and subscriber in failure.subscribers:
                yield failure.task

    def give_up(self) -> None:
        """Report every failure without details: the latest now, and large numbers in slices."""
        self._queue.clear()
        in_slices(reversed(tuple(self._failures.values())), self._settle_all)

    async def aclose(self) -> None:
        """Report every failure without details."""
        self._queue.clear()
        await in_slices(tuple(self._failures.values()), self._settle_all)

    def _settle_all(self, failures: list[_Failure]) -> None:
        for failure in failures:
            self._settle(failure, None)

    def forget(self) -> None:
        """Forget all failures."""
        for failure in self._failures.values():
            failure.subscribers = {}
        self._failures = {}

    async def _work(self) -> None:
        try:
            while self._queue:
                failure = self._queue.popleft()
                if failure.subscribers:
                    self._settle(failure, await self._look_up(failure))
        finally:
            self._workers -= 1

    async def _look_up(self, failure: _Failure) -> TaskDetail | None:
        with self._clock.watching():
            while (left := failure.until - self._clock.time()) > TICK:
                try:
                    async with asyncio.timeout(left) as limit:
                        return await self._described(failure)
                except Exception as error:  # noqa: BLE001 - the failure is known, with or without details
                    if not limit.expired():
                        logger.debug("no details of a failed task in %s: %s", self._region_id, type(error).__name__)
                        return None
                    # Once more, if the time passed while the loop did not run.
        return None

    async def _described(self, failure: _Failure) -> TaskDetail:
        try:
            return await self._client.describe_task_attribute(
                failure.task.task_id, region_id=self._region_id, priority=Priority.LOOKUP
            )
        finally:
            if self._observer is not None:
                self._observer.served(failure.subscribers)

    def _settle(self, failure: _Failure, detail: TaskDetail | None) -> None:
        if self._failures.get(failure.task.task_id) is failure:
            del self._failures[failure.task.task_id]
        _report(failure.task, failure.subscribers, detail)
        failure.subscribers = {}


def _report(task: Task, subscribers: Iterable[Subscriber], detail: TaskDetail | None = None) -> None:
    # A copy, because subscribers may leave while they are notified.
    if subscribers := tuple(subscribers):
        notify_failed(subscribers, task.task_id, TaskFailedError(task, detail))
