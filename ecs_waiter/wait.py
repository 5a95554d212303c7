"""Wait and Submitted: those who wait, for many tasks or by one future."""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from ecs_waiter.errors import EcsWaiterError, TasksFailedError, WaiterClosedError, WaitTimeoutError, few
from ecs_waiter.models import Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ecs_waiter.targets import Targets

__all__ = ["Outcome", "Submitted", "Wait"]

Outcome = Task | EcsWaiterError

_TOLD = 3
_SLICE = 2_000


class Wait:
    """A Watcher of many tasks, whose news one coroutine takes off by `next`.

    Args:
        targets: The tasks.
        tells_changes: Whether `next` gives each change of a task.
        tells_outcomes: Whether `next` gives each outcome.
        needs_reason: Whether failures are worth the look-up of their reason.
        looks_once: Whether one look at each task is all.
        fail_fast: Whether the first failure ends the wait.
    """

    __slots__ = (
        "__weakref__",
        "_events",
        "_is_closed",
        "_is_expired",
        "_is_sealed",
        "_looked_at",
        "_pending",
        "_regional",
        "_tells_outcomes",
        "_waker",
        "fail_fast",
        "has_failed",
        "looks_once",
        "needs_reason",
        "outcomes",
        "sees_changes",
        "targets",
    )

    def __init__(  # noqa: PLR0913 - each is one knob of what is told
        self,
        targets: Targets,
        *,
        tells_changes: bool = False,
        tells_outcomes: bool = False,
        needs_reason: bool = True,
        looks_once: bool = False,
        fail_fast: bool = False,
    ) -> None:
        self.targets = targets
        self.sees_changes = tells_changes
        self.needs_reason = needs_reason
        self.looks_once = looks_once
        self.fail_fast = fail_fast
        self.has_failed = False
        self.outcomes: dict[str, Outcome] = {}
        self._tells_outcomes = tells_outcomes
        self._pending = len(targets)
        self._events: deque[Outcome] = deque()
        self._looked_at: set[str] = set()
        self._regional: set[int] = set()
        self._is_expired = False
        self._is_sealed = False
        self._is_closed = False
        self._waker: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<Wait for {len(self.targets)} tasks, {self._pending} pending>"

    # -- as a Watcher -------------------------------------------------------------------------------------------------

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
        self.outcomes.update(came)
        self._pending -= len(came)
        if self.looks_once:
            self._looked_at.difference_update(came)
            self._note_looks()
        if self._tells_outcomes:
            self._events.extend(came.values())
        if self._events or not self._pending:
            self._wake()
        return bool(came)

    def task_looked_at(self, task_id: str) -> None:
        """Note that one look at this task has been had."""
        self._looked_at.add(task_id)
        self._note_looks()

    def _note_looks(self) -> None:
        if len(self._looked_at) >= self._pending:
            self.expire()

    # -- as its owner sees it -----------------------------------------------------------------------------------------

    @property
    def _is_over(self) -> bool:
        return self._pending == 0 or (self.fail_fast and self.has_failed)

    @property
    def is_expired(self) -> bool:
        """Whether the deadline has passed."""
        return self._is_expired

    @property
    def has_pending(self) -> bool:
        """Whether any task has not settled."""
        return self._pending > 0

    def expire(self) -> None:
        """The deadline has passed."""
        self._is_expired = self._is_sealed = True
        self._wake()

    def close(self) -> None:
        """The waiter was closed under this wait."""
        self._is_closed = True
        self._wake()

    async def next(self) -> Outcome | None:
        """Return the next event, or None when the wait is over, its deadline has passed or its waiter is closed."""
        while not self._events:
            if self._is_over or self._is_closed or self._is_expired:
                return None
            self._waker = asyncio.get_running_loop().create_future()
            await self._waker
        return self._events.popleft()

    def pending(self) -> Iterator[tuple[str, str]]:
        """Region and ID of each task that has not settled."""
        if not self._pending:
            return
        for region_id, task_ids in self.targets.regions.items():
            for task_id in task_ids:
                if task_id not in self.outcomes:
                    yield region_id, task_id

    def pending_in(self, region_id: str) -> list[str]:
        """The IDs of one region that have not settled."""
        return [task_id for task_id in self.targets.regions[region_id] if task_id not in self.outcomes]

    async def put_in_order(self) -> None:
        """Take no more outcomes, and sort those that came in the order asked, slice by slice for the loop's sake."""
        self._is_sealed = True
        came = self.outcomes
        ordered: dict[str, Outcome] = {}
        asked = iter(self.targets)
        while piece := list(islice(asked, _SLICE)):
            present = list(filter(came.__contains__, piece)) if self._pending else piece
            ordered.update(zip(present, map(came.__getitem__, present), strict=True))
            if len(piece) == _SLICE:
                await asyncio.sleep(0)
        self.outcomes = ordered

    def check_ended(self, timeout: float | None) -> None:
        """Raise if the wait ended before its tasks did.

        Raises:
            WaiterClosedError: The waiter was closed.
            WaitTimeoutError: The deadline passed.
        """
        if self._is_over:
            return
        pending = [task_id for _, task_id in self.pending()]
        if self._is_closed:
            raise WaiterClosedError(f"the TaskWaiter was closed under a wait for {few(pending)}")
        raise WaitTimeoutError.after(timeout or 0.0, pending, self.outcomes)

    def failure(self, shown: tuple[type[EcsWaiterError], ...] = ()) -> EcsWaiterError | None:
        """What to raise for the errors among the outcomes, but for those `shown` already: one as itself, or a group."""
        if not self.has_failed:
            return None
        results = self.outcomes
        failures = [error for error in results.values() if isinstance(error, EcsWaiterError)]
        # An error of a whole region stands under each of its IDs, and is one error.
        errors = list({id(error): error for error in failures if not isinstance(error, shown)}.values())
        if not errors:
            return None
        if len(self.targets) == 1 or (len(errors) == 1 and id(errors[0]) in self._regional):
            return errors[0]
        told = "; ".join(str(error) for error in errors[:_TOLD])
        more = f"; and {len(errors) - _TOLD} more" if len(errors) > _TOLD else ""
        return TasksFailedError(
            f"{len(failures)} of {len(self.targets)} tasks did not finish: {told}{more}",
            errors,
            results=results,
            pending=[task_id for _, task_id in self.pending()],
        )

    def _wake(self) -> None:
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)


class Submitted:
    """The Watcher of one future; `error` is what it was resolved with, for whoever may not take it off the future."""

    __slots__ = ("_future", "error")

    sees_changes = False
    needs_reason = True
    looks_once = False

    def __init__(self, future: asyncio.Future[Task]) -> None:
        self._future = future
        self.error: EcsWaiterError | None = None

    def tasks_finished(self, tasks: Sequence[Task]) -> None:
        """Resolve the future."""
        if not self._future.done():
            (task,) = tasks
            self._future.set_result(task)

    def task_failed(self, task_id: str, error: EcsWaiterError, *, is_regional: bool) -> None:  # noqa: ARG002 - a Watcher
        """Resolve the future."""
        if not self._future.done():
            self.error = error
            self._future.set_exception(error)

    def task_changed(self, task: Task) -> None:
        """A future tells no changes."""

    def task_looked_at(self, task_id: str) -> None:
        """A future has no deadline."""
