"""What a wait returns: which statuses settle a task, in which order results stand, what is asked of whom."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.helpers import ELSEWHERE, REGION, add_tasks, clock, every, failure, others, polls, since, timed, times

from ecs_waiter import (
    Task,
    TaskCanceledError,
    TaskFailedError,
    TaskNotFoundError,
    TaskStatus,
    TaskWaiter,
    WaitTimeoutError,
    wait_for_task,
    wait_for_tasks,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio


async def test_one_task(virtual_ecs: EcsEmulator) -> None:
    """wait_for_task returns the finished Task, whole."""
    task_id = virtual_ecs.add_task(duration=3600, task_action="ExportImage", resource_id="m-1")
    task = await wait_for_task(task_id, region_id=REGION, timeout=4000)
    assert isinstance(task, Task)
    assert (task.region_id, task.task_id) == (REGION, task_id)
    assert (task.task_action, task.task_status, task.resource_id) == ("ExportImage", TaskStatus.FINISHED, "m-1")
    assert task.creation_time is not None
    assert task.finished_time is not None
    assert (task.finished_time - task.creation_time).total_seconds() == 3600
    assert task.support_cancel is True


async def test_environment_names_the_region(virtual_ecs: EcsEmulator) -> None:
    """The region falls back to the environment's."""
    task_id = virtual_ecs.add_task()
    assert (await wait_for_task(task_id)).region_id == REGION


async def test_results_stand_in_the_order_asked(virtual_ecs: EcsEmulator) -> None:
    """Results are in the order asked, however the tasks end."""
    slow, quick, middle = (virtual_ecs.add_task(duration=seconds) for seconds in (30, 0, 15))
    tasks = await wait_for_tasks([slow, quick, middle], policy=every(10))
    assert list(tasks) == [slow, quick, middle]
    assert {task.task_status for task in tasks.values()} == {TaskStatus.FINISHED}


@pytest.mark.parametrize(
    "shape",
    [list, tuple, iter, dict.fromkeys, lambda ids: (task_id for task_id in ids), lambda ids: ids * 3],
    ids=["list", "tuple", "iterator", "keys", "generator", "duplicates"],
)
async def test_any_iterable_of_ids(virtual_ecs: EcsEmulator, shape: Callable[[list[str]], Iterable[str]]) -> None:
    """IDs may come in any iterable but a mapping, and as often as one likes: each is asked once."""
    ids = [virtual_ecs.add_task() for _ in range(3)]
    shaped = shape(ids)
    tasks = await wait_for_tasks(list(shaped) if isinstance(shaped, dict) else shaped)
    assert list(tasks) == ids
    assert [request.task_ids for request in virtual_ecs.requests] == [tuple(sorted(ids))]


async def test_sets(virtual_ecs: EcsEmulator) -> None:
    """A set of IDs is as good as a list."""
    ids = {virtual_ecs.add_task() for _ in range(3)}
    assert set(await wait_for_tasks(ids)) == ids
    assert set(await wait_for_tasks(frozenset(ids))) == ids


async def test_a_mapping_names_regions(virtual_ecs: EcsEmulator) -> None:
    """A mapping asks each region for its own IDs, whatever iterables hold them, and an empty region for nothing."""
    near = virtual_ecs.add_task()
    far = [virtual_ecs.add_task(region_id=ELSEWHERE) for _ in range(2)]
    tasks = await wait_for_tasks({ELSEWHERE: iter(far), REGION: {near}, "cn-beijing": []})
    assert list(tasks) == [*far, near]
    assert [tasks[task_id].region_id for task_id in tasks] == [ELSEWHERE, ELSEWHERE, REGION]
    asked = {request.region_id: request.task_ids for request in virtual_ecs.requests}
    assert asked == {REGION: (near,), ELSEWHERE: tuple(sorted(far))}


@pytest.mark.parametrize("nothing", [[], (), {}, set(), iter(()), {REGION: []}, {REGION: (), ELSEWHERE: []}])
@pytest.mark.parametrize("timeout", [None, 0, 5])
async def test_nothing_to_wait_for(virtual_ecs: EcsEmulator, nothing: Any, timeout: float | None) -> None:
    """No IDs at all is an empty result at once and no call."""
    start = clock()
    assert await wait_for_tasks(nothing, timeout=timeout) == {}
    assert since(start) == 0
    assert virtual_ecs.requests == []


