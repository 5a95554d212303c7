"""Reasons: why a task failed, looked up once per task and never at the expense of the polls."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from ecs_waiter.api.limiter import Priority
from ecs_waiter.errors import TaskFailedError
from ecs_waiter.polling.outage import TICK
from ecs_waiter.polling.subscribers import Copies, Subscriber
from ecs_waiter.slices import do_in_slices, in_slices

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence

    from ecs_waiter.models import Task, TaskDetail
    from ecs_waiter.polling.observer import Observer
    from ecs_waiter.polling.source import TaskSource
    from ecs_waiter.running_clock import RunningClock

__all__ = ["REASON_WITHIN", "Reasons"]

REASON_WITHIN = 30.0
"""Seconds that a failure is held back at most while its reason is looked up."""

_AT_ONCE = 4
"""Look-ups of a region under way at the same time; the limiter decides how many of them may be calls."""

logger = logging.getLogger("ecs_waiter.polling")


class Failure:
    """A task that is known to have failed, and who waits to be told why."""

    __slots__ = ("subscribers", "task", "until")

    def __init__(self, task: Task, subscribers: Iterable[Subscriber], until: float) -> None:
        self.task = task
        self.subscribers = dict.fromkeys(subscribers)
        self.until = until


class Reasons:
    """The failures of one region whose reasons are being looked up, oldest first.

    Args:
        region_id: The region.
        source: Who is asked.
        spawn: Starts a coroutine as a task that its owner keeps and ends.
        clock: Times the look-ups.
        observer: Told of each look-up.
    """

    def __init__(
        self,
        region_id: str,
        source: TaskSource,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        clock: RunningClock,
        observer: Observer | None = None,
    ) -> None:
        self._region_id = region_id
        self._source = source
        self._spawn = spawn
        self._clock = clock
        self._observer = observer
        self._failures: dict[str, Failure] = {}
        self._queue: deque[Failure] = deque()
        self._workers = 0

    def __len__(self) -> int:
        return len(self._failures)

    def add(self, task: Task, subscribers: Iterable[Subscriber]) -> None:
        """Tell these of a failure: at once those who need no reason, the others with it."""
        waiting = [subscriber for subscriber in subscribers if subscriber.needs_detail]
        at_once = [subscriber for subscriber in subscribers if not subscriber.needs_detail]
        _tell(Failure(task, at_once, 0.0), None)
        if not waiting:
            return
        until = self._clock.time() + REASON_WITHIN
        failure = self._failures[task.task_id] = Failure(task, waiting, until)
        self._queue.append(failure)
        if self._workers < _AT_ONCE:
            # Counted once it is there: a task that cannot be made would take a worker's place for ever.
            self._spawn(self._work())
            self._workers += 1

    def join(self, task_id: str, subscriber: Subscriber) -> bool:
        """Have one more told of a failure that is known already; False if it is not."""
        failure = self._failures.get(task_id)
        if failure is None:
            return False
        if subscriber.wants_changes:
            subscriber.task_changed(failure.task)
        if subscriber.needs_detail:
            failure.subscribers[subscriber] = None
        else:
            _tell(Failure(failure.task, [subscriber], 0.0), None)
        return True

    def discard(self, task_id: str, subscriber: Subscriber) -> None:
        """A subscriber loses interest; without any the look-up is not made."""
        failure = self._failures.get(task_id)
        if failure is not None:
            failure.subscribers.pop(subscriber, None)
            if not failure.subscribers:
                del self._failures[task_id]

    def known_failures(self, task_ids: Sequence[str], subscriber: Subscriber) -> Iterator[Task]:
        """Those of a subscriber's tasks that have failed, while their reasons are being looked up.

        Meanwhile they may be reported, and subscribers may leave.
        """
        if len(task_ids) > len(self._failures):
            known: Iterable[Failure | None] = tuple(self._failures.values())
        else:
            known = map(self._failures.get, task_ids)
        for failure in known:
            if failure is not None and subscriber in failure.subscribers:
                yield failure.task

    def give_up(self) -> None:
        """Report every failure without its reason: the latest now, and large numbers in slices."""
        self._queue.clear()
        do_in_slices(reversed(tuple(self._failures.values())), self._settle_all)

    async def aclose(self) -> None:
        """Report every failure without its reason."""
        self._queue.clear()
        async for failures in in_slices(tuple(self._failures.values())):
            self._settle_all(failures)

    def _settle_all(self, failures: list[Failure]) -> None:
        for failure in failures:
            self._settle(failure, None)

    def forget(self) -> None:
        """Nobody waits for these any more."""
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

    async def _look_up(self, failure: Failure) -> TaskDetail | None:
        with self._clock.watching():
            while (left := failure.until - self._clock.time()) > TICK:
                try:
                    async with asyncio.timeout(left) as limit:
                        return await self._described(failure)
                except Exception as error:  # noqa: BLE001 - the failure itself is known, with or without its reason
                    if not limit.expired():
                        logger.debug("no reason for a failed task in %s: %s", self._region_id, type(error).__name__)
                        return None
                    # Once more, if the time has passed in a gap in which the loop did not run.
        return None

    async def _described(self, failure: Failure) -> TaskDetail:
        try:
            return await self._source.describe_task_attribute(
                self._region_id, failure.task.task_id, priority=Priority.LOOKUP
            )
        finally:
            if self._observer is not None:
                self._observer.served(failure.subscribers)

    def _settle(self, failure: Failure, detail: TaskDetail | None) -> None:
        if self._failures.get(failure.task.task_id) is failure:
            del self._failures[failure.task.task_id]
        _tell(failure, detail)
        failure.subscribers = {}


def _tell(failure: Failure, detail: TaskDetail | None) -> None:
    if not failure.subscribers:
        return
    copies = Copies(TaskFailedError(failure.task, detail))
    for subscriber in tuple(failure.subscribers):
        subscriber.task_failed(failure.task.task_id, copies.copy_for(subscriber), is_regional=False)
