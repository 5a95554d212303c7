"""How the command follows its tasks: one subscription for all, of which nothing heavy is kept."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from support.crowds import REGION, Crowd, ids
from support.helpers import turns

from ecs_waiter import (
    EcsWaiterError,
    PollPolicy,
    Task,
    TaskWaiter,
)
from ecs_waiter.cli.inputs import TaskRef
from ecs_waiter.cli.interrupt import Stop
from ecs_waiter.cli.outcomes import WatchedTasks
from ecs_waiter.cli.reporting import Reporter
from ecs_waiter.cli.watching import End, Watch
from ecs_waiter.testing.virtual_time import virtual_time

if TYPE_CHECKING:
    from ecs_waiter.cli.outcomes import Record
    from ecs_waiter.emulator import EcsEmulator

MANY = 50_000
FOREVER = 1e9


def nothing(_line: object) -> None:
    """Nobody is shown anything."""


def held(kind: type) -> int:
    """How many of a kind are alive."""
    gc.collect()
    return sum(isinstance(thing, kind) for thing in gc.get_objects())


@pytest.mark.parametrize("longest", [1.0, FOREVER], ids=["finished", "pending"])
def test_many_tasks(longest: float) -> None:
    """Following 50,000 tasks holds neither a future, a timer nor a loop task for each, and next to none of their Tasks."""

    async def follow() -> None:
        refs = [TaskRef(REGION, task_id) for task_id in ids(MANY)]
        progress, stop = WatchedTasks(refs), Stop()
        finished: Counter[str] = Counter()
        with Crowd(PollPolicy(), longest).behind() as waiter:
            async with waiter:
                before = held(Task)
                watch = Watch(waiter, progress, Reporter(nothing), stop)
                watch.on_finished = lambda record, _: finished.update([record.outcome])
                wait = asyncio.create_task(watch.run(None, fail_fast=False))
                # At ten calls a second.
                await asyncio.sleep(MANY / 1000 + 20)
                assert held(asyncio.Future) < 100
                assert len(asyncio.all_tasks()) < 30
                assert held(asyncio.TimerHandle) < 30
                assert held(Task) - before < 2_000  # the last answers, and those that changed last
                stop.set()
                end = await wait
                await turns(3)
                assert sum(region.waiting for region in waiter.stats.regions.values()) == 0
        assert progress.outcomes().keys() == (
            {"pending", "finished", "failed", "canceled"} if longest == FOREVER else {"finished", "failed", "canceled"}
        )
        assert end is (End.STOPPED if longest == FOREVER else End.COMPLETE)
        assert finished == {word: count for word, count in progress.outcomes().items() if word != "pending"}
        assert not any(isinstance(record.task, Task) for record in progress.records())
        assert not any(isinstance(record.error, EcsWaiterError) for record in progress.records())

    with virtual_time():
        asyncio.run(follow())


@pytest.mark.asyncio
async def test_what_is_known_is_reported_at_a_stop(virtual_ecs: EcsEmulator) -> None:
    """A stop drops nothing that is known by then: a task known to have failed is not left pending."""
    virtual_ecs.inject("hang", action="DescribeTaskAttribute")
    failed = [virtual_ecs.add_task(outcome="Failed") for _ in range(150)]
    finished = [virtual_ecs.add_task() for _ in range(150)]
    endless = virtual_ecs.add_task(duration=FOREVER)
    progress, stop = WatchedTasks([TaskRef("cn-hangzhou", one) for one in (*failed, *finished, endless)]), Stop()
    finished_records: list[Record] = []
    async with TaskWaiter() as waiter:
        watch = Watch(waiter, progress, Reporter(nothing), stop)
        watch.on_finished = lambda record, _: finished_records.append(record)
        wait = asyncio.create_task(watch.run(None, fail_fast=False))
        await asyncio.sleep(5)
        stop.set()
        assert await wait is End.STOPPED
    assert progress.outcomes() == {"finished": 150, "failed": 150, "pending": 1}
    assert len(finished_records) == 300


@pytest.mark.asyncio
async def test_the_first_failure_drops_nothing(virtual_ecs: EcsEmulator) -> None:
    """The first failure ends the wait after everything that came with the same answer is noted."""
    finished = [virtual_ecs.add_task(task_id=f"t-{number}") for number in range(80)]
    canceled, endless = virtual_ecs.add_task(outcome="Deleted"), virtual_ecs.add_task(duration=FOREVER)
    progress, stop = WatchedTasks([TaskRef("cn-hangzhou", one) for one in (canceled, *finished, endless)]), Stop()
    async with TaskWaiter() as waiter:
        watch = Watch(waiter, progress, Reporter(nothing), stop)
        assert await watch.run(None, fail_fast=True) is End.FIRST_FAILURE
    assert progress.outcomes() == {"finished": 80, "canceled": 1, "pending": 1}
