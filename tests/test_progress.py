"""`on_progress`: how far a wait is, after polls, at most once a second and at least every ten seconds."""

from __future__ import annotations

import asyncio
import threading
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from support.helpers import ELSEWHERE, REASON, REGION, add_tasks, every, failure

from ecs_waiter import (
    PollPolicy,
    Progress,
    TaskFailedError,
    TasksFailedError,
    TaskWaiter,
    WaitTimeoutError,
    blocking,
    progress_reports,
    run,
    wait_for_task,
    wait_for_tasks,
)
from ecs_waiter.progress_reports import measure

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator


@pytest.fixture(autouse=True)
def _region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIBABA_CLOUD_REGION_ID", REGION)


def _times(reports: list[Progress]) -> list[float]:
    return [round(each.elapsed, 3) for each in reports]


@pytest.mark.asyncio
class TestWhen:
    async def test_after_each_poll(self, virtual_ecs: EcsEmulator) -> None:
        """Polls that are seconds apart are reported at once, the last one too."""
        reports: list[Progress] = []
        await wait_for_task(virtual_ecs.add_task(duration=19), policy=every(5), on_progress=reports.append)
        assert _times(reports) == [0, 5, 10, 15, 20]
        assert [each.done for each in reports] == [0, 0, 0, 0, 1]

    async def test_once_a_second_at_most(self, virtual_ecs: EcsEmulator) -> None:
        """Of polls that are closer together, the last within a second is reported."""
        reports: list[Progress] = []
        await wait_for_task(virtual_ecs.add_task(duration=5), policy=every(0.3), on_progress=reports.append)
        apart = [after.elapsed - before.elapsed for before, after in pairwise(reports)]
        assert min(apart[:-1]) >= 1
        assert 5 <= len(reports) <= 7
        assert reports[-1].done == 1

    async def test_every_ten_seconds_at_least(self, virtual_ecs: EcsEmulator) -> None:
        """Between polls that are far apart, and while no call returns, it is reported how time passes."""
        reports: list[Progress] = []
        await wait_for_task(virtual_ecs.add_task(duration=30), policy=every(25), on_progress=reports.append)
        assert _times(reports) == [0, 10, 20, 25, 35, 45, 50]
        virtual_ecs.inject("hang")
        reports.clear()
        waiting = wait_for_task("t-1", timeout=25, policy=every(5), on_progress=reports.append)
        await failure(WaitTimeoutError, waiting)
        assert _times(reports) == [10, 20]

    async def test_only_of_its_own_regions(self, virtual_ecs: EcsEmulator) -> None:
        """Polls of other regions are not reported, those of other waits for the region are."""
        reports: list[Progress] = []
        async with TaskWaiter(policy=every(7)) as waiter:
            waiter.submit(virtual_ecs.add_task(duration=1e6))
            await asyncio.sleep(2)
            waiter.submit(virtual_ecs.add_task(duration=1e6, region_id=ELSEWHERE), region_id=ELSEWHERE)
            await asyncio.sleep(2)
            await waiter.wait([virtual_ecs.add_task(duration=13)], on_progress=reports.append)
        assert {round(each.elapsed + 4, 3) % 7 for each in reports} <= {0, 4}

    async def test_no_more_after_the_wait(self, virtual_ecs: EcsEmulator) -> None:
        """A wait that has ended, in whatever way, reports nothing more."""
        reports: list[Progress] = []
        failed = virtual_ecs.add_task(duration=12, outcome="Failed", error=REASON)
        endless = virtual_ecs.add_task(duration=1e6)
        async with TaskWaiter(policy=every(5)) as waiter:
            waiter.submit(endless)
            await failure(TasksFailedError, waiter.wait([failed, endless], fail_fast=True, on_progress=reports.append))
            await failure(WaitTimeoutError, waiter.wait([endless], timeout=12, on_progress=reports.append))
            waiting = asyncio.ensure_future(waiter.wait([endless], on_progress=reports.append))
            await asyncio.sleep(12)
            waiting.cancel()
            await failure(asyncio.CancelledError, waiting)
            loop: Any = asyncio.get_running_loop()
            timers = [timer for timer in loop._scheduled if "ProgressReports" in repr(timer) and not timer.cancelled()]
            assert timers == []
            so_far = len(reports)
            await asyncio.sleep(60)
            assert len(reports) == so_far >= 6

    async def test_less_often_where_it_takes_long(
        self, virtual_ecs: EcsEmulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where counting the tasks takes 0.3 s, it is done every 6 s."""

        async def slow(*arguments: Any) -> Progress:
            await asyncio.sleep(0.3)
            return await measure(*arguments)

        monkeypatch.setattr(progress_reports, "measure", slow)
        reports: list[Progress] = []
        await wait_for_task(virtual_ecs.add_task(duration=20), policy=every(2), on_progress=reports.append)
        assert [after.elapsed - before.elapsed for before, after in pairwise(reports)][:2] == pytest.approx([6.3, 6.3])


@pytest.mark.asyncio
class TestWhat:
    async def test_counts(self, virtual_ecs: EcsEmulator) -> None:
        """All, done and failed tasks, and tasks by status."""
        reports: list[Progress] = []
        ids = add_tasks(virtual_ecs, 3, duration=12)
        ids.append(virtual_ecs.add_task(duration=3, outcome="Failed", error=REASON))
        ids.append(virtual_ecs.add_task(duration=3, outcome="Deleted"))
        ids.append(virtual_ecs.add_task(duration=22, status="Waiting"))
        ids.append("t-unknown")
        policy = every(5, not_found_grace=13)
        await wait_for_tasks(ids, policy=policy, return_exceptions=True, on_progress=reports.append)
        counts = {round(each.elapsed): (each.done, each.failed, each.by_status) for each in reports}
        assert {each.total for each in reports} == {7}
        assert counts[0] == (0, 0, {"Processing": 5, "Waiting": 1})
        assert counts[10] == (2, 2, {"Processing": 3, "Waiting": 1, "Failed": 1, "Deleted": 1})
        assert counts[18] == (6, 3, {"Finished": 3, "Waiting": 1, "Failed": 1, "Deleted": 1})
        assert reports[-1].done == 7
        assert reports[-1].by_status == {"Finished": 4, "Failed": 1, "Deleted": 1}

    async def test_faults(self, virtual_ecs: EcsEmulator) -> None:
        """Regions that do not respond at present are named, with their last error."""
        reports: list[Progress] = []
        ids = {region_id: [virtual_ecs.add_task(duration=60, region_id=region_id)] for region_id in (REGION, ELSEWHERE)}
        virtual_ecs.inject("status", region_id=ELSEWHERE, times=4)
        await wait_for_tasks(ids, policy=every(5), on_progress=reports.append)
        named = [sorted(each.faults) for each in reports]
        assert [ELSEWHERE] in named
        assert named[-1] == []
        fault = next(each.faults[ELSEWHERE] for each in reports if each.faults)
        assert fault.http_status == 503

    async def test_the_time_left(self, virtual_ecs: EcsEmulator) -> None:
        """While tasks go on whose operation is known, the time left of the last of them; None at the end."""
        await wait_for_tasks(add_tasks(virtual_ecs, 20, duration=600), policy=every(5))
        reports: list[Progress] = []
        await wait_for_tasks([virtual_ecs.add_task(duration=600)], policy=every(5), on_progress=reports.append)
        for each in reports[:-2]:
            assert each.eta is not None
            assert each.eta.median == pytest.approx(600 - each.elapsed, abs=10)
        assert reports[-1].eta is None

    async def test_no_time_left_of_an_unknown_operation(self, virtual_ecs: EcsEmulator) -> None:
        """One task about which nothing is known leaves the time of all open."""
        await wait_for_tasks(add_tasks(virtual_ecs, 20, duration=60), policy=every(5))
        reports: list[Progress] = []
        ids = [
            virtual_ecs.add_task(duration=60),
            virtual_ecs.add_task(duration=30, task_action="ExportImage"),
        ]
        await wait_for_tasks(ids, policy=every(5), on_progress=reports.append)
        assert [each.eta is not None for each in reports if 0 < each.elapsed < 60] == [False] * 5 + [True] * 6

    async def test_a_failure_whose_reason_is_looked_up(self, virtual_ecs: EcsEmulator) -> None:
        """A task that is known to have failed has no time left, even before its failure is reported."""
        await wait_for_tasks(add_tasks(virtual_ecs, 20, duration=60), policy=every(5))
        virtual_ecs.inject("hang", action="DescribeTaskAttribute")
        reports: list[Progress] = []
        failed = virtual_ecs.add_task(outcome="Failed", error=REASON)
        await failure(TaskFailedError, wait_for_task(failed, policy=every(5), on_progress=reports.append))
        assert {each.eta for each in reports} == {None}
        assert reports[-1].failed == 1

    async def test_many_tasks(self, virtual_ecs: EcsEmulator) -> None:
        """More tasks than a slice are counted too."""
        reports: list[Progress] = []
        await wait_for_tasks(add_tasks(virtual_ecs, 2500, duration=60), policy=every(30), on_progress=reports.append)
        assert {"Processing": 2500} in [each.by_status for each in reports]
        assert reports[-1].by_status == {"Finished": 2500}


@pytest.mark.asyncio
class TestCallbacks:
    async def test_every_way_to_wait(self, virtual_ecs: EcsEmulator) -> None:
        """All ways that take it call it: functions and methods, for one task, for several and for a start."""
        reports: list[Progress] = []
        options: Any = {"on_progress": reports.append}
        async with TaskWaiter() as waiter:
            for waiting in (
                wait_for_task(virtual_ecs.add_task(), **options),
                wait_for_tasks([virtual_ecs.add_task()], **options),
                run("ExportImage", params={"ImageId": "m-1", "OSSBucket": "b"}, **options),
                waiter.wait([virtual_ecs.add_task()], **options),
                waiter.wait_for_task(virtual_ecs.add_task(), **options),
                waiter.run("ExportImage", params={"ImageId": "m-1", "OSSBucket": "b"}, **options),
            ):
                reports.clear()
                await waiting
                assert reports[-1].done == 1

    async def test_what_it_raises(self, virtual_ecs: EcsEmulator) -> None:
        """What it raises is raised from its wait, and from no other."""
        task_id = virtual_ecs.add_task(duration=60)

        def fail(progress: Progress) -> None:
            if progress.elapsed:
                raise LookupError

        async with TaskWaiter(policy=every(5)) as waiter:
            future = waiter.submit(task_id)
            await failure(LookupError, waiter.wait([task_id], on_progress=fail))
            assert (await future).task_id == task_id

    async def test_no_async_function(self, virtual_ecs: EcsEmulator) -> None:
        """A coroutine function is rejected before any call, one that returns an awaitable at its first call."""

        async def note(_: Progress) -> None:
            """Do nothing."""

        with pytest.raises(TypeError, match="on_progress takes a regular function of one Progress"):
            await wait_for_task("t-1", on_progress=note)  # type: ignore[arg-type]
        assert not virtual_ecs.requests
        with pytest.raises(TypeError, match="on_progress takes a regular function of one Progress"):
            await wait_for_task(virtual_ecs.add_task(duration=5), on_progress=lambda progress: note(progress))  # type: ignore[arg-type]  # noqa: PLW0108

    async def test_beside_updates(self, virtual_ecs: EcsEmulator) -> None:
        """Both callbacks may be given; the progress comes after the changes that it counts."""
        seen: list[str] = []
        await wait_for_task(
            virtual_ecs.add_task(duration=12),
            policy=every(5),
            on_update=lambda task: seen.append(task.task_status),
            on_progress=lambda progress: seen.append(f"{progress.done} done"),
        )
        assert seen == ["Processing", "0 done", "0 done", "0 done", "Finished", "1 done"]


def test_without_a_loop(ecs_emulator: EcsEmulator) -> None:
    """The blocking functions call it in the thread that waits."""
    called_in: list[threading.Thread] = []
    reports: list[Progress] = []

    def note(progress: Progress) -> None:
        called_in.append(threading.current_thread())
        reports.append(progress)

    policy = PollPolicy(wait=every(0.02).wait)
    blocking.wait_for_task(ecs_emulator.add_task(duration=0.1), on_progress=note, policy=policy)
    blocking.wait_for_tasks([ecs_emulator.add_task(duration=0.1)], on_progress=note, policy=policy)
    blocking.run("ExportImage", params={"ImageId": "m-1", "OSSBucket": "b"}, on_progress=note, policy=policy)
    assert set(called_in) == {threading.current_thread()}
    assert sum(each.done for each in reports) == 3
