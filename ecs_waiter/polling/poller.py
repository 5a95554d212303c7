"""RegionPoller: polls one region's tasks while anybody waits for them; the async shell around PollSchedule."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import math
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

from ecs_waiter.api.limiter import Priority
from ecs_waiter.api.retry import backoff
from ecs_waiter.errors import (
    ApiError,
    AuthenticationError,
    EcsWaiterError,
    ServiceUnavailableError,
    TaskNotFoundError,
    ThrottledError,
)
from ecs_waiter.polling.failure_details import FailureDetails
from ecs_waiter.polling.learning import DurationLearner
from ecs_waiter.polling.notifier import Notifier
from ecs_waiter.polling.outage import TICK
from ecs_waiter.polling.region_errors import RegionErrors
from ecs_waiter.polling.schedule import PollSchedule
from ecs_waiter.polling.single_polls import SinglePolls
from ecs_waiter.polling.subscribers import notify_failed, subscribers_of
from ecs_waiter.running_clock import GAP, RunningClock

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from ecs_waiter.api.client import EcsClient
    from ecs_waiter.api.limiter import RegionLimiter
    from ecs_waiter.api.tasks import PollAnswer
    from ecs_waiter.models import Task
    from ecs_waiter.polling.batch import Batch
    from ecs_waiter.polling.isolation import Decision
    from ecs_waiter.polling.notifier import UnknownStatuses
    from ecs_waiter.polling.policy import PollPolicy
    from ecs_waiter.polling.subscribers import Observer, Subscriber

__all__ = ["RegionPoller"]

_log = logging.getLogger("ecs_waiter.polling")

_SLOW_CALL = 5.0
"""Seconds after which a call under way is given as the reason of a timeout, if the region has answered before."""


class RegionPoller:
    """Polls one region's tasks, and notifies their subscribers.

    Attributes:
        polls: Polls that were sent.
        retried: Polls that had a transient fault and were retried.
        details: The tasks that are known to have failed, and whose details are being looked up.
        learner: What is known about the time left of tasks.
        find: Returns the entry of an ID; None if nobody waits for it.
        on_polled: Called with the region after each poll.
    """

    def __init__(
        self,
        region_id: str,
        client: EcsClient,
        policy: PollPolicy,
        unknown_statuses: UnknownStatuses,
        observer: Observer | None = None,
    ) -> None:
        self._region_id = region_id
        self._client = client
        self._policy = policy
        self._observer = observer
        self.on_polled: Callable[[str], None] = lambda _region_id: None
        self._clock = RunningClock()
        self.learner = DurationLearner(region_id, client, policy, self._spawn, self._clock)
        self._schedule = PollSchedule(policy, backoff, self.learner.pause)
        self.find = self._schedule.find
        self.details = FailureDetails(region_id, client, self._spawn, self._clock, observer)
        self._notifier = Notifier(region_id, self.details, self._clock, unknown_statuses, observer)
        self._single_polls = SinglePolls()
        self._errors = RegionErrors(region_id, policy.outage_budget)
        self._tried_at = -math.inf
        self._tasks: set[asyncio.Task[None]] = set()
        self._runner: asyncio.Task[None] | None = None
        self._alarm: asyncio.Future[None] | None = None
        self._region_failures = 0
        self._has_answered = self._is_closed = False
        self.polls = self.retried = 0

    def __repr__(self) -> str:
        return f"RegionPoller({self._region_id!r}, {self._schedule!r})"

    @property
    def _limiter(self) -> RegionLimiter:
        # Asked for each time, because the client forgets that of an idle region.
        return self._client.limiter(self._region_id)

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits and nothing is under way, so that a new poller would do as well."""
        return not self.waiting and not self._tasks

    @property
    def waiting(self) -> int:
        """IDs that are waited for."""
        return len(self._schedule) + len(self.details)

    @property
    def settled(self) -> int:
        """Tasks that have ended."""
        return self._notifier.ended

    @property
    def fault(self) -> ApiError | None:
        """The last fault, if no good answer has come since."""
        return None if self._schedule.outage_ends == math.inf else self._errors.last_fault

    def fault_at_deadline(self) -> ApiError | None:
        """Why the region does not answer: the last fault, or a call that has been under way for long."""
        if self.fault is not None or not self._schedule.calls:
            return self.fault
        seconds = self._clock.time() - self._schedule.calls.oldest()
        if self._has_answered and seconds < _SLOW_CALL:
            return None
        return ServiceUnavailableError(None, f"no answer for {seconds:.3g} s so far", region_id=self._region_id)

    def next_poll(self, now: float) -> float | None:
        """Seconds until the next poll is due; None if none is planned."""
        due = self._schedule.wake_at() if self._schedule else math.inf
        return None if due == math.inf else max(self._clock.on_loop(due), self._limiter.next_at, now) - now

    # -- subscribers --------------------------------------------------------------------------------------------------

    def add(self, task_ids: Iterable[str], subscriber: Subscriber, *, is_started: bool = False) -> None:
        """Notify a subscriber about tasks, which may have been started right now.

        If it joins late, the next answer reports their present state.
        """
        if self.details:
            task_ids = [task_id for task_id in task_ids if not self.details.join(task_id, subscriber)]
        entries = self._schedule.add(task_ids, self._clock.time(), is_started=is_started)
        for entry in self._notifier.attach(entries, subscriber):
            self._schedule.renotify(entry)
        self._ensure_running()

    def poll_once(self, task_ids: Iterable[str], subscriber: Subscriber) -> asyncio.Future[None]:
        """Poll tasks as soon as possible. The future resolves when each was polled, or has ended."""
        entries = [entry for task_id in task_ids if (entry := self._schedule.find(task_id)) is not None]
        for entry in entries:
            self._schedule.poll_now(entry)
        self._ensure_running()
        return self._single_polls.add([entry.task_id for entry in entries], subscriber)

    def discard(self, task_id: str, subscriber: Subscriber) -> None:
        """Stop notifying a subscriber; with the last one the ID leaves the schedule."""
        self.details.discard(task_id, subscriber)
        entry = self._schedule.find(task_id)
        if entry is not None and self._notifier.detach(entry, subscriber):
            self._schedule.remove(entry)
            self._single_polls.end(task_id)
            if not self._schedule:
                self._wake()

    def forget(self) -> None:
        """Take every ID off the schedule at once: nobody waits any more."""
        self._schedule.clear()
        self._notifier.forget()
        self.details.forget()
        self._single_polls.end_all()
        self._wake()

    def last_known(self, task_id: str) -> Task | None:
        """Return a task that is waited for as it was last seen; None if it never was."""
        return None if (entry := self.find(task_id)) is None else self._notifier.last_known(entry)

    def is_asked(self, task_id: str) -> bool:
        """Whether a call has asked for a task that is waited for, or is under way."""
        entry = self._schedule.find(task_id)
        return entry is None or entry.batch is None or entry.batch.was_asked

    def close(self) -> Iterable[asyncio.Task[None]]:
        """Stop; returns the tasks of the loop that have yet to end."""
        self._is_closed = True
        # Before anything is awaited: waits that begin while this closes count the calls that were made.
        self._limiter.retire()
        for task in self._tasks:
            task.cancel()
        return tuple(task for task in self._tasks if not task.done())

    # -- the loop -----------------------------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        # Don't inherit the first caller's context variables. Task factories need not know `create_task(context=)`.
        try:
            task = contextvars.Context().run(asyncio.get_running_loop().create_task, work)
        except BaseException:
            work.close()
            raise
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)
        return task

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task is self._runner:
            self._runner = None
        if task.cancelled():
            # A cancellation by other code, such as one that a credentials provider let out, is an error.
            error: BaseException | None = None if self._is_closed else asyncio.CancelledError()
        else:
            error = task.exception()
        if error is not None:
            self._die(error)

    def _wake(self) -> None:
        if self._alarm is not None and not self._alarm.done():
            self._alarm.set_result(None)

    async def _sleep_until(self, when: float) -> None:
        self._alarm = asyncio.get_running_loop().create_future()
        timer = self._clock.call_at(when, self._wake) if when < math.inf else None
        try:
            await self._alarm
        finally:
            self._alarm = None
            if timer is not None:
                timer.cancel()
        # IDs that come in the same iteration of the loop share the call.
        await asyncio.sleep(0)

    def _ensure_running(self) -> None:
        if self._is_closed or not self._schedule:
            return
        if self._runner is None:
            self._runner = self._spawn(self._run())
        else:
            self._wake()

    async def _run(self) -> None:
        """Take each batch that is due, and poll it in a task of its own."""
        # IDs that come in the same iteration of the loop, or by a task started in it, share the call.
        await asyncio.sleep(0)
        while not self._is_closed and (batch := await self._next_batch()) is not None:
            # Not in the coroutine, which does not run at all if its task is canceled at once.
            end = functools.partial(self._on_poll_done, batch, self._single_polls.begin(batch))
            try:
                self._spawn(self._poll(batch, asyncio.get_running_loop().time())).add_done_callback(end)
            except BaseException:
                end(None)
                raise
            del batch, end  # while nothing is due, nothing is held
        self._runner = None

    async def _next_batch(self) -> Batch | None:
        """Wait for the next call: pass the limiter first and compose then, so that no batch gets old in its queue."""
        schedule = self._schedule
        while schedule:
            now = self._clock.time()
            given_up_at = self._given_up_at()
            if given_up_at <= now + TICK:
                self._fail_region(self._errors.outage())
                continue
            wake_at = min(schedule.wake_at(), given_up_at)
            # The timer of a sleep shows a gap in which the loop did not run, but late for a budget.
            with nullcontext() if wake_at > now + TICK and schedule.outage_ends == math.inf else self._clock.watching():
                if wake_at > now + TICK:
                    await self._sleep_until(wake_at)
                    continue
                may_call = await self._pass_limiter(given_up_at)
            if may_call:
                batch = schedule.take(self._clock.time())
                if batch is not None:
                    return batch
                self._limiter.give_back(Priority.POLL)
        return None

    def _given_up_at(self) -> float:
        """When the region is given up; infinite while it answers, or while a call is under way that will decide."""
        ends = self._schedule.outage_ends
        if ends == math.inf or self._schedule.calls:
            return math.inf
        if self._tried_at < self._clock.gap_ended_at:
            # The region is tried once more after each gap in which the loop did not run.
            return max(ends, self._clock.gap_ended_at) + self._policy.call_timeout
        # The budget ends with a last try, which may have to wait for its turn but not for what the service asked.
        return ends if self._clock.at(self._limiter.blocked_until) > ends else ends + self._policy.call_timeout

    async def _pass_limiter(self, given_up_at: float) -> bool:
        limit = None if given_up_at == math.inf else self._clock.on_loop(given_up_at)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(limit):
                await self._limiter.acquire(Priority.POLL)
            return True
        return False

    async def _poll(self, batch: Batch, granted_at: float) -> None:
        """Make one call and apply what comes of it."""
        if asyncio.get_running_loop().time() - granted_at > GAP:
            # The loop was stopped since, and the limiter counts the call to the time before.
            await self._limiter.pace(Priority.POLL)
        self._tried_at, failures_before = batch.asked_at, self._region_failures
        self.polls += 1
        try:
            try:
                with self._clock.watching():
                    answer = await self._client.poll(self._region_id, batch.task_ids)
            finally:
                if self._observer is not None:
                    self._observer.served(one for entry in batch.entries for one in subscribers_of(entry))
            self._apply(batch, answer, self._clock.time())
        except ApiError as error:
            if self._region_failures > failures_before:
                # The region failed meanwhile: this says nothing about IDs that came since.
                self._schedule.ask_again(batch, self._clock.time())
            else:
                self._apply_fault(batch, error, self._clock.time())
        except EcsWaiterError as error:
            self._fail_region(error)

    def _on_poll_done(self, batch: Batch, single_polls: SinglePolls, _task: object) -> None:
        try:
            self._limiter.release(Priority.POLL)
            self._schedule.end_call(batch, self._clock.time())
            self._end_single_polls(batch, single_polls)
            self.on_polled(self._region_id)
        except Exception as error:  # noqa: BLE001 - the loop would only log it
            self._die(error)
        self._wake()

    # -- what a call brings -------------------------------------------------------------------------------------------

    def _apply(self, batch: Batch, answer: PollAnswer, now: float) -> None:
        self._has_answered = True
        self._notifier.service_clock = answer.date
        self._errors.log_answer()
        result = self._schedule.answer(batch, answer, now)
        try:
            finished = self._notifier.changed((one, answer.task(one.task_id), is_new) for one, is_new in result.changes)
            self.learner.learn(result.changes, finished, answer, result.last_answer)
            for entry in result.gone:
                self._notifier.gone(entry)
            for entry in result.unlisted:
                self._notifier.error(entry, self._errors.unlisted(entry.task_id))
        except Exception as error:
            # `_die` does not reach these: the schedule has forgotten them already.
            self.details.give_up()
            for entry in [*(entry for entry, _ in result.changes), *result.gone, *result.unlisted]:
                if entry.task_id not in self._schedule:
                    notify_failed(subscribers_of(entry), entry.task_id, self._errors.died(error))
            raise
        if result.error is not None:
            self._fail_region(self._errors.strategy_failed(result.error))

    def _apply_fault(self, batch: Batch, error: ApiError, now: float) -> None:
        self._errors.last_fault = error
        if isinstance(error, AuthenticationError):
            self._fail_region(error)
            return
        if isinstance(error, ThrottledError):
            self.retried += 1
            self._schedule.throttled(batch, now)
        elif isinstance(error, ServiceUnavailableError):
            self.retried += 1
            decision = self._schedule.fault(batch, now=now, retry_after=error.retry_after)
            if decision.culprit is not None:
                self._notifier.error(decision.culprit, self._errors.culprit(decision.culprit.task_id))
        else:
            self._apply_rejection(self._schedule.rejected(batch, error, now), error)
        if self._schedule.is_spent(now) and batch.asked_at >= self._clock.gap_ended_at:
            self._fail_region(self._errors.outage())
        else:
            self._errors.log_fault(self._schedule.outage_ends - self._policy.outage_budget, now)

    def _apply_rejection(self, decision: Decision, error: ApiError) -> None:
        if decision.culprit is not None:
            self._notifier.error(decision.culprit, error)
        for entry in decision.gone:
            self._notifier.gone(entry)
        if decision.is_regional:
            self._fail_region(error)
        if decision.error is not None:
            self._fail_region(self._errors.strategy_failed(decision.error))

    def _end_single_polls(self, batch: Batch, single_polls: SinglePolls) -> None:
        """Resolve the single polls of a call."""
        for entry in batch.entries if single_polls else ():
            is_waiting = self._schedule.find(entry.task_id) is entry
            if is_waiting and self._schedule.is_isolating(entry):
                # A rejected batch is asked again in parts, whose answers count.
                self._single_polls.put_back(entry.task_id, single_polls)
                continue
            # Without a grace, one complete answer that lacks the ID is all there is to wait for.
            if is_waiting and not self._policy.not_found_grace and entry.absence and entry.absence.is_certain:
                error = TaskNotFoundError(entry.task_id, self._region_id, self._notifier.last_known(entry))
                for subscriber in single_polls.subscribers(entry.task_id):
                    if subscriber in subscribers_of(entry):
                        self.discard(entry.task_id, subscriber)
                        subscriber.task_failed(entry.task_id, error, is_regional=False, task=None)
            single_polls.end(entry.task_id)
        single_polls.end_all()

    # -- the end of a region's waits ----------------------------------------------------------------------------------

    def _fail_region(self, error: EcsWaiterError) -> None:
        """End all waits of the region with one error."""
        self._region_failures += 1
        self._errors.end_outage()
        self._notifier.all_failed(self._schedule.clear(), error)
        self._single_polls.end_all()

    def _die(self, cause: BaseException) -> None:
        """Should our own code raise, every wait of the region gets that exception, and nobody hangs."""
        _log.error("polling %s ended by %s", self._region_id, type(cause).__name__)
        self.details.give_up()
        self._fail_region(self._errors.died(cause))
