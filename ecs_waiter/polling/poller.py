"""RegionPoller: the thin async shell around PollSchedule, one per region; it runs while it has IDs."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import math
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from ecs_waiter.api.answers import age_of
from ecs_waiter.api.limiter import Priority
from ecs_waiter.api.retry import wait_backoff
from ecs_waiter.api.service_errors import concerns_credentials
from ecs_waiter.errors import (
    ApiError,
    AuthenticationError,
    EcsWaiterError,
    ServiceUnavailableError,
    TaskNotFoundError,
    ThrottledError,
)
from ecs_waiter.polling.outage import TICK
from ecs_waiter.polling.policy import ask
from ecs_waiter.polling.reasons import Reasons
from ecs_waiter.polling.schedule import News, PollSchedule
from ecs_waiter.polling.subscribers import Copies, Subscriber, subscribers_of
from ecs_waiter.polling.telling import Teller
from ecs_waiter.running_clock import RunningClock

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Iterator, Sequence

    from ecs_waiter.api.answers import Snapshot
    from ecs_waiter.api.limiter import RegionLimiter
    from ecs_waiter.models import Task
    from ecs_waiter.polling.batch import Batch, Entry
    from ecs_waiter.polling.observer import Observer
    from ecs_waiter.polling.odd_words import OddWords
    from ecs_waiter.polling.policy import PollPolicy
    from ecs_waiter.polling.source import TaskSource

__all__ = ["RegionPoller"]

logger = logging.getLogger("ecs_waiter.polling")

_OUTAGE_TOLD_AFTER = 10.0
_OUTAGE_TOLD_EVERY = 300.0
"""Seconds without a good answer after which an outage is logged, and between two such lines at least."""

_SLOW = 5.0
"""Seconds after which a call under way is given as the reason of a timeout, if the region has answered before."""

_backoff = wait_backoff()


def _backoff_after(faults: int) -> float:
    return ask(_backoff, polls=faults, age=0.0)


class RegionPoller:
    """Polls one region's tasks, and tells those who wait for them.

    Attributes:
        polls: Polls that were sent.
        retried: Polls that failed in passing and were tried again.
    """

    def __init__(
        self,
        region_id: str,
        source: TaskSource,
        policy: PollPolicy,
        odd_words: OddWords,
        observer: Observer | None = None,
    ) -> None:
        self._region_id = region_id
        self._source = source
        self._policy = policy
        self._observer = observer
        self._clock = RunningClock()
        self._schedule = PollSchedule(policy, _backoff_after)
        self._reasons = Reasons(region_id, source, self._spawn, self._clock, observer)
        self._teller = Teller(region_id, self._reasons, self._clock, odd_words, observer)
        self._last_fault = ApiError(None, "none yet")
        self._has_answered = False
        self._tried_at = -math.inf
        self._told_outage = False
        self._outage_told_at = -math.inf
        self._tasks: set[asyncio.Task[None]] = set()
        self._runner: asyncio.Task[None] | None = None
        self._alarm: asyncio.Future[None] | None = None
        self._failures = 0
        self._single_polls: dict[str, list[SinglePoll]] = {}
        self._is_closed = False
        self.polls = 0
        self.retried = 0

    def __repr__(self) -> str:
        return f"RegionPoller({self._region_id!r}, {self._schedule!r})"

    @property
    def _limiter(self) -> RegionLimiter:
        # Asked for each time: the client forgets that of an idle region.
        return self._source.limiter(self._region_id)

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits and nothing is under way, so that a new poller would do as well."""
        return not self.waiting and not self._tasks

    @property
    def waiting(self) -> int:
        """IDs that have not settled."""
        return len(self._schedule) + len(self._reasons)

    @property
    def settled(self) -> int:
        """Tasks that have ended."""
        return self._teller.settled

    @property
    def fault(self) -> ApiError | None:
        """The last fault, if no good answer has come since."""
        return None if self._schedule.outage_ends == math.inf else self._last_fault

    def fault_at_deadline(self) -> ApiError | None:
        """Why the region does not answer: the last fault, or a call that has been under way for long."""
        if self.fault is not None or not self._schedule.in_flight:
            return self.fault
        seconds = self._clock.time() - self._schedule.oldest_call()
        if self._has_answered and seconds < _SLOW:
            return None
        return ServiceUnavailableError(None, f"no answer for {seconds:.3g} s so far", region_id=self._region_id)

    def next_poll(self, now: float) -> float | None:
        """Seconds until the next poll is due; None if none is planned."""
        wake_at = self._schedule.wake_at() if self._schedule else math.inf
        return None if wake_at == math.inf else max(0.0, wake_at - self._clock.at(now))

    # -- who waits ----------------------------------------------------------------------------------------------------

    def add(self, task_ids: Iterable[str], subscriber: Subscriber) -> None:
        """Have a subscriber told about tasks. Whoever joins late is shown a task's present state at the next answer."""
        schedule = self._schedule
        self._teller.joins(subscriber)
        if self._reasons:
            task_ids = [task_id for task_id in task_ids if not self._reasons.join(task_id, subscriber)]
        entries = schedule.add(task_ids, self._clock.time())
        for entry in self._teller.attach(entries, subscriber):
            schedule.show(entry)
        if schedule:
            self._see_to_it()

    def poll_once(self, task_ids: Iterable[str], subscriber: Subscriber) -> asyncio.Future[None]:
        """Poll tasks of a subscriber as soon as possible.

        The future resolves when each of them was polled after this call, successfully or not, or has ended.
        """
        once = SinglePoll(subscriber)
        for task_id in task_ids:
            entry = self._schedule.find(task_id)
            if entry is not None:
                self._schedule.hurry(entry)
                self._single_polls.setdefault(task_id, []).append(once)
                once.left += 1
        once.done(0)
        if self._schedule:
            self._see_to_it()
        return once.future

    def discard(self, task_id: str, subscriber: Subscriber) -> None:
        """A subscriber loses interest; the last one takes the ID off the schedule."""
        self._reasons.discard(task_id, subscriber)
        entry = self._schedule.find(task_id)
        if entry is None:
            return
        if self._teller.detach(entry, subscriber):
            self._schedule.remove(entry)
            self._end_single_polls((task_id,))
            if not self._schedule:
                self._stir()

    def forget(self) -> None:
        """Take every ID off the schedule at once: nobody waits any more."""
        self._schedule.clear()
        self._teller.forget()
        self._reasons.forget()
        self._end_single_polls(tuple(self._single_polls))
        self._stir()

    def last_known(self, task_id: str) -> Task | None:
        """A task that is waited for as it was last seen; None if it never was."""
        entry = self._schedule.find(task_id)
        return None if entry is None else self._teller.last_known(entry)

    def is_asked(self, task_id: str) -> bool:
        """Whether a call has asked for a task that is waited for, or is under way."""
        entry = self._schedule.find(task_id)
        return entry is None or entry.batch is not None or entry.status is not None or entry.missing is not None

    def known_failures(self, task_ids: Sequence[str], subscriber: Subscriber) -> Iterator[Task]:
        """Those of a subscriber's tasks that are known to have failed, while the reasons are being looked up."""
        return self._reasons.known_failures(task_ids, subscriber)

    def close(self) -> Iterable[asyncio.Task[None]]:
        """Stop; returns what has yet to end."""
        self._is_closed = True
        # Before anything is awaited: waits that begin while this closes count the calls that were made.
        self._limiter.retire()
        for task in self._tasks:
            task.cancel()
        return tuple(task for task in self._tasks if not task.done())

    async def report_failures(self) -> None:
        """Report the tasks that are known to have failed, without their reasons."""
        await self._reasons.aclose()

    # -- the loop -----------------------------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        # Don't inherit the first caller's context variables. Task factories need not know `create_task(context=)`.
        try:
            task = contextvars.Context().run(asyncio.get_running_loop().create_task, work)
        except BaseException:
            work.close()
            raise
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task is self._runner:
            self._runner = None
        if task.cancelled():
            # Somebody else's cancellation, such as one that a credentials provider let out, is a death like any other.
            error: BaseException | None = None if self._is_closed else asyncio.CancelledError()
        else:
            error = task.exception()
        if error is not None:
            self._die(error)

    def _stir(self) -> None:
        if self._alarm is not None and not self._alarm.done():
            self._alarm.set_result(None)

    async def _rest(self, until: float) -> None:
        self._alarm = asyncio.get_running_loop().create_future()
        timer = self._clock.call_at(until, self._stir) if until < math.inf else None
        try:
            await self._alarm
            self._alarm = None
            await asyncio.sleep(0)
        finally:
            self._alarm = None
            if timer is not None:
                timer.cancel()

    def _see_to_it(self) -> None:
        """Have somebody watch the schedule, now that it has changed."""
        if self._is_closed:
            return
        if self._runner is None:
            self._runner = self._spawn(self._run())
        else:
            self._stir()

    def _hand_over(self) -> None:
        """Have another watch the schedule while this one polls."""
        self._runner = None
        if self._schedule.wake_at() < math.inf:
            self._see_to_it()

    def _is_watched(self) -> bool:
        return self._runner is not None

    async def _run(self) -> None:
        """Watch the schedule until a call is due, make it, and watch again unless another has begun to meanwhile."""
        me = asyncio.current_task()
        # Whoever comes in the same turn of the loop, or by a task started in it, shares the call.
        await asyncio.sleep(0)
        while (batch := await self._next_batch()) is not None:
            await self._poll(batch)
            # A credentials provider may have swallowed the cancellation by which `close` ends this.
            if self._is_watched() or self._is_closed:
                return
            self._runner = me
            del batch  # while nothing is due, nothing is held
        self._runner = None

    async def _next_batch(self) -> Batch | None:
        """Wait for the next call: pass the gate first and compose then, so that no batch goes stale while it queues."""
        schedule = self._schedule
        while schedule:
            now = self._clock.time()
            patience_ends = self._patience_ends()
            if patience_ends <= now + TICK:
                self._fail_region(self._outage())
                continue
            wake_at = min(schedule.wake_at(), patience_ends)
            # While a budget runs out, each gap counts; else only one that outlasts the rest.
            with self._clock.watching() if schedule.outage_ends < math.inf else nullcontext():
                if wake_at > now + TICK:
                    await self._rest(wake_at)
                    continue
                is_let_through = await self._pass_gate(patience_ends)
            if is_let_through:
                batch = schedule.take(self._clock.time())
                if batch is not None:
                    return batch
                self._limiter.give_back(Priority.POLL)
        return None

    def _patience_ends(self) -> float:
        """When the region is given up; infinite while it answers, or while a call is under way that will decide."""
        ends = self._schedule.outage_ends
        if ends == math.inf or self._schedule.in_flight:
            return math.inf
        if self._tried_at < self._clock.gap_ended_at:
            # The region is tried once more after each gap in which the loop did not run.
            return max(ends, self._clock.gap_ended_at) + self._policy.call_timeout
        # The budget ends with a last try, which may have to wait for its turn but not for what the service asked.
        return ends if self._clock.at(self._limiter.blocked_until) > ends else ends + self._policy.call_timeout

    async def _pass_gate(self, patience_ends: float) -> bool:
        if patience_ends == math.inf:
            await self._limiter.acquire(Priority.POLL)
            return True
        try:
            async with asyncio.timeout_at(self._clock.on_loop(patience_ends)):
                await self._limiter.acquire(Priority.POLL)
        except TimeoutError:
            return False
        return True

    async def _poll(self, batch: Batch) -> None:
        """One call: its faults return the IDs to the schedule, which backs off."""
        asked_at, failures_before = self._clock.time(), self._failures
        self._tried_at = asked_at
        single_polls = {entry.task_id: self._single_polls.pop(entry.task_id, []) for entry in batch.entries}
        self.polls += 1
        try:
            try:
                # Within the block that puts the batch and the place back: a task cannot always be made.
                self._hand_over()
                if batch.prepared is None:
                    batch.prepared = self._source.prepare(self._region_id, batch.task_ids)
                with self._clock.watching():
                    snapshot = await self._source.poll(
                        self._region_id, batch.prepared, functools.partial(self._schedule.knows, batch)
                    )
            finally:
                self._limiter.release(Priority.POLL)
                if self._observer is not None:
                    self._observer.served(subscriber for entry in batch.entries for subscriber in subscribers_of(entry))
            self._take_in(batch, snapshot, self._clock.time())
        except ApiError as error:
            if self._failures > failures_before:
                # The region failed meanwhile: this says nothing of those who came since.
                self._schedule.returned(batch, self._clock.time())
            else:
                self._take_in_fault(batch, error, asked_at, self._clock.time())
        except EcsWaiterError as error:
            self._fail_region(error)
        finally:
            self._schedule.abandon(batch)
            self._report_single_polls(batch, single_polls)
        self._stir()

    # -- what came of it ----------------------------------------------------------------------------------------------

    def _take_in(self, batch: Batch, snapshot: Snapshot | None, now: float) -> None:
        self._has_answered = True
        if self._told_outage:
            self._told_outage = False
            logger.info("%s is responding again", self._region_id, extra={"region_id": self._region_id})
        news = self._schedule.same_answer(batch, now) if snapshot is None else self._take_in_tasks(batch, snapshot, now)
        self._check_strategy(news.error)

    def _check_strategy(self, error: Exception | None) -> None:
        if error is not None:
            self._fail_region(_caused(error, f"the wait strategy failed, so {self._region_id} is not polled"))

    def _take_in_tasks(self, batch: Batch, snapshot: Snapshot, now: float) -> News:
        self._teller.service_clock = snapshot.date
        tasks = snapshot.tasks
        news = self._schedule.answer(
            batch,
            [task.task_id for task in tasks],
            [task.task_status for task in tasks],
            total_count=snapshot.total_count,
            unread=snapshot.unread,
            fingerprint=snapshot.fingerprint,
            age_of=lambda index: age_of(tasks[index], snapshot.date),
            now=now,
        )
        try:
            self._teller.changes(news.changes, tasks)
            for entry in news.gone:
                self._teller.gone(entry)
            for entry in news.unlisted:
                self._teller.error(entry, self._unlisted(entry))
        except Exception as error:
            self._tell_those_who_left(news, self._died(error))
            raise
        return news

    def _tell_those_who_left(self, news: News, error: EcsWaiterError) -> None:
        """The schedule has forgotten those who have settled already: whoever was not told yet is told of the error."""
        self._reasons.give_up()
        copies = Copies(error)
        for entry in [*(entry for entry, _, _ in news.changes), *news.gone, *news.unlisted]:
            if entry.task_id not in self._schedule:
                self._teller.only(entry, copies)

    def _take_in_fault(self, batch: Batch, error: ApiError, asked_at: float, now: float) -> None:
        self._last_fault = error
        if isinstance(error, AuthenticationError):
            self._fail_region(error)
            return
        if isinstance(error, ThrottledError):
            self.retried += 1
            self._schedule.throttled(batch, asked_at=asked_at, retry_after=error.retry_after, now=now)
        elif isinstance(error, ServiceUnavailableError):
            self.retried += 1
            verdict = self._schedule.fault(batch, asked_at=asked_at, now=now, retry_after=error.retry_after)
            for entry in verdict.guilty:
                self._teller.error(
                    entry, self._unavailable(f"{self._region_id} keeps failing on {entry.task_id} alone")
                )
        else:
            verdict = self._schedule.rejected(batch, error, now)
            for entry in verdict.guilty:
                self._teller.error(entry, error)
            for entry in verdict.gone:
                self._teller.gone(entry)
            if verdict.is_regional:
                self._fail_region(error)
            self._check_strategy(verdict.error)
        if self._schedule.is_spent(now) and asked_at >= self._clock.gap_ended_at:
            self._fail_region(self._outage())
            return
        since = self._schedule.outage_ends - self._policy.outage_budget
        if now >= max(since + _OUTAGE_TOLD_AFTER, self._outage_told_at + _OUTAGE_TOLD_EVERY):
            self._told_outage, self._outage_told_at = True, now
            budget = self._policy.outage_budget
            logger.warning(
                "no credentials for %s; retrying for %g s: %s"
                if concerns_credentials(error)
                else "%s is not responding; retrying for %g s: %s",
                self._region_id,
                budget,
                error,
                extra={"region_id": self._region_id},
            )

    def _report_single_polls(self, batch: Batch, single_polls: dict[str, list[SinglePoll]]) -> None:
        """Note which single polls this call has made; those that began during the call are made by the next one."""
        for entry in batch.entries:
            polls = single_polls.get(entry.task_id, [])
            if not polls:
                continue
            is_waiting = self._schedule.find(entry.task_id) is entry
            if is_waiting and self._schedule.is_hunted(entry):
                # A rejected batch is asked again in parts, whose answers count.
                self._single_polls.setdefault(entry.task_id, []).extend(polls)
                continue
            # Without a grace, one whole answer that lacks the ID is all there is to wait for.
            if is_waiting and self._policy.not_found_grace == 0 and entry.missing and entry.missing.is_absent:
                error = TaskNotFoundError(entry.task_id, self._region_id, self._teller.last_known(entry))
                for poll in polls:
                    if poll.subscriber in subscribers_of(entry):
                        self.discard(entry.task_id, poll.subscriber)
                        poll.subscriber.task_failed(entry.task_id, error, is_regional=False)
            for poll in polls:
                poll.done()

    def _end_single_polls(self, task_ids: Iterable[str]) -> None:
        for task_id in task_ids if self._single_polls else ():
            for poll in self._single_polls.pop(task_id, ()):
                poll.done()

    # -- the end of a region's waits ----------------------------------------------------------------------------------

    def _fail_region(self, error: EcsWaiterError) -> None:
        """End all waits of the region with one error: once for each of those who wait."""
        self._failures += 1
        self._told_outage = False
        self._teller.all_failed(self._schedule.clear(), error)
        self._end_single_polls(tuple(self._single_polls))

    def _outage(self) -> ServiceUnavailableError:
        budget = self._policy.outage_budget
        if concerns_credentials(self._last_fault):
            return self._unavailable(f"no credentials for {self._region_id} in {budget:g} s")
        return self._unavailable(f"{self._region_id} gave no good answer for {budget:g} s")

    def _unavailable(self, what: str) -> ServiceUnavailableError:
        last = self._last_fault
        error = ServiceUnavailableError(
            last.code,
            f"{what}; the last fault: {last.message}",
            last.request_id,
            last.http_status,
            region_id=self._region_id,
        )
        error.__cause__ = last
        return error

    def _unlisted(self, entry: Entry) -> ServiceUnavailableError:
        return ServiceUnavailableError(
            None,
            f"{self._region_id} counts {entry.task_id} but has not listed it for {self._policy.outage_budget:g} s",
            region_id=self._region_id,
        )

    def _die(self, cause: BaseException) -> None:
        """Tell everyone: should our own code raise, nobody hangs."""
        logger.error("polling %s ended by %s", self._region_id, type(cause).__name__)
        self._reasons.give_up()
        self._fail_region(self._died(cause))

    def _died(self, cause: BaseException) -> EcsWaiterError:
        return _caused(cause, f"polling {self._region_id} ended by an error in its own code")


class SinglePoll:
    """One poll of each of a subscriber's tasks: `future` resolves when none is left to poll."""

    __slots__ = ("future", "left", "subscriber")

    def __init__(self, subscriber: Subscriber) -> None:
        self.subscriber = subscriber
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.left = 0

    def done(self, tasks: int = 1) -> None:
        """Note that so many tasks were polled or have ended."""
        self.left -= tasks
        if self.left <= 0 and not self.future.done():
            self.future.set_result(None)


def _caused(cause: BaseException, what: str) -> EcsWaiterError:
    error = EcsWaiterError(f"{what}: {type(cause).__name__} (see the cause)")
    error.__cause__ = cause
    return error
