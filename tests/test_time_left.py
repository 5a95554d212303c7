"""How long tasks take is learned from those that finish, and gives the time left of others."""

from __future__ import annotations

import asyncio
import itertools
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from support.helpers import ELSEWHERE, REASON, REGION, every, turns

from ecs_waiter import Eta, PollPolicy, TaskWaiter, wait_for_tasks
from ecs_waiter.api.limiter import Priority, RegionLimiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecs_waiter.emulator import EcsEmulator
    from ecs_waiter.emulator.wire import Request

EXACT = every(5)
ACCOUNT = every(5, history="account")


def _tasks(ecs: EcsEmulator, count: int, **plan: Any) -> list[str]:
    return [ecs.add_task(**plan) for _ in range(count)]


async def _finish(
    ecs: EcsEmulator, count: int = 10, *, seconds: float = 600, policy: PollPolicy = EXACT, **plan: Any
) -> None:
    await wait_for_tasks(_tasks(ecs, count, duration=seconds, **plan), policy=policy, return_exceptions=True)


async def _eta(ecs: EcsEmulator, *, age: float = 0, policy: PollPolicy = EXACT, **plan: Any) -> Eta | None:
    """The time left of a new task when it has that age."""
    async with TaskWaiter(policy=policy) as waiter:
        task_id = ecs.add_task(duration=1e6, **plan)
        waiter.submit(task_id)
        await asyncio.sleep(age + 0.1)
        return waiter.eta(task_id)


