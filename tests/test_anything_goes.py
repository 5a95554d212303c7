"""Many callers of every kind, on a bad day of the service: whatever happens, each is told the truth and nothing is left.

Everything is drawn from a seed, so that a failure can be looked at again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from support.helpers import ELSEWHERE, REGION, clock, collect, others
from tenacity import wait_exponential, wait_fixed

from ecs_waiter import (
    ApiError,
    PollPolicy,
    Task,
    TaskCanceledError,
    TaskError,
    TaskFailedError,
    TaskNotFoundError,
    TasksFailedError,
    TaskWaiter,
    WaitEvent,
    WaitTimeoutError,
    wait_proportional,
)

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio

Asked: TypeAlias = dict[str, list[str]]

TRUTH: dict[str, type] = {
    "Finished": Task,
    "Failed": TaskFailedError,
    "Deleted": TaskCanceledError,
    "unknown": TaskNotFoundError,
}
FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("status", {}),
    ("reset", {}),
    ("truncate", {}),
    ("throttle", {"retry_after": 3}),
    ("hang", {}),
    ("cut_short", {"rows": 20}),
    ("double", {}),
    ("foreign", {}),
    ("delay", {"seconds": 2}),
    ("body", {"content": "<html>"}),
]


class BadDay:
    """Tasks, faults and callers, all of one seed."""

    def __init__(self, ecs: EcsEmulator, seed: int) -> None:
        self.draw = random.Random(seed)
        self.ecs = ecs
        self.outcomes: dict[str, str] = {}
        self.regions: dict[str, str] = {}
        self.bad: set[str] = set()
        self.policy = PollPolicy(
            wait=self.draw.choice([wait_fixed(10), wait_exponential(max=30), wait_proportional()]),
            max_in_flight=self.draw.choice([1, 2, 4]),
            max_calls_per_second=self.draw.choice([2, 5, 10]),
            call_timeout=self.draw.choice([5, 30]),
            outage_budget=3600,
        )

    def add_tasks(self, count: int) -> None:
        """Add tasks of every outcome, and IDs of none."""
        for number in range(count):
            task_id, region_id = f"t-{number:04}", self.draw.choice([REGION, ELSEWHERE])
            outcome = self.draw.choices(list(TRUTH), [20, 3, 2, 1])[0]
            self.outcomes[task_id], self.regions[task_id] = outcome, region_id
            if outcome != "unknown":
                self.ecs.add_task(
                    task_id=task_id,
                    region_id=region_id,
                    outcome=outcome,
                    duration=self.draw.choice([0, 5, 60, 300]),
                    visible_after=self.draw.choice([0, 0, 0, 20]),
                )

    def add_faults(self, seed: int) -> None:
        """Let up to three kinds of faults strike by chance, and up to two IDs spoil their batches."""
        for kind, settings in self.draw.sample(FAULTS, self.draw.randint(0, 3)):
            self.ecs.inject(kind, probability=self.draw.choice([0.05, 0.15]), seed=seed, **settings)
        self.bad = set(self.draw.sample(sorted(self.outcomes), self.draw.randint(0, 2)))
        for task_id in self.bad:
            self.ecs.inject("reject", task_id=task_id, code=self.draw.choice(["InvalidTaskId.Malformed", "Weird"]))

    def check(self, task_id: str, outcome: object) -> None:
        """Check that an outcome is the truth of that very task."""
        if task_id in self.bad and isinstance(outcome, ApiError):
            return
        assert isinstance(outcome, TRUTH[self.outcomes[task_id]]), (task_id, outcome)
        assert outcome.task_id == task_id  # type: ignore[attr-defined]

    def check_partial(self, error: WaitTimeoutError | TasksFailedError, asked: Asked) -> None:
        """Check what an error says of a wait that ended before all of its tasks."""
        assert set(error.pending).isdisjoint(error.results)
        assert set(error.pending) | set(error.results) == ids_of(asked)
        for task_id, outcome in error.results.items():
            self.check(task_id, outcome)

    async def caller(self, waiter: TaskWaiter) -> None:
        """Wait for some tasks in some way, with or without a deadline."""
        await asyncio.sleep(self.draw.random() * 60)
        asked: Asked = {}
        for task_id in self.draw.sample(sorted(self.outcomes), self.draw.choice([1, 2, 40, 150])):
            asked.setdefault(self.regions[task_id], []).append(task_id)
        way = self.draw.choice([self.wait, self.fail_fast, self.iterate, self.follow, self.watch, self.submit])
        timeout = self.draw.choice([None, None, 0, 5, 100])
        start = clock()
        late = None
        try:
            await way(waiter, asked, timeout)
        except WaitTimeoutError as error:
            late = error
        if late is not None:
            assert timeout is not None
            patience = self.policy.call_timeout if timeout == 0 else 0
            assert clock() - start <= timeout + patience + 1e-6
            self.check_partial(late, asked)

    async def wait(self, waiter: TaskWaiter, asked: Asked, timeout: float | None) -> None:
        """Have errors as results."""
        results = await waiter.wait(asked, timeout=timeout, return_exceptions=True, on_update=lambda _task: None)
        assert list(results) == [task_id for ids in asked.values() for task_id in ids]
        for task_id, outcome in results.items():
            self.check(task_id, outcome)

    async def fail_fast(self, waiter: TaskWaiter, asked: Asked, timeout: float | None) -> None:
        """End at the first failure."""
        failed: TasksFailedError | TaskError | ApiError | None = None
        try:
            await waiter.wait(asked, timeout=timeout, fail_fast=True)
        except (TasksFailedError, TaskError, ApiError) as error:
            failed = error
        if isinstance(failed, TasksFailedError):
            self.check_partial(failed, asked)
        elif failed is not None:
            (task_id,) = ids_of(asked)
            self.check(task_id, failed)

    async def iterate(self, waiter: TaskWaiter, asked: Asked, timeout: float | None) -> None:
        """Take the outcomes as they come."""
        outcomes = await collect(waiter.as_completed(asked, timeout=timeout))
        of_tasks = [outcome for outcome in outcomes if not isinstance(outcome, ApiError)]
        assert len(outcomes) == len(ids_of(asked))
        assert {outcome.task_id for outcome in of_tasks} >= ids_of(asked) - self.bad
        for outcome in of_tasks:
            self.check(outcome.task_id, outcome)

    async def follow(self, waiter: TaskWaiter, asked: Asked, timeout: float | None) -> None:
        """Take every change."""
        last: dict[str, str] = {}
        with contextlib.suppress(TasksFailedError, TaskNotFoundError, ApiError):
            async for task in waiter.updates(asked, timeout=timeout):
                assert last.get(task.task_id) != task.task_status
                last[task.task_id] = task.task_status
        for task_id in ids_of(asked) - self.bad:
            assert last.get(task_id, "unknown") == self.outcomes[task_id]

    async def watch(self, waiter: TaskWaiter, asked: Asked, timeout: float | None) -> None:
        """Take every event: each task ends once, and no status comes twice in a row."""
        last: dict[str, WaitEvent] = {}
        pending: set[str] = set()
        try:
            async for event in waiter.events(asked, timeout=timeout):
                before = last.get(event.task_id)
                assert event.task_id in asked[event.region_id]
                assert before is None or not before.final
                assert event.final or before is None or event.task != before.task
                last[event.task_id] = event
        except WaitTimeoutError as error:
            pending = set(error.pending)
        ended = {task_id: event.error or event.task for task_id, event in last.items() if event.final}
        assert ended.keys() == ids_of(asked) - pending
        for task_id, outcome in ended.items():
            self.check(task_id, outcome)

    async def submit(self, waiter: TaskWaiter, asked: Asked, _timeout: float | None) -> None:
        """Take a future for each."""
        pairs = [(task_id, region_id) for region_id, ids in asked.items() for task_id in ids]
        futures = [waiter.submit(task_id, region_id=region_id) for task_id, region_id in pairs]
        outcomes = await asyncio.gather(*futures, return_exceptions=True)
        for (task_id, _), outcome in zip(pairs, outcomes, strict=True):
            self.check(task_id, outcome)


def ids_of(asked: Asked) -> set[str]:
    """All IDs of all regions."""
    return {task_id for ids in asked.values() for task_id in ids}


@pytest.mark.parametrize("seed", [*range(12), 156, 804])
async def test_a_bad_day(virtual_ecs: EcsEmulator, seed: int) -> None:
    """Whatever the service does and whoever leaves, all are told the truth in time, and nothing is left."""
    day = BadDay(virtual_ecs, seed)
    day.add_tasks(day.draw.choice([150, 300]))
    day.add_faults(seed)
    async with TaskWaiter(policy=day.policy) as waiter, asyncio.timeout(20_000):
        callers = [asyncio.create_task(day.caller(waiter)) for _ in range(day.draw.choice([3, 25]))]
        leaving = callers[::4]
        for caller in leaving:
            await asyncio.sleep(day.draw.random() * 30)
            caller.cancel()
        for caller in callers:
            try:
                await caller
            except asyncio.CancelledError:
                assert caller in leaving
        assert {region.waiting for region in waiter.stats.regions.values()} <= {0}
    assert others() == set()
    for region_id in (REGION, ELSEWHERE):
        seen = [request.at.timestamp() for request in virtual_ecs.requests if request.region_id == region_id]
        rate = int(day.policy.max_calls_per_second)
        assert all(later - at >= 1 - 2e-3 for at, later in zip(seen, seen[rate:], strict=False))
    for request in virtual_ecs.requests:
        if request.action == "DescribeTasks":
            assert request.params["PageSize"] == str(len(request.task_ids))
            assert list(request.task_ids) == sorted(set(request.task_ids))
