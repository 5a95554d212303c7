"""ProgressReports: how far a wait is, and how often that is reported."""

from __future__ import annotations

import math
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from ecs_waiter.errors import TaskCanceledError, TaskFailedError
from ecs_waiter.models import Task
from ecs_waiter.polling.durations import eta_of_all
from ecs_waiter.progress import Progress
from ecs_waiter.runtimes import running_loop
from ecs_waiter.slices import in_slices

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ecs_waiter.errors import ApiError
    from ecs_waiter.polling.durations import Durations
    from ecs_waiter.polling.poller import RegionPoller
    from ecs_waiter.wait import Wait

__all__ = ["ProgressReports", "measure"]

_GROUPS_PER_LOG = 20
_SOONEST = 1.0
_LATEST = 10.0
_REST = 20
"""How many times as long as it took to measure a wait the next time has to wait."""


_Pending: TypeAlias = "dict[tuple[tuple[str | None, str], int], tuple[int, float]]"
"""What was last seen of tasks and the logarithm of their ages -> how many there are, and the age of the youngest."""


async def measure(wait: Wait, poller: Callable[[str], RegionPoller]) -> Progress:
    """Return how far a wait is; `poller` returns the poller of a region."""
    by_status: Counter[str] = Counter()
    faults: dict[str, ApiError] = {}
    left: list[tuple[Durations | None, float, float]] = []
    for region_id, task_ids in wait.targets.regions.items():
        one = poller(region_id)
        if one.fault is not None:
            faults[region_id] = one.fault
        pending: _Pending = {}
        await in_slices(task_ids, partial(_count, wait, one, by_status, pending))
        for ((status, action), _), (tasks, age) in pending.items():
            if status is not None:
                by_status[status] += tasks
            left.append((None if status is None else one.learner.find(action), age, tasks))
    return Progress(
        total=len(wait.targets),
        done=len(wait.targets) - wait.pending,
        failed=wait.failures.total(),
        by_status=dict(by_status),
        elapsed=wait.elapsed,
        eta=eta_of_all(left),
        faults=faults,
    )


def _count(
    wait: Wait,
    poller: RegionPoller,
    by_status: Counter[str],
    pending: _Pending,
    task_ids: list[str],
) -> None:
    for task_id in task_ids:
        outcome = wait.outcomes.get(task_id)
        if outcome is None:
            entry = poller.find(task_id)
            # None if it has failed, and its details are being looked up.
            if entry is not None:
                age = poller.learner.age(entry.created_at)
                group = entry.seen, int(_GROUPS_PER_LOG * math.log(age + 1))
                tasks, youngest = pending.get(group, (0, age))
                pending[group] = tasks + 1, min(youngest, age)
        elif isinstance(outcome, Task):
            by_status[str(outcome.task_status)] += 1
        elif isinstance(outcome, TaskFailedError | TaskCanceledError) and outcome.task is not None:
            by_status[str(outcome.task.task_status)] += 1


class ProgressReports:
    """Reports the progress of a wait: after polls, at most once a second and at least every ten seconds.

    Args:
        wait: The wait, whose coroutine calls back.
        poller: Returns the poller of a region.
        on_progress: Is called with each Progress.
    """

    def __init__(
        self, wait: Wait, poller: Callable[[str], RegionPoller], on_progress: Callable[[Progress], None]
    ) -> None:
        self._wait = wait
        self._poller = poller
        self._on_progress = on_progress
        self._loop = running_loop()
        self._next_at = -math.inf
        self._is_due = False
        wait.report = self.report
        self._timer: asyncio.TimerHandle | None = None
        self._set_timer(_LATEST)

    def polled(self, region_id: str) -> None:
        """A poll of a region has ended."""
        if region_id in self._wait.targets.regions:
            self._set_timer(max(0.0, self._next_at - self._loop.time()))

    async def report(self) -> None:
        """Call back if it is time to."""
        if self._is_due:
            await self.report_now()

    async def report_now(self) -> None:
        """Call back."""
        began_at = self._loop.time()
        progress = await measure(self._wait, self._poller)
        now = self._loop.time()
        # A million tasks take a while to count.
        self._next_at = now + min(_LATEST, max(_SOONEST, _REST * (now - began_at)))
        self._is_due = False
        self._set_timer(_LATEST)
        self._on_progress(progress)

    def close(self) -> None:
        """Report no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _set_timer(self, seconds: float) -> None:
        self.close()
        self._timer = self._loop.call_later(seconds, self._wake)

    def _wake(self) -> None:
        self._is_due = True
        self._wait.wake()