def _rewrite(ecs: EcsEmulator, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change each row of every answer."""

    def rewritten(content: dict[str, Any]) -> dict[str, Any]:
        return {**content, "TaskSet": {"Task": [change(row) for row in content["TaskSet"]["Task"]]}}

    ecs.inject("rewrite", change=rewritten)


def _by_the_minute(value: str) -> str:
    return re.sub(r"(T\d\d:\d\d):\d\dZ$", r"\1Z", value)


def _pages(ecs: EcsEmulator) -> list[Request]:
    """The requests for tasks that finished before."""
    return [request for request in ecs.requests if request.params.get("TaskStatus") == "Finished"]


def suspend(seconds: float) -> None:
    """Let time pass in which the loop does not run."""
    clock: Any = asyncio.get_running_loop().time
    clock.__self__.jump(seconds)


@pytest.fixture(autouse=True)
def _region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIBABA_CLOUD_REGION_ID", REGION)


@pytest.mark.asyncio
class TestLearning:
    async def test_from_what_finished(self, virtual_ecs: EcsEmulator) -> None:
        """After ten tasks of ten minutes, a new one has about ten minutes left, and less when it is older."""
        await _finish(virtual_ecs)
        for age, left in ((0, 600), (400, 200)):
            eta = await _eta(virtual_ecs, age=age)
            assert eta is not None
            assert 0 < eta.low <= eta.median <= eta.high
            assert eta.median == pytest.approx(left, abs=5)

    async def test_from_ten_at_least(self, virtual_ecs: EcsEmulator) -> None:
        """Nine tasks are too few."""
        await _finish(virtual_ecs, 9)
        assert await _eta(virtual_ecs) is None
        await _finish(virtual_ecs, 1)
        assert await _eta(virtual_ecs) is not None

    async def test_of_each_operation(self, virtual_ecs: EcsEmulator) -> None:
        """Each operation has its own durations."""
        await _finish(virtual_ecs, task_action="ExportImage")
        assert await _eta(virtual_ecs) is None
        assert await _eta(virtual_ecs, task_action="ExportImage") is not None

    async def test_in_all_regions(self, virtual_ecs: EcsEmulator) -> None:
        """What was learned in one region holds in another."""
        await _finish(virtual_ecs)
        async with TaskWaiter(policy=EXACT) as waiter:
            task_id = virtual_ecs.add_task(region_id=ELSEWHERE, duration=1e6)
            waiter.submit(task_id, region_id=ELSEWHERE)
            await asyncio.sleep(1)
            assert waiter.eta(task_id, region_id=ELSEWHERE) is not None
            assert waiter.eta(task_id) is None

    async def test_of_each_endpoint(self, virtual_ecs: EcsEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another endpoint is another service."""
        await _finish(virtual_ecs)
        monkeypatch.setenv("ECS_WAITER_ENDPOINT", f"{virtual_ecs.url}/")
        assert await _eta(virtual_ecs) is not None
        monkeypatch.setenv("ECS_WAITER_ENDPOINT", "http://localhost:1")
        assert await _eta(virtual_ecs) is None

    async def test_not_from_failures(self, virtual_ecs: EcsEmulator) -> None:
        """A task that failed or was canceled says nothing about how long others take."""
        await _finish(virtual_ecs, 20, outcome="Failed", error=REASON)
        await _finish(virtual_ecs, 20, outcome="Deleted")
        assert await _eta(virtual_ecs) is None

    async def test_not_if_it_is_off(self, virtual_ecs: EcsEmulator) -> None:
        """Without a history, nothing is learned and nothing is known."""
        off = every(5, history="off")
        await _finish(virtual_ecs, policy=off)
        assert await _eta(virtual_ecs) is None
        await _finish(virtual_ecs)
        assert await _eta(virtual_ecs, policy=off) is None

    async def test_from_all_ways_to_wait(self, virtual_ecs: EcsEmulator) -> None:
        """Futures teach as much as waits."""
        async with TaskWaiter(policy=EXACT) as waiter:
            await asyncio.gather(*map(waiter.submit, _tasks(virtual_ecs, 10, duration=600)))
        assert await _eta(virtual_ecs) is not None

    async def test_from_tasks_that_were_old_already(self, virtual_ecs: EcsEmulator) -> None:
        """A task counts from its creation, not from the first poll."""
        ids = _tasks(virtual_ecs, 10, duration=600)
        await asyncio.sleep(500)
        await wait_for_tasks(ids, policy=EXACT)
        eta = await _eta(virtual_ecs)
        assert eta is not None
        assert eta.median == pytest.approx(600, abs=5)

    async def test_exact_times_although_polls_are_rare(self, virtual_ecs: EcsEmulator) -> None:
        """The service's own times to the second are used, where polls are far apart."""
        await _finish(virtual_ecs, seconds=610, policy=every(100))
        eta = await _eta(virtual_ecs)
        assert eta is not None
        assert eta.low == pytest.approx(610, abs=2)
        assert eta.high == pytest.approx(610, abs=2)

    async def test_short_tasks(self, virtual_ecs: EcsEmulator) -> None:
        """Tasks that have ended at their first poll are learned if they were created by then."""
        await _finish(virtual_ecs, seconds=0)
        eta = await _eta(virtual_ecs)
        assert eta is not None
        assert eta.median < 1

    async def test_without_times(self, virtual_ecs: EcsEmulator) -> None:
        """Nothing is learned from tasks without a creation time."""
        _rewrite(virtual_ecs, lambda row: {**row, "CreationTime": ""})
        await _finish(virtual_ecs)
        assert await _eta(virtual_ecs) is None

    async def test_by_the_minute(self, virtual_ecs: EcsEmulator) -> None:
        """Where the service reports whole minutes only, the polls are more exact than its times."""
        _rewrite(virtual_ecs, lambda row: {name: _by_the_minute(value) for name, value in row.items()})
        await _finish(virtual_ecs, seconds=610)
        eta = await _eta(virtual_ecs)
        assert eta is not None
        # The age of the new task is uncertain, by up to a minute.
        assert eta.median == pytest.approx(610, abs=60)
        assert eta.high - eta.low < 10


def test_a_loop_of_its_own(virtual_ecs: EcsEmulator) -> None:
    """What was learned ends with the event loop."""

    async def known() -> tuple[bool, bool]:
        before = await _eta(virtual_ecs)
        await _finish(virtual_ecs)
        return before is not None, await _eta(virtual_ecs) is not None

    assert [asyncio.run(known()) for _ in range(2)] == [(False, True)] * 2


@pytest.mark.asyncio
async def test_not_while_the_loop_is_suspended(virtual_ecs: EcsEmulator) -> None:
    """If the event loop does not run for a while, nobody knows how long its tasks took."""
    async with TaskWaiter(policy=EXACT) as waiter:
        futures = [waiter.submit(task_id) for task_id in _tasks(virtual_ecs, 10, duration=5000)]
        await asyncio.sleep(102)
        suspend(3600)
        await asyncio.gather(*futures)
    assert await _eta(virtual_ecs) is None


@pytest.mark.asyncio
class TestNothingToSay:
    async def test_of_what_nobody_waits_for(self, virtual_ecs: EcsEmulator) -> None:
        """None for IDs and regions that nobody waits for, before, during and after a wait."""
        await _finish(virtual_ecs)
        waiter = TaskWaiter(policy=EXACT)
        async with waiter:
            task_id = virtual_ecs.add_task(duration=1e6)
            assert waiter.eta(task_id) is None
            future = waiter.submit(task_id)
            assert waiter.eta(task_id) is None  # not seen yet
            await asyncio.sleep(1)
            assert waiter.eta(task_id) is not None
            assert waiter.eta("t-other") is None
            assert waiter.eta(task_id, region_id=ELSEWHERE) is None
            future.cancel()
            await turns(3)
            assert waiter.eta(task_id) is None
        assert waiter.eta(task_id) is None

    async def test_of_what_is_no_id(self, virtual_ecs: EcsEmulator) -> None:
        """Invalid arguments are rejected like those of a wait."""
        async with TaskWaiter() as waiter:
            with pytest.raises(ValueError, match="comma"):
                waiter.eta("t-1,t-2")
            with pytest.raises(TypeError):
                waiter.eta(5)  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="region"):
                waiter.eta("t-1", region_id="no region")
        assert not virtual_ecs.requests


