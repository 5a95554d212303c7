"""Wait and Submitted: those who wait, for many tasks or by one future."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, NamedTuple

from ecs_waiter.errors import EcsWaiterError, TasksFailedError, WaiterClosedError, WaitTimeoutError, few
from ecs_waiter.models import Task
from ecs_waiter.slices import in_slices

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ecs_waiter.errors import ApiError
    from ecs_waiter.ids import Targets

__all__ = ["News", "Outcome", "Stream", "Submitted", "Wait"]

Outcome = Task | EcsWaiterError

_SHOWN_ERRORS = 3
_GIVEN = EcsWaiterError("given already")
"""Stands for the outcomes that a `Stream` does not keep."""


class Wait:
    """A Subscriber of many tasks, whose news one coroutine takes off by `next`.

    Args:
        targets: The tasks.
        wants_changes: Whether `next` gives each change of a task.
        wants_outcomes: Whether `next` gives each outcome.
        needs_detail: Whether failures are worth the look-up of their reason.
        single_poll: Whether one poll of each task is all.
        fail_fast: Whether the first failure ends the wait.

    Attributes:
        keeps: Whether outcomes and last states are kept for the results and the errors.
        failures: How many tasks did not finish, by the type of their errors.
        is_leaving: Whether it has begun to leave the schedules.
        left: Set when nothing of it is on the schedules any more.
        timer: Ends the wait at its deadline.
        last: The last known state of each pending task, noted as an expired wait leaves the schedules.
        unasked: How many of these no call has asked for yet.
        unpolled: Groups of its tasks whose single poll has yet to be made.
        faults: The present fault of each failing region, noted at the same time.
    """

    __slots__ = (
        "__weakref__",
        "_errors",
        "_events",
        "_failures",
        "_is_closed",
        "_is_expired",
        "_is_sealed",
        "_left_over",
        "_pending",
        "_regional",
        "_waker",
        "_wants_outcomes",
        "fail_fast",
        "failures",
        "faults",
        "has_failed",
        "is_leaving",
        "last",
        "left",
        "needs_detail",
        "outcomes",
        "single_poll",
        "targets",
        "timer",
        "unasked",
        "unpolled",
        "wants_changes",
    )

    keeps = True

    def __init__(  # noqa: PLR0913 - each is one knob of what is told
        self,
        targets: Targets,
        *,
        wants_changes: bool = False,
        wants_outcomes: bool = False,
        needs_detail: bool = True,
        single_poll: bool = False,
        fail_fast: bool = False,
    ) -> None:
        self.targets = targets
        self.wants_changes = wants_changes
        self.needs_detail = needs_detail
        self.single_poll = single_poll
        self.fail_fast = fail_fast
        self.failures: Counter[str] = Counter()
        self.has_failed = False
        self.is_leaving = False
        self.timer: asyncio.TimerHandle | None = None
        self.left = asyncio.Event()
        self.outcomes: dict[str, Outcome] = {}
        self.last: dict[str, Task | None] = {}
        self.unasked = 0
        self.faults: dict[str, ApiError] = {}
        self._wants_outcomes = wants_outcomes
        self._pending = len(targets)
        self._events: deque[Any] = deque()
        self.unpolled = 0
        self._regional: set[int] = set()
        self._errors: dict[int, EcsWaiterError] = {}
        self._failures = 0
        self._left_over: list[str] = []
        self._is_expired = False
        self._is_sealed = False
        self._is_closed = False
        self._waker: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<Wait for {len(self.targets)} tasks, {self._pending} pending>"

    async def read(self) -> None:
        """Read the IDs, before anything else is done with the wait."""
        for _ in self.targets.read():
            await asyncio.sleep(0)
        self._pending = len(self.targets)

    # -- as a Subscriber ----------------------------------------------------------------------------------------------

    def task_changed(self, task: Task) -> None:
        """Keep a change for `next`."""
        if self._is_expired:
            return
        self._events.append(task)
        self._wake()

    def tasks_finished(self, tasks: Sequence[Task]) -> None:
        """Keep these outcomes."""
        self._settle({task.task_id: task for task in tasks})

    def task_failed(self, task_id: str, error: EcsWaiterError, *, is_regional: bool) -> None:
        """Keep an error."""
        if self._settle({task_id: error}):
            self.has_failed = True
            self.failures[type(error).__name__] += 1
            if is_regional:
                self._regional.add(id(error))
            if self.fail_fast:
                self._wake()

    def _settle(self, came: Mapping[str, Outcome]) -> bool:
        """Keep outcomes; what has settled once stays settled, and what comes after the deadline comes too late.

        Returns whether any was kept.
        """
        if self._is_sealed:
            return False
        if not self.outcomes.keys().isdisjoint(came):
            came = {task_id: outcome for task_id, outcome in came.items() if task_id not in self.outcomes}
        self._keep(came)
        self._pending -= len(came)
        if self._events or not self._pending:
            self._wake()
        return bool(came)

    def _keep(self, came: Mapping[str, Outcome]) -> None:
        self.outcomes.update(came)
        if self._wants_outcomes:
            self._events.extend(came.values())

    # -- as its owner sees it -----------------------------------------------------------------------------------------

    @property
    def _is_over(self) -> bool:
        return self._pending == 0 or (self.fail_fast and self.has_failed)

    @property
    def is_expired(self) -> bool:
        """Whether the deadline has passed."""
        return self._is_expired

    @property
    def pending(self) -> int:
        """How many tasks have not settled."""
        return self._pending

    def expire(self) -> None:
        """The deadline has passed."""
        self._is_expired = self._is_sealed = True
        self._wake()

    def poll_once_more(self) -> None:
        """From now on one more poll of each pending task is all, and the reason of a failure is not waited for."""
        self.single_poll, self.needs_detail = True, False

    def close(self) -> None:
        """The waiter was closed under this wait."""
        self._is_closed = True
        self._wake()

    async def next(self) -> Any:
        """Return the next event, or None when the wait is over, its deadline has passed or its waiter is closed."""
        while not self._events:
            if self._is_over or self._is_closed or self._is_expired:
                return None
            self._waker = asyncio.get_running_loop().create_future()
            await self._waker
        return self._events.popleft()

    def asked(self) -> Iterator[tuple[str, str]]:
        """Region and ID of each task."""
        for region_id, task_ids in self.targets.regions.items():
            for task_id in task_ids:
                yield region_id, task_id

    def is_pending_in(self, region_id: str) -> bool:
        """Whether any task of one region has not settled."""
        return any(task_id not in self.outcomes for task_id in self.targets.regions[region_id])

    async def put_in_order(self) -> None:
        """Take no more outcomes; put those that came in the order asked, and note the errors and what is pending."""
        self._is_sealed = True
        came = self.outcomes
        ordered: dict[str, Outcome] = {}
        async for piece in in_slices(self.targets):
            present = piece
            if self._pending:
                present = [task_id for task_id in piece if task_id in came]
                self._left_over += [task_id for task_id in piece if task_id not in came]
            outcomes = list(map(came.__getitem__, present))
            ordered.update(zip(present, outcomes, strict=True))
            if self.has_failed:
                failures = [error for error in outcomes if isinstance(error, EcsWaiterError)]
                self._failures += len(failures)
                # An error of a whole region stands under each of its IDs, and is one error.
                self._errors.update((id(error), error) for error in failures)
        self.outcomes = ordered

    def ended_early(self, timeout: float | None) -> EcsWaiterError | None:
        """The error to raise if the wait ended before its tasks did; asked after `put_in_order`."""
        if self._is_over:
            return None
        if not self._is_closed:
            return WaitTimeoutError.after(timeout or 0.0, self.last, self.outcomes, self.faults, unasked=self.unasked)
        return self._with_progress(
            WaiterClosedError(f"the TaskWaiter was closed under a wait for {few(self._left_over)}")
        )

    def failure(self, shown: tuple[type[EcsWaiterError], ...] = ()) -> EcsWaiterError | None:
        """What to raise for the errors but those `shown` already: one as itself, or a group; after `put_in_order`."""
        errors = [error for error in self._errors.values() if not isinstance(error, shown)]
        if not errors:
            return None
        if len(self.targets) == 1 or (len(errors) == 1 and id(errors[0]) in self._regional):
            return self._with_progress(errors[0])
        first = "; ".join(str(error) for error in errors[:_SHOWN_ERRORS])
        more = f"; and {len(errors) - _SHOWN_ERRORS} more" if len(errors) > _SHOWN_ERRORS else ""
        return TasksFailedError(
            f"{self._failures} of {len(self.targets)} tasks did not finish: {first}{more}",
            errors,
            results=self.outcomes,
            pending=self._left_over,
        )

    def _with_progress(self, error: EcsWaiterError) -> EcsWaiterError:
        """An error that is raised as itself takes along what a wait for several IDs knows."""
        return error if len(self.targets) == 1 else error.with_progress(self.outcomes, self._left_over)

    def _wake(self) -> None:
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)


class News(NamedTuple):
    """What a `Stream` gives of a task: a change, or its outcome, which comes once and last."""

    task_id: str
    outcome: Outcome
    is_final: bool


class Stream(Wait):
    """A Wait that gives every change and every outcome as `News`, and keeps none of them: they may be a million."""

    __slots__ = ()

    keeps = False

    def __init__(self, targets: Targets, *, single_poll: bool) -> None:
        super().__init__(targets, wants_changes=True, needs_detail=not single_poll, single_poll=single_poll)

    def task_changed(self, task: Task) -> None:
        """Keep a change for `next`."""
        if self.is_expired:
            return
        self._events.append(News(task.task_id, task, is_final=False))
        self._wake()

    def _keep(self, came: Mapping[str, Outcome]) -> None:
        self.outcomes.update(dict.fromkeys(came, _GIVEN))
        self._events.extend(News(task_id, outcome, is_final=True) for task_id, outcome in came.items())

    async def put_in_order(self) -> None:
        """Take no more outcomes."""
        self._is_sealed = True

    def ended_early(self, timeout: float | None) -> EcsWaiterError | None:
        """The error to raise if the wait ended before its tasks did; it names none of them."""
        if self._is_over:
            return None
        if self._is_closed:
            return WaiterClosedError("the TaskWaiter was closed under a wait")
        return WaitTimeoutError(f"still waiting after {timeout or 0.0:g} s", faults=self.faults)


class Submitted:
    """The Subscriber of one future; `error` is what the future was resolved with."""

    __slots__ = ("_future", "error")

    wants_changes = False
    needs_detail = True

    def __init__(self, future: asyncio.Future[Task]) -> None:
        self._future = future
        self.error: EcsWaiterError | None = None

    def tasks_finished(self, tasks: Sequence[Task]) -> None:
        """Resolve the future."""
        if not self._future.done():
            (task,) = tasks
            self._future.set_result(task)

    def task_failed(self, task_id: str, error: EcsWaiterError, *, is_regional: bool) -> None:  # noqa: ARG002 - a Subscriber
        """Resolve the future."""
        if not self._future.done():
            self.error = error
            self._future.set_exception(error)

    def task_changed(self, task: Task) -> None:
        """A future tells no changes."""