async def test_nothing_needs_no_region(virtual_ecs: EcsEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """No IDs need no region."""
    monkeypatch.delenv("ALIBABA_CLOUD_REGION_ID")
    assert await wait_for_tasks([]) == {}


@pytest.mark.parametrize("word", ["Deleted", "Canceled", "Cancelled"])
async def test_canceled_tasks(virtual_ecs: EcsEmulator, word: str) -> None:
    """A canceled or deleted task raises TaskCanceledError with the task."""
    task_id = virtual_ecs.add_task(outcome=word)
    error = await failure(TaskCanceledError, wait_for_task(task_id))
    assert (error.task_id, error.region_id) == (task_id, REGION)
    assert error.task is not None
    assert error.task.task_status == word


@pytest.mark.parametrize("word", ["Processing", "Waiting", "Pending", "Paused", "finished", "FAILED", "Success"])
async def test_other_words_are_not_terminal(virtual_ecs: EcsEmulator, word: str) -> None:
    """No other status settles a task: polling goes on."""
    task_id = virtual_ecs.add_task(status=word, duration=1e9)
    error = await failure(WaitTimeoutError, wait_for_task(task_id, timeout=35, policy=every(10)))
    assert error.pending == (task_id,)
    assert times(virtual_ecs) == [0, 10, 20, 30]


async def test_an_odd_word_is_logged_once(virtual_ecs: EcsEmulator, caplog: pytest.LogCaptureFixture) -> None:
    """A status that the documentation does not name is logged once a word, as a warning of `ecs_waiter`."""
    ids = [virtual_ecs.add_task(status="Weird", duration=1e9) for _ in range(2)]
    ids.append(virtual_ecs.add_task(outcome="Paused"))
    async with TaskWaiter(policy=every(10)) as waiter:
        await asyncio.gather(*(failure(WaitTimeoutError, waiter.wait(ids, timeout=25)) for _ in range(2)))
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("ecs_waiter", logging.WARNING)
    assert "'Weird'" in record.getMessage()


async def test_a_flood_of_odd_words(virtual_ecs: EcsEmulator, caplog: pytest.LogCaptureFixture) -> None:
    """A flood of odd words does not flood the log."""
    ids = [virtual_ecs.add_task(status=f"Weird{number}", duration=1e9) for number in range(90)]
    await failure(WaitTimeoutError, wait_for_tasks(ids, timeout=25, policy=every(10)))
    assert 1 <= len(caplog.records) <= 25


async def test_an_odd_word_cannot_forge_a_log_line(virtual_ecs: EcsEmulator, caplog: pytest.LogCaptureFixture) -> None:
    """An odd word stays one line of the log, whatever it holds and however long it is."""
    task_id = virtual_ecs.add_task(status="Weird\nERROR forged \x1b[31m" + "x" * 10_000, duration=1e9)
    await failure(WaitTimeoutError, wait_for_task(task_id, timeout=5))
    (record,) = caplog.records
    assert record.getMessage().isprintable()
    assert len(record.getMessage()) < 500


async def test_what_has_settled_stays_settled(virtual_ecs: EcsEmulator) -> None:
    """A task that goes backwards after its end harms nobody: its wait has its result."""
    early, late = virtual_ecs.add_task(duration=5), virtual_ecs.add_task(duration=25)
    async with TaskWaiter(policy=every(10)) as waiter:
        future = waiter.submit(early)
        waiting = asyncio.ensure_future(waiter.wait([early, late]))
        await asyncio.sleep(12)
        virtual_ecs.inject("backwards", task_id=early)
        tasks = await waiting
        assert tasks[early].task_status == TaskStatus.FINISHED
        assert (await future).task_status == TaskStatus.FINISHED


async def test_asked_again_after_the_end(virtual_ecs: EcsEmulator) -> None:
    """An ID asked again after it settled is polled anew."""
    task_id = virtual_ecs.add_task()
    async with TaskWaiter() as waiter:
        for times_asked in (1, 2, 3):
            await waiter.wait([task_id])
            assert polls(virtual_ecs) == [(0, 1)] * times_asked


async def test_return_exceptions(virtual_ecs: EcsEmulator) -> None:
    """With return_exceptions every ID has its Task or its own error, in the order asked."""
    failed = virtual_ecs.add_task(outcome="Failed")
    canceled = virtual_ecs.add_task(outcome="Deleted")
    finished = virtual_ecs.add_task()
    results = await wait_for_tasks([failed, canceled, finished], return_exceptions=True)
    kinds = [(task_id, type(result)) for task_id, result in results.items()]
    assert kinds == [(failed, TaskFailedError), (canceled, TaskCanceledError), (finished, Task)]


async def test_a_future_is_the_tasks_own(virtual_ecs: EcsEmulator) -> None:
    """Futures resolve per task, by the very answer that settles each, not with others of their call."""
    quick, slow = virtual_ecs.add_task(duration=5), virtual_ecs.add_task(duration=95)
    start = clock()
    async with TaskWaiter(policy=every(10)) as waiter:
        first, second = waiter.submit(quick), waiter.submit(slow, region_id=REGION)
        assert isinstance(first, asyncio.Future)
        assert (await first).task_id == quick
        assert since(start) == 10
        assert not second.done()
        assert (await second).task_id == slow
        assert since(start) == 100


async def test_an_hour_is_exactly_repeatable(virtual_ecs: EcsEmulator) -> None:
    """With an exact cadence a wait ends at the first poll after the task's end."""
    task_id = virtual_ecs.add_task(duration=3595)
    start = clock()
    await wait_for_task(task_id, policy=every(30))
    assert since(start) == 3600
    assert len(virtual_ecs.requests) == 121


async def test_a_slow_region_delays_no_other(virtual_ecs: EcsEmulator) -> None:
    """Regions run side by side: one that hangs holds no other back."""
    virtual_ecs.inject("hang", region_id=ELSEWHERE, times=1)
    near = virtual_ecs.add_task(duration=5)
    far = virtual_ecs.add_task(duration=5, region_id=ELSEWHERE)
    async with TaskWaiter(policy=every(10)) as waiter:
        (first, one), (last, other) = await timed(waiter.as_completed({ELSEWHERE: [far], REGION: [near]}))
    assert (first, one.task_id) == (10, near)
    assert (last > 30, other.task_id) == (True, far)


async def test_stats(virtual_ecs: EcsEmulator) -> None:
    """`stats` is a frozen snapshot of each region's calls, polls, settled, throttled, retried and waiting."""
    done, failed = virtual_ecs.add_task(), virtual_ecs.add_task(outcome="Failed")
    running = virtual_ecs.add_task(duration=1e9)
    virtual_ecs.inject("throttle", times=1)
    async with TaskWaiter(policy=every(10)) as waiter:
        assert dict(waiter.stats.regions) == {}
        before = waiter.stats
        waiter.submit(running)
        await waiter.wait([done, failed], return_exceptions=True)
        stats = waiter.stats.regions[REGION]
        assert dict(before.regions) == {}
        assert (stats.calls, stats.polls) == (3, 2)  # a throttled poll, its repetition, one look-up
        assert (stats.settled, stats.throttled, stats.retried, stats.waiting) == (2, 1, 1, 1)
        with pytest.raises(AttributeError):
            stats.calls = 0  # type: ignore[misc]
        with pytest.raises(TypeError):
            waiter.stats.regions[REGION] = stats  # type: ignore[index]


async def test_the_emptied_schedule_costs_nothing(virtual_ecs: EcsEmulator) -> None:
    """A waiter that nobody waits on makes no calls, and takes up work again."""
    async with TaskWaiter(policy=every(1)) as waiter:
        await waiter.wait([virtual_ecs.add_task()])
        await asyncio.sleep(1000)
        assert len(virtual_ecs.requests) == 1
        await waiter.wait([virtual_ecs.add_task()])
        assert times(virtual_ecs) == [0, 1000]


async def test_thousands_of_ids(virtual_ecs: EcsEmulator) -> None:
    """Thousands of IDs are waited for like a few."""
    ids = add_tasks(virtual_ecs, 5000)
    tasks = await wait_for_tasks(ids)
    assert list(tasks) == ids
    assert len(virtual_ecs.requests) == 50


async def test_one_id_in_two_regions_by_two_waits(virtual_ecs: EcsEmulator) -> None:
    """The same ID in two regions is two tasks, where two waits ask for it."""
    task_id = virtual_ecs.add_task()
    async with TaskWaiter(policy=every(10)) as waiter:
        here = waiter.submit(task_id)
        there = waiter.submit(task_id, region_id=ELSEWHERE)
        assert (await here).region_id == REGION
        await failure(TaskNotFoundError, there)


@pytest.mark.parametrize("timeout", [1e9, 1e300, 10**12])
async def test_a_long_timeout(virtual_ecs: EcsEmulator, timeout: float) -> None:
    """A timeout may be as long as one likes."""
    assert await wait_for_task(virtual_ecs.add_task(duration=30), timeout=timeout)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
async def test_eager_tasks(virtual_ecs: EcsEmulator) -> None:
    """On a loop whose tasks start eagerly everything is as on any other."""
    ids = add_tasks(virtual_ecs, 250, duration=15)
    failed = virtual_ecs.add_task(outcome="Failed")
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined, unused-ignore]
    try:
        results = await wait_for_tasks([*ids, failed], return_exceptions=True, policy=every(10))
        assert isinstance(results[failed], TaskFailedError)
        policy = every(20)
        await asyncio.gather(*(wait_for_task(task_id, policy=policy) for task_id in ids))
    finally:
        loop.set_task_factory(None)
    assert [size for at, size in polls(virtual_ecs) if at == 20] == [100, 100, 50] * 2


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
async def test_eager_tasks_of_many_submissions(virtual_ecs: EcsEmulator) -> None:
    """On such a loop, too, one task of the loop polls a region, whoever comes and goes."""
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined, unused-ignore]
    try:
        async with TaskWaiter(policy=every(10)) as waiter:
            before = others()
            first = waiter.submit(virtual_ecs.add_task(duration=400))
            for _ in range(20):
                await asyncio.sleep(16)
                waiter.submit(virtual_ecs.add_task(duration=5))
                await asyncio.sleep(1)
                assert len(others() - before) <= 1
            await first
    finally:
        loop.set_task_factory(None)