@pytest.mark.asyncio
class TestAccount:
    async def _past(self, ecs: EcsEmulator, count: int = 30, *, seconds: float = 600, **plan: Any) -> None:
        """Tasks that have finished, and that nobody has waited for."""
        _tasks(ecs, count, duration=seconds, **plan)
        await asyncio.sleep(seconds + 60)

    async def test_from_tasks_that_finished_before(self, virtual_ecs: EcsEmulator) -> None:
        """The first task of an operation makes its waiter ask for those that finished before."""
        await self._past(virtual_ecs)
        eta = await _eta(virtual_ecs, age=60, policy=ACCOUNT)
        assert eta is not None
        assert eta.median == pytest.approx(540, abs=5)

    async def test_one_page(self, virtual_ecs: EcsEmulator) -> None:
        """One page of the last seven days, once for each region and operation of an event loop."""
        for region_id in (REGION, ELSEWHERE):
            for action in ("ImportImage", "ExportImage"):
                await self._past(virtual_ecs, region_id=region_id, task_action=action)
        ids = {region: _tasks(virtual_ecs, 5, duration=60, region_id=region) for region in (REGION, ELSEWHERE)}
        ids[REGION] += _tasks(virtual_ecs, 5, duration=60, task_action="ExportImage")
        for _ in range(2):
            await wait_for_tasks(ids, policy=ACCOUNT)
        asked = [(request.region_id, request.params["TaskAction"]) for request in _pages(virtual_ecs)]
        assert sorted(asked) == [(REGION, "ExportImage"), (REGION, "ImportImage"), (ELSEWHERE, "ImportImage")]
        for request in _pages(virtual_ecs):
            assert request.params["PageSize"] == "100"
            start = datetime.fromisoformat(request.params["StartTime"])
            assert abs(request.at - start - timedelta(days=7)) < timedelta(seconds=5)

    async def test_only_if_it_is_asked_for(self, virtual_ecs: EcsEmulator) -> None:
        """The default asks for nothing more."""
        await self._past(virtual_ecs)
        assert await _eta(virtual_ecs) is None
        assert not _pages(virtual_ecs)

    @pytest.mark.parametrize("fault", ["refuse", "throttle", "reset"])
    async def test_faults_cost_nothing(self, virtual_ecs: EcsEmulator, fault: str) -> None:
        """A page that does not come delays no poll and ends no wait."""
        await self._past(virtual_ecs)
        virtual_ecs.inject(fault, where=lambda request: "TaskStatus" in request.params)
        policy = every(5, history="account", outage_budget=60)
        assert len(await wait_for_tasks(_tasks(virtual_ecs, 3, duration=300), policy=policy)) == 3

    async def test_a_waiter_that_closes(self, virtual_ecs: EcsEmulator) -> None:
        """A page that is under way ends with its waiter, and the next one asks again."""
        await self._past(virtual_ecs)
        virtual_ecs.inject("hang", times=1, where=lambda request: "TaskStatus" in request.params)
        await wait_for_tasks([virtual_ecs.add_task(duration=7)], policy=ACCOUNT)
        assert len(_pages(virtual_ecs)) == 1
        assert await _eta(virtual_ecs, policy=ACCOUNT, age=10) is not None
        assert len(_pages(virtual_ecs)) == 2

    async def test_at_the_lowest_priority(self, virtual_ecs: EcsEmulator) -> None:
        """All other calls go before it."""
        await self._past(virtual_ecs)
        with mock.patch.object(RegionLimiter, "place", autospec=True, side_effect=RegionLimiter.place) as place:
            await _eta(virtual_ecs, age=60, policy=ACCOUNT)
        assert [call.args[1] for call in place.call_args_list] == [Priority.LOOKUP]

    async def test_other_operations_on_the_page(self, virtual_ecs: EcsEmulator) -> None:
        """Rows of other operations, should there be any, are left out."""
        await self._past(virtual_ecs)

        def other(content: dict[str, Any]) -> dict[str, Any]:
            is_page = content["PageSize"] == 100
            rows = content["TaskSet"]["Task"]
            return (
                {**content, "TaskSet": {"Task": [{**row, "TaskAction": "Other"} for row in rows]}}
                if is_page
                else content
            )

        virtual_ecs.inject("rewrite", change=other)
        assert await _eta(virtual_ecs, age=60, policy=ACCOUNT) is None
        assert len(_pages(virtual_ecs)) == 1

    async def test_many_operations(self, virtual_ecs: EcsEmulator) -> None:
        """However many operations the service names, at most 200 pages are asked for."""
        actions = itertools.count()
        _rewrite(virtual_ecs, lambda row: {**row, "TaskAction": f"Action{next(actions)}"})
        await wait_for_tasks(_tasks(virtual_ecs, 250, duration=400), policy=ACCOUNT)
        assert len({request.params["TaskAction"] for request in _pages(virtual_ecs)}) == 200
