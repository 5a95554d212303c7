"""Wait: one wait for any number of tasks. It joins their pollers, collects the outcomes, and leaves at the end."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Self

from ecs_waiter.api.tasks import FINAL_STATUSES
from ecs_waiter.arguments import checked_timeout
from ecs_waiter.errors import (
    EcsWaiterError,
    TaskError,
    TaskFailedError,
    TasksFailedError,
    WaiterClosedError,
    WaitTimeoutError,
    few,
)
from ecs_waiter.models import Task
from ecs_waiter.runtimes import running_loop
from ecs_waiter.slices import in_slices

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from ecs_waiter.errors import ApiError
    from ecs_waiter.ids import Targets
    from ecs_waiter.polling.poller import RegionPoller

__all__ = ["Outcome", "Wait", "WaitEvent"]

Outcome = Task | EcsWaiterError

_NOT_KEPT = EcsWaiterError("the outcome was given as an event")
_SHOWN_ERRORS = 3
_SOON = 10.0
"""Seconds: tasks of a wait with a shorter timeout are polled at once, for a shared call might come too late."""

_LATE = 0.5
"""Seconds after its deadline at which a timer that fires shows that the event loop did not run meanwhile."""


@dataclass(frozen=True, slots=True)
class WaitEvent:
    """What happened to a task: it was seen for the first time, its status changed, or the wait for it ended.

    Attributes:
        task_id: The task.
        region_id: Its region.
        task: The task as it was last seen; None if the service never listed it.
        error: Why the wait for the task failed; None for a change, and for a task that finished.
        final: Whether this is the end, after which nothing more comes for this task. An end is not also a change.
    """

    task_id: str
    region_id: str
    task: Task | None
    error: EcsWaiterError | None
    final: bool


class Wait:
    """A Subscriber of many tasks. One coroutine joins it to the pollers and iterates over its events.

    Args:
        targets: The tasks.
        timeout: Seconds from now that all of it may take; 0 is a single poll; None is no limit.
        wants_changes: Whether each change of a task is an event.
        wants_outcomes: Whether each end is an event; otherwise it is a change. The first IDs are checked at once then.
        needs_detail: Whether a failure is reported when its reason is known.
        keeps_outcomes: Whether outcomes and last states are kept for the results and the errors.
        fail_fast: Whether the first failure ends the wait.
        is_started: Whether the tasks were started right now.

    Attributes:
        outcomes: ID -> outcome of each task that has ended; in the order asked after `conclude`.
        pending: How many tasks have not ended.
        failures: How many tasks did not finish, by the type of their errors.
        report: Awaited whenever the wait was woken; None if progress is not reported.
    """

    def __init__(  # noqa: PLR0913 - each is one property of what it gives
        self,
        targets: Targets,
        timeout: float | None,
        *,
        wants_changes: bool = False,
        wants_outcomes: bool = False,
        needs_detail: bool = True,
        keeps_outcomes: bool = True,
        fail_fast: bool = False,
        is_started: bool = False,
    ) -> None:
        self._loop = running_loop()
        self._timeout = checked_timeout(timeout)
        self._begun_at = self._loop.time()
        self._deadline = None if self._timeout is None else self._begun_at + self._timeout
        self._is_last_poll = timeout == 0
        self.targets = targets
        self.wants_changes = wants_changes
        self.needs_detail = needs_detail and timeout != 0
        self._wants_outcomes = wants_outcomes
        self._keeps_outcomes = keeps_outcomes
        self._fail_fast = fail_fast
        self._is_started = is_started
        self.outcomes: dict[str, Outcome] = {}
        self.pending = len(targets)
        self.failures: Counter[str] = Counter()
        self.report: Callable[[], Awaitable[None]] | None = None
        self._events: deque[WaitEvent] = deque()
        self._waker: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._polls: list[asyncio.Future[None]] = []
        self._leaving: asyncio.Future[None] | None = None
        self._is_sealed = False
        self._is_expired = False
        self._is_closed = False
        self._regional: dict[EcsWaiterError, str] = {}
        self._errors: dict[EcsWaiterError, None] = {}
        self._left_over: list[str] = []
        self._last: dict[str, Task | None] = {}
        self._unasked = 0
        self._faults: dict[str, ApiError] = {}
        if wants_outcomes:
            targets.begin()

    @classmethod
    def for_events(cls, targets: Targets, timeout: float | None) -> Self:
        """A wait whose events are all changes and outcomes, none of which is kept: they may be a million."""
        return cls(targets, timeout, wants_changes=True, wants_outcomes=True, keeps_outcomes=False)

    @classmethod
    def for_outcomes(cls, targets: Targets, timeout: float | None) -> Self:
        """A wait whose events are the outcomes."""
        return cls(targets, timeout, wants_outcomes=True)

    @classmethod
    def for_updates(cls, targets: Targets, timeout: float | None) -> Self:
        """A wait whose events are all changes and outcomes, a failure without its reason."""
        return cls(targets, timeout, wants_changes=True, wants_outcomes=True, needs_detail=False)

    def __repr__(self) -> str:
        return f"<Wait for {len(self.targets)} tasks, {self.pending} pending>"

    @property
    def elapsed(self) -> float:
        """Seconds since the wait began."""
        return self._loop.time() - self._begun_at

    # -- as a Subscriber ----------------------------------------------------------------------------------------------

    def task_changed(self, task: Task) -> None:
        """Take a change, unless it is an end that `tasks_finished` or `task_failed` reports."""
        if self._is_sealed or (self._wants_outcomes and task.task_status in FINAL_STATUSES):
            return
        self._events.append(WaitEvent(task.task_id, task.region_id, task, None, final=False))
        self.wake()

    def tasks_finished(self, tasks: Sequence[Task]) -> None:
        """Take these outcomes."""
        if not self._is_sealed:
            self._end({task.task_id: task for task in tasks})

    def task_failed(self, task_id: str, error: EcsWaiterError, *, is_regional: bool, task: Task | None) -> None:
        """Take an error."""
        if not self._is_sealed:
            if is_regional and error not in self._regional:
                self._regional[error] = self._region_of(task_id, error)
            self._end({task_id: error}, task)

    def _end(self, outcomes: Mapping[str, Outcome], last_known: Task | None = None) -> None:
        """Take outcomes. The first outcome of a task counts."""
        new = {task_id: outcome for task_id, outcome in outcomes.items() if task_id not in self.outcomes}
        self.outcomes.update(new if self._keeps_outcomes else dict.fromkeys(new, _NOT_KEPT))
        self.pending -= len(new)
        for task_id, outcome in new.items():
            if isinstance(outcome, EcsWaiterError):
                self.failures[type(outcome).__name__] += 1
            if self._wants_outcomes:
                self._events.append(self._final_event(task_id, outcome, last_known))
        if self._events or self._is_over:
            self.wake()

    def _final_event(self, task_id: str, outcome: Outcome, last_known: Task | None) -> WaitEvent:
        if isinstance(outcome, Task):
            return WaitEvent(task_id, outcome.region_id, outcome, None, final=True)
        task = outcome.task if isinstance(outcome, TaskError) else last_known
        region_id = self._regional.get(outcome) or self._region_of(task_id, outcome)
        return WaitEvent(task_id, region_id, task, outcome, final=True)

    def _region_of(self, task_id: str, error: EcsWaiterError) -> str:
        named: str | None = getattr(error, "region_id", None)
        if named in self.targets.regions:
            return named
        return next(region_id for region_id, ids in self.targets.regions.items() if task_id in ids)

    # -- as its owner uses it -----------------------------------------------------------------------------------------

    async def read(self) -> None:
        """Read the IDs, before anything else is done with the wait."""
        for _ in self.targets.read():
            await asyncio.sleep(0)
        self.pending = len(self.targets)

    async def join(
        self, poller: Callable[[str], RegionPoller], call_timeout: float, forget: Callable[[Wait], bool]
    ) -> None:
        """Put the tasks on the schedules of their pollers.

        Args:
            poller: Returns the poller of a region.
            call_timeout: Seconds that the single poll of a wait may take at most.
            forget: Takes everything off the schedules at once if nobody but this wait is left; whether it did.
        """
        self._poller = poller
        self._call_timeout = call_timeout
        self._forget = forget
        if self._deadline is not None:
            # Reading the IDs may have taken longer than the timeout, but the loop did run.
            when = max(self._deadline + (call_timeout if self._is_last_poll else 0.0), self._loop.time())
            self._timer = self._loop.call_at(when, self._at_deadline, when)
        for region_id, task_ids in self.targets.regions.items():
            await in_slices(task_ids, partial(self._add, region_id))
        if self._is_last_poll:
            self._expire_when_polled()

    def _add(self, region_id: str, task_ids: list[str]) -> None:
        if self._is_closed or self._is_sealed:
            return
        poller = self._poller(region_id)
        poller.add(task_ids, self, is_started=self._is_started)
        if self._is_last_poll:
            self._polls.append(poller.poll_once(task_ids, self))
        elif (self._timeout or _SOON) < _SOON:
            poller.poll_once(task_ids, self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WaitEvent:
        """Return the next event until the wait is over, its deadline has passed or its waiter is closed."""
        while not self._events:
            if self._is_over or self._is_closed or self._is_expired:
                raise StopAsyncIteration
            self._waker = self._loop.create_future()
            await self._waker
            if self.report is not None:
                await self.report()
        return self._events.popleft()

    async def conclude(self) -> None:
        """Take no more outcomes, and put them in the order asked.

        Raises:
            WaitTimeoutError: The deadline ended the wait.
            WaiterClosedError: The closing of the waiter ended it.
        """
        self._is_sealed = True
        if self._fail_fast:
            await in_slices(self._known_failures(), self._report_failures)
        ordered: dict[str, Outcome] = {}
        await in_slices(self.targets, partial(self._put_in_order, ordered))
        if self.pending:
            self.leave()
            if self._leaving is not None and self._keeps_outcomes:
                # Awaiting it directly would cancel it with this wait, and leave tasks on the schedules.
                await asyncio.wait((self._leaving,))
        if self._keeps_outcomes:
            self.outcomes = ordered
        if self._is_over:
            return
        if self._is_closed:
            raise self._with_progress(
                WaiterClosedError(f"the TaskWaiter was closed under a wait for {few(self._left_over)}")
            )
        raise self._timeout_error()

    def failure(self, but: tuple[type[EcsWaiterError], ...] = ()) -> EcsWaiterError | None:
        """Return what to raise for all errors `but` these: the only one as itself, or a group. After `conclude`."""
        errors = [error for error in self._errors if not isinstance(error, but)]
        if not errors:
            return None
        if len(self.targets) == 1 or (len(errors) == 1 and errors[0] in self._regional):
            return self._with_progress(errors[0])
        first = "; ".join(str(error) for error in errors[:_SHOWN_ERRORS])
        more = f"; and {len(errors) - _SHOWN_ERRORS} more" if len(errors) > _SHOWN_ERRORS else ""
        return TasksFailedError(
            f"{self.failures.total()} of {len(self.targets)} tasks did not finish: {first}{more}",
            errors,
            results=self.outcomes,
            pending=self._left_over,
        )

    def stop(self, _: object = None) -> None:
        """End the wait now, as its deadline does, whether or not anybody takes its events."""
        if not self._is_sealed and not self._is_closed and self._leaving is None:
            self._is_sealed = True
            in_slices(self._known_failures(), self._report_failures).add_done_callback(self._expired)

    def close(self) -> None:
        """End the wait, because its waiter was closed."""
        self._is_closed = True
        self.wake()

    def leave(self) -> None:
        """Take the pending tasks off the schedules, unless others wait for them."""
        if self._timer is not None:
            self._timer.cancel()
        # On a closed loop nothing is polled any more.
        if self._leaving is None and not self._loop.is_closed():
            is_left = not self.pending or (not self._notes_last and self._forget(self))
            self._leaving = in_slices(() if is_left else self._asked(), self._let_go)

    # -- the deadline -------------------------------------------------------------------------------------------------

    def _at_deadline(self, deadline: float) -> None:
        now = self._loop.time()
        if now - deadline <= _LATE or self._is_last_poll or self._is_closed:
            self.stop()
            return
        # The loop did not run when the deadline passed: each pending task is polled once more.
        self._is_last_poll, self.needs_detail = True, False
        self._timer = self._loop.call_at(now + self._call_timeout, self._at_deadline, now + self._call_timeout)
        in_slices(self._asked(), self._poll_once).add_done_callback(self._expire_when_polled)

    def _poll_once(self, asked: list[tuple[str, str]]) -> None:
        if self._leaving is not None or self._is_closed:
            return
        for region_id, group in groupby(asked, key=itemgetter(0)):
            task_ids = [task_id for _, task_id in group if task_id not in self.outcomes]
            self._polls.append(self._poller(region_id).poll_once(task_ids, self))

    def _expire_when_polled(self, _: object = None) -> None:
        asyncio.gather(*self._polls).add_done_callback(self.stop)

    def _expired(self, _: object) -> None:
        self._is_expired = True
        if self._leaving is None and self.pending:
            for region_id, task_ids in self.targets.regions.items():
                fault = self._poller(region_id).fault_at_deadline()
                if fault is not None and any(task_id not in self.outcomes for task_id in task_ids):
                    self._faults[region_id] = fault
            self.leave()
        self.wake()

    def _known_failures(self) -> Iterator[tuple[RegionPoller, Task]]:
        """The pending tasks that have failed, while their reasons are being looked up."""
        for region_id, task_ids in self.targets.regions.items() if self.pending else ():
            poller = self._poller(region_id)
            for task in poller.details.known_failures(task_ids, self):
                yield poller, task

    def _report_failures(self, failures: list[tuple[RegionPoller, Task]]) -> None:
        for poller, task in failures:
            poller.discard(task.task_id, self)
            self._end({task.task_id: TaskFailedError(task)})

    # -- inside -------------------------------------------------------------------------------------------------------

    @property
    def _is_over(self) -> bool:
        return self.pending == 0 or (self._fail_fast and bool(self.failures))

    @property
    def _notes_last(self) -> bool:
        """Whether the last states of the pending tasks are noted for the error of the deadline."""
        return self._is_expired and self._keeps_outcomes

    def _asked(self) -> Iterator[tuple[str, str]]:
        for region_id, task_ids in self.targets.regions.items():
            for task_id in task_ids:
                yield region_id, task_id

    def _put_in_order(self, ordered: dict[str, Outcome], task_ids: list[str]) -> None:
        for task_id in task_ids:
            outcome = self.outcomes.get(task_id)
            if outcome is None:
                self._left_over.append(task_id)
            elif self._keeps_outcomes:
                ordered[task_id] = outcome
                if isinstance(outcome, EcsWaiterError):
                    # The error of a region stands under each of its IDs, and is one error.
                    self._errors[outcome] = None

    def _let_go(self, asked: list[tuple[str, str]]) -> None:
        for region_id, task_id in asked:
            if task_id not in self.outcomes:
                poller = self._poller(region_id)
                if self._notes_last:
                    self._last[task_id] = poller.last_known(task_id)
                    self._unasked += not poller.is_asked(task_id)
                poller.discard(task_id, self)

    def _timeout_error(self) -> WaitTimeoutError:
        timeout = self._timeout or 0.0
        if self._keeps_outcomes:
            return WaitTimeoutError.after(timeout, self._last, self.outcomes, self._faults, unasked=self._unasked)
        pending = f"{len(self._left_over)} of {len(self.targets)}: {few(self._left_over)}"
        faults = [f"{region_id} is failing: {fault.summary}" for region_id, fault in self._faults.items()]
        return WaitTimeoutError(
            "; ".join([f"still waiting after {timeout:g} s for {pending}", *faults]),
            pending=self._left_over,
            faults=self._faults,
        )

    def _with_progress(self, error: EcsWaiterError) -> EcsWaiterError:
        """An error that is raised as itself takes along what a wait for several IDs knows."""
        if len(self.targets) == 1:
            return error
        return error.with_progress(self.outcomes if self._keeps_outcomes else {}, self._left_over)

    def wake(self) -> None:
        """Wake the coroutine that reads the events."""
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)
