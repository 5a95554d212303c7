"""The metrics: what they count, for how long, and that they agree with the waiter's own statistics."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.helpers import ELSEWHERE, REASON, REGION, every

from ecs_waiter import TaskWaiter

if TYPE_CHECKING:
    from support.collecting import Collected

    from ecs_waiter.emulator import EcsEmulator

COUNTS = {"ecs_waiter.calls": "calls", "ecs_waiter.throttled_calls": "throttled", "ecs_waiter.retries": "retried"}


@pytest.mark.asyncio
async def test_counts(virtual_ecs: EcsEmulator, collected: Collected) -> None:
    """Calls, throttled calls, retries and waiting tasks are those of `stats`, region by region, at any time."""
    virtual_ecs.inject("throttle", region_id=ELSEWHERE, times=2)
    ids = {
        REGION: [virtual_ecs.add_task(duration=60)],
        ELSEWHERE: [virtual_ecs.add_task(region_id=ELSEWHERE, duration=90)],
    }
    async with TaskWaiter() as waiter:
        wait = asyncio.create_task(waiter.wait(ids))
        await asyncio.sleep(70)
        for name, field in {**COUNTS, "ecs_waiter.waiting_tasks": "waiting"}.items():
            told = {(region_id,): getattr(stats, field) for region_id, stats in waiter.stats.regions.items()}
            assert collected.points(name) == told
        assert collected.points("ecs_waiter.throttled_calls") == {(REGION,): 0, (ELSEWHERE,): 2}
        assert collected.points("ecs_waiter.waiting_tasks") == {(REGION,): 0, (ELSEWHERE,): 1}
        await wait


@pytest.mark.asyncio
async def test_counts_outlive_their_waiters(virtual_ecs: EcsEmulator, collected: Collected) -> None:
    """The counts of waiters that are closed and of those that are open add up: a counter never falls."""
    seen = 0
    for _ in range(3):
        async with TaskWaiter() as waiter:
            await waiter.wait([virtual_ecs.add_task(duration=10)], region_id=REGION)
            seen += waiter.stats.regions[REGION].calls
            assert collected.points("ecs_waiter.calls") == {(REGION,): seen}
    assert collected.points("ecs_waiter.calls") == {(REGION,): len(virtual_ecs.requests)}
    assert collected.points("ecs_waiter.waiting_tasks") == {}


@pytest.mark.asyncio
async def test_settled_by_outcome(virtual_ecs: EcsEmulator, collected: Collected) -> None:
    """Each task counts once, under what became of it, however many wait for it."""
    virtual_ecs.inject("reject", task_id="t-bad")
    ids = [
        virtual_ecs.add_task(duration=5),
        virtual_ecs.add_task(duration=5, outcome="Failed", error=REASON),
        virtual_ecs.add_task(duration=5, outcome="Deleted"),
        virtual_ecs.add_task(task_id="t-bad"),
        "t-unknown",
    ]
    async with TaskWaiter() as waiter:
        waits = (waiter.wait(ids, region_id=REGION, return_exceptions=True) for _ in range(3))
        await asyncio.gather(*waits)
        settled = waiter.stats.regions[REGION].settled
    assert collected.points("ecs_waiter.settled_tasks") == {
        (REGION, outcome): 1 for outcome in ("finished", "failed", "canceled", "error", "not_found")
    }
    assert settled == len(ids)


@pytest.mark.asyncio
async def test_promptness_and_age(virtual_ecs: EcsEmulator, collected: Collected) -> None:
    """Both are told in seconds by the service's own clock, whatever the local one says."""
    virtual_ecs.inject("clock", offset=5000)
    await asyncio.sleep(0.5)
    task_id = virtual_ecs.add_task(duration=61)
    async with TaskWaiter(policy=every(10)) as waiter:
        await waiter.wait([task_id], region_id=REGION)
    assert collected.points("ecs_waiter.task.promptness") == {(REGION, "finished"): 9}
    assert collected.points("ecs_waiter.task.age") == {(REGION, "finished"): 70}


@pytest.mark.asyncio
async def test_promptness_counts_what_was_watched(virtual_ecs: EcsEmulator, collected: Collected) -> None:
    """An end that happened before anybody waited has no promptness; one between submission and first poll has."""
    over = [virtual_ecs.add_task(duration=4), virtual_ecs.add_task(duration=4, outcome="Failed")]
    during = virtual_ecs.add_task(duration=102)
    await asyncio.sleep(100)
    async with TaskWaiter(policy=every(10)) as waiter:
        await waiter.wait(over, region_id=REGION, return_exceptions=True)
    assert collected.points("ecs_waiter.task.promptness") == {}
    assert set(collected.points("ecs_waiter.task.age")) == {(REGION, "finished"), (REGION, "failed")}
    virtual_ecs.inject("throttle", retry_after=5, times=1)
    async with TaskWaiter(policy=every(10)) as waiter:
        await waiter.wait([during], region_id=REGION)
    assert collected.points("ecs_waiter.task.promptness") == {(REGION, "finished"): 3}


@pytest.mark.asyncio
async def test_times_that_are_not_told(virtual_ecs: EcsEmulator, collected: Collected) -> None:
    """A task whose times the service does not tell counts, and has no promptness and no age."""

    def change(answer: dict[str, Any]) -> dict[str, Any]:
        row = answer["TaskSet"]["Task"][0]
        row["CreationTime"] = row["FinishedTime"] = ""
        return answer

    virtual_ecs.inject("rewrite", change=change)
    async with TaskWaiter() as waiter:
        await waiter.wait([virtual_ecs.add_task()], region_id=REGION)
    assert collected.points("ecs_waiter.settled_tasks") == {(REGION, "finished"): 1}
    assert collected.points("ecs_waiter.task.promptness") == collected.points("ecs_waiter.task.age") == {}


def test_a_forked_child() -> None:
    """A process that is forked while the counts are being read makes waiters as if nothing had been."""
    code = (
        "import os; from ecs_waiter.telemetry import _shared; from ecs_waiter import TaskWaiter\n"
        "_, meters = _shared()\n"
        "meters._lock.acquire()\n"
        "if os.fork() == 0: TaskWaiter(); os._exit(7)\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]))"
    )
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=30, check=False)  # noqa: S603 - ours
    assert run.returncode == 7


def test_an_sdk_that_comes_late() -> None:
    """What is worked out for nobody at first is told once a program has set up its SDK."""
    code = (
        "from datetime import UTC, datetime\n"
        "from opentelemetry.metrics import set_meter_provider\n"
        "from opentelemetry.sdk.metrics import MeterProvider\n"
        "from opentelemetry.sdk.metrics.export import InMemoryMetricReader\n"
        "from ecs_waiter import Task\n"
        "from ecs_waiter.telemetry import telemetry\n"
        "told = telemetry(dict)\n"
        "created = datetime.fromtimestamp(1000, UTC)\n"
        "task = Task(region_id='cn-hangzhou', task_id='t-1', creation_time=created)\n"
        "told.settled('cn-hangzhou', 'finished', [task], [0.0], 1500.0)\n"
        "reader = InMemoryMetricReader()\n"
        "set_meter_provider(MeterProvider([reader]))\n"
        "told.settled('cn-hangzhou', 'finished', [task], [0.0], 1060.0)\n"
        "(scope,) = reader.get_metrics_data().resource_metrics[0].scope_metrics\n"
        "ages = [p for m in scope.metrics if m.name == 'ecs_waiter.task.age' for p in m.data.data_points]\n"
        "print([(point.count, point.sum) for point in ages])\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603 - ours
    assert done.stdout == "[(1, 60.0)]\n", done.stderr
