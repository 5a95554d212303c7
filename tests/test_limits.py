"""Limits: kept per operation and region, longer than any waiter, exact, and no look-up delays a poll."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from support.helpers import ELSEWHERE, REASON, REGION, add_tasks, clock, every, failure, polls, since, times

from ecs_waiter import (
    Credentials,
    EcsClient,
    PollPolicy,
    ServiceUnavailableError,
    StaticCredentials,
    TaskFailedError,
    TaskWaiter,
    ThrottledError,
    WaitTimeoutError,
    wait_for_task,
    wait_for_tasks,
)
from ecs_waiter.api import quotas
from ecs_waiter.testing.virtual import virtual

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecs_waiter.emulator import EcsEmulator

LOOK_UP = "DescribeTaskAttribute"


class Provider:
    """A provider of its own."""

    async def get_credentials(self) -> Credentials:
        """Give the same for ever."""
        return Credentials("example-key-id", "example-key-secret")


def most_in_a_second(seen: list[float]) -> int:
    """The most calls in any one second; the emulator's times are good to a millisecond."""
    return max(sum(first <= at < first + 1 - 2e-3 for at in seen) for first in seen)


@pytest.mark.asyncio
class TestPerOperation:
    @pytest.mark.parametrize("max_in_flight", [1, 2, 4])
    async def test_throttled_look_ups_delay_no_poll(self, virtual_ecs: EcsEmulator, max_in_flight: int) -> None:
        """Throttled look-ups with a long pause leave the polls their pace."""
        virtual_ecs.inject("throttle", action=LOOK_UP, retry_after=100)
        failed = [virtual_ecs.add_task(outcome="Failed", error=REASON) for _ in range(5)]
        running = virtual_ecs.add_task(duration=29)
        policy = every(3, max_in_flight=max_in_flight, max_calls_per_second=2)
        results = await wait_for_tasks([*failed, running], policy=policy, return_exceptions=True)
        assert [type(results[task_id]) for task_id in failed] == [TaskFailedError] * 5
        assert [at for at, _ in polls(virtual_ecs)] == [3.0 * number for number in range(11)]

    @pytest.mark.parametrize("max_in_flight", [1, 2, 4])
    async def test_a_throttled_start_delays_no_poll(self, virtual_ecs: EcsEmulator, max_in_flight: int) -> None:
        """Starts that wait for their operation's pause hold no place that a poll needs."""
        virtual_ecs.inject("throttle", action="ExportImage", retry_after=100)
        running = virtual_ecs.add_task(duration=29)
        params = {"ImageId": "m-1", "OSSBucket": "b"}
        async with TaskWaiter(policy=every(3, max_in_flight=max_in_flight)) as waiter:
            starts = [
                asyncio.create_task(waiter.client.call("ExportImage", region_id=REGION, params=params))
                for _ in range(6)
            ]
            await waiter.wait([running])
            for start in starts:
                start.cancel()
            await asyncio.gather(*starts, return_exceptions=True)
        assert [at for at, _ in polls(virtual_ecs)] == [3.0 * number for number in range(11)]

    async def test_throttled_polls_delay_no_other_call(self, virtual_ecs: EcsEmulator) -> None:
        """The pause and the rate of one operation are no other operation's."""
        virtual_ecs.inject("throttle", action="DescribeTasks", retry_after=60, times=1)
        task_id = virtual_ecs.add_task(duration=5)
        async with TaskWaiter() as waiter:
            future = waiter.submit(task_id)
            await asyncio.sleep(1)
            await asyncio.gather(*(waiter.client.describe_task_attribute(task_id, region_id=REGION) for _ in range(9)))
            await future
        assert times(virtual_ecs, LOOK_UP) == [1] * 9
        assert [at for at, _ in polls(virtual_ecs)] == [0, 60]

    async def test_the_ceiling_is_for_all_operations_together(self, virtual_ecs: EcsEmulator) -> None:
        """`max_calls_per_second` counts the calls of one waiter to one region, whatever the operation."""
        task_id = virtual_ecs.add_task(duration=20)
        async with EcsClient(policy=PollPolicy(max_calls_per_second=4, max_in_flight=100)) as client:
            await asyncio.gather(
                *(client.describe_task_attribute(task_id, region_id=REGION) for _ in range(6)),
                *(client.describe_tasks(region_id=REGION) for _ in range(6)),
                client.describe_tasks(region_id=ELSEWHERE),
            )
        assert sorted(times(virtual_ecs) + times(virtual_ecs, LOOK_UP)) == [0] * 5 + [1] * 4 + [2] * 4


@pytest.mark.asyncio
class TestLookUpsAndPolls:
    @pytest.mark.parametrize("max_in_flight", [1, 2, 3])
    async def test_hanging_look_ups_delay_no_poll(self, virtual_ecs: EcsEmulator, max_in_flight: int) -> None:
        """However many look-ups hang, a poll goes out when it is due, and no more calls are under way than allowed."""
        virtual_ecs.inject("hang", action=LOOK_UP)
        # As many polls at once as there are places: none of them may wait for a look-up.
        virtual_ecs.inject("delay", action="DescribeTasks", seconds=2)
        failed = [virtual_ecs.add_task(task_id=f"t-0{n}", outcome="Failed", error=REASON) for n in range(8)]
        running = [virtual_ecs.add_task(task_id=f"t-1{n:03}", duration=1e9) for n in range(100 * max_in_flight - 20)]
        policy = every(5, max_in_flight=max_in_flight)
        async with TaskWaiter(policy=policy) as waiter:
            futures = [waiter.submit(task_id) for task_id in failed]
            await asyncio.sleep(10)
            error = await failure(WaitTimeoutError, waiter.wait(running, timeout=18.5))
            assert set(error.pending) == set(running)
            await asyncio.gather(*futures, return_exceptions=True)
        seen = [at for at, _ in polls(virtual_ecs) if at >= 10]
        assert sorted(set(seen)) == [10, 17, 24]
        assert len(seen) == 3 * max_in_flight

    async def test_a_look_up_that_gave_its_place_is_made_again(self, virtual_ecs: EcsEmulator) -> None:
        """A look-up that a poll interrupts is made again, and the failure still comes with its reason."""
        virtual_ecs.inject("delay", action=LOOK_UP, seconds=4)
        failed, running = virtual_ecs.add_task(outcome="Failed", error=REASON), virtual_ecs.add_task(duration=6)
        start = clock()
        async with TaskWaiter(policy=every(3, max_in_flight=1)) as waiter:
            future = waiter.submit(failed)
            await waiter.wait([running])
            assert since(start) == 6
            error = await failure(TaskFailedError, future)
        assert error.detail is not None
        assert since(start) == 10
        assert times(virtual_ecs, LOOK_UP) == [0, 3, 6]

    async def test_look_ups_leave_a_call_of_the_rate(self, virtual_ecs: EcsEmulator) -> None:
        """Hundreds of look-ups that use up the rate let each poll go out on time."""
        ids = [virtual_ecs.add_task(outcome="Failed", error=REASON) for _ in range(300)]
        running = virtual_ecs.add_task(duration=27)
        async with TaskWaiter(policy=every(3)) as waiter:
            futures = [waiter.submit(task_id) for task_id in ids]
            await asyncio.sleep(0.5)
            await waiter.wait([running])
            await asyncio.gather(*futures, return_exceptions=True)
        seen = [at for at, _ in polls(virtual_ecs) if at >= 0.5]
        assert [at for at in seen if at > 0.5] == [0.5 + 3 * number for number in range(1, 10)]
        assert most_in_a_second(sorted(times(virtual_ecs) + times(virtual_ecs, LOOK_UP))) <= 10


@pytest.mark.asyncio
class TestLearnedQuotas:
    async def test_the_stats_show_them(self, virtual_ecs: EcsEmulator, caplog: pytest.LogCaptureFixture) -> None:
        """Before throttling only the ceiling is known; afterwards the quota, and the rate stays near it."""
        caplog.set_level(logging.INFO, "ecs_waiter.api")
        virtual_ecs.inject("quota", calls=5)
        task_id = virtual_ecs.add_task(duration=600)
        async with TaskWaiter(policy=every(0)) as waiter:
            future = waiter.submit(task_id)
            await asyncio.sleep(0.5)
            region = waiter.stats.regions[REGION]
            assert (region.rate, region.quota) == (10, None)
            await asyncio.sleep(300)
            region = waiter.stats.regions[REGION]
            assert region.quota == pytest.approx(5, rel=0.1)
            assert region.rate == pytest.approx(5, rel=0.1)
            assert region.throttled < 0.05 * region.calls
            await future
        learned = [record.getMessage() for record in caplog.records if "quota" in record.getMessage()]
        assert len(learned) == 1
        assert learned[0].startswith(f"learned the quota of DescribeTasks in {REGION}: ")

    async def test_kinds_are_added_up(self, virtual_ecs: EcsEmulator) -> None:
        """The quota of a region is that of all its operations together."""
        virtual_ecs.inject("quota", calls=2)
        task_id = virtual_ecs.add_task(duration=600)
        async with TaskWaiter(policy=every(0)) as waiter:
            future = waiter.submit(task_id)
            await asyncio.sleep(120)
            polls_alone = waiter.stats.regions[REGION].quota
            for _ in range(200):
                await waiter.client.describe_task_attribute(task_id, region_id=REGION)
            assert polls_alone == pytest.approx(2, rel=0.2)
            assert waiter.stats.regions[REGION].quota == pytest.approx(4, rel=0.2)
            future.cancel()

    async def test_a_region_that_is_only_called(self, virtual_ecs: EcsEmulator) -> None:
        """A region without tasks has a rate too; one that nobody called has no numbers."""
        virtual_ecs.add_task()
        async with TaskWaiter() as waiter:
            await waiter.client.describe_tasks(region_id=REGION)
            assert waiter.stats.regions[REGION].rate == 10
            assert list(waiter.stats.regions) == [REGION]

    async def test_a_throttled_batch_stays_whole(self, virtual_ecs: EcsEmulator) -> None:
        """Throttling is not a fault of an ID: all are asked together again, at pauses that double to half a call_timeout."""
        ids = add_tasks(virtual_ecs, 3)
        virtual_ecs.inject("throttle", where=lambda _: since(start) < 100)
        start = clock()
        await wait_for_tasks(ids)
        assert polls(virtual_ecs) == [(at, 3) for at in (0, 1, 3, 7, 15, 30, 45, 60, 75, 90, 105)]

    async def test_throttled_for_the_whole_budget(self, virtual_ecs: EcsEmulator) -> None:
        """A region that throttles every poll is given up when the outage budget ends, after a last try."""
        ids = add_tasks(virtual_ecs, 3)
        virtual_ecs.inject("throttle")
        start = clock()
        error = await failure(ServiceUnavailableError, wait_for_tasks(ids, policy=PollPolicy(outage_budget=50)))
        assert since(start) == 60
        assert isinstance(error.__cause__, ThrottledError)

    async def test_the_last_try_can_pass(self, virtual_ecs: EcsEmulator) -> None:
        """A pause of the limiter is short enough for a last try after the budget."""
        ids = add_tasks(virtual_ecs, 3)
        virtual_ecs.inject("throttle", where=lambda _: since(start) < 58)
        start = clock()
        await wait_for_tasks(ids, policy=PollPolicy(outage_budget=50))
        assert since(start) == 60

    @pytest.mark.parametrize("form", ["milliseconds", "seconds", "date"])
    async def test_a_call_waits_for_the_limiter_alone(self, virtual_ecs: EcsEmulator, form: str) -> None:
        """A call that was throttled goes out when the pause ends, without a backoff of its own."""
        virtual_ecs.inject("throttle", times=3)
        virtual_ecs.inject("throttle", times=1, retry_after=20, retry_form=form)
        virtual_ecs.add_task()
        async with EcsClient() as client:
            await client.describe_tasks(region_id=REGION)
        *first, last = times(virtual_ecs)
        assert first == [0, 1, 3, 7]
        assert 27 <= last <= 28


async def _module_function(_policy: PollPolicy | None, task_id: str) -> None:
    await wait_for_task(task_id, region_id=REGION, policy=_policy)


async def _waiter(policy: PollPolicy | None, task_id: str) -> None:
    async with TaskWaiter(policy=policy) as waiter:
        await waiter.wait([task_id], region_id=REGION)


async def _client(policy: PollPolicy | None, task_id: str) -> None:
    async with EcsClient(policy=policy) as client:
        await client.describe_tasks(task_ids=[task_id], region_id=REGION)


WAYS: list[Callable[[PollPolicy | None, str], Any]] = [_module_function, _waiter, _client]


@pytest.mark.asyncio
class TestOutlivingTheWaiter:
    @pytest.mark.parametrize("way", WAYS)
    async def test_waits_one_after_another_keep_the_rate(self, virtual_ecs: EcsEmulator, way: Any) -> None:
        """Two hundred waits that follow each other, each by a waiter of its own, keep to `max_calls_per_second`."""
        task_id = virtual_ecs.add_task()
        for _ in range(200):
            await way(None, task_id)
        seen = times(virtual_ecs)
        assert len(seen) == 200
        assert most_in_a_second(seen) == 10
        assert seen[-1] == 19

    @pytest.mark.parametrize("way", WAYS)
    async def test_each_waiter_has_its_own_ceiling(self, virtual_ecs: EcsEmulator, way: Any) -> None:
        """A waiter counts the calls before it by its own ceiling, not by that of the one that made them."""
        task_id = virtual_ecs.add_task()
        for _ in range(9):
            await way(PollPolicy(max_calls_per_second=100), task_id)
        await way(PollPolicy(max_calls_per_second=3), task_id)
        await way(PollPolicy(max_calls_per_second=100), task_id)
        assert times(virtual_ecs) == [0] * 9 + [1] * 2

    async def test_waiters_side_by_side_have_a_ceiling_each(self, virtual_ecs: EcsEmulator) -> None:
        """The calls of a waiter that goes on take nothing from another one's ceiling."""
        task_id = virtual_ecs.add_task(duration=20)
        slow, quick = every(0, max_calls_per_second=0.5), every(0, max_calls_per_second=8)
        async with TaskWaiter(policy=quick) as one, TaskWaiter(policy=slow) as other:
            await asyncio.gather(one.wait([task_id]), other.wait([task_id]))
            assert one.stats.regions[REGION].polls == pytest.approx(161, abs=8)
            assert other.stats.regions[REGION].polls == 11

    @pytest.mark.parametrize("way", WAYS)
    async def test_a_pause_outlives_the_wait(self, virtual_ecs: EcsEmulator, way: Any) -> None:
        """The wait that the service asked for is obeyed by the next waiter too, whatever its policy."""
        virtual_ecs.inject("throttle", retry_after=30, times=1)
        task_id = virtual_ecs.add_task()
        await failure(WaitTimeoutError, wait_for_task(task_id, timeout=1))
        await way(PollPolicy(max_calls_per_second=7), task_id)
        assert times(virtual_ecs) == [0, 30]

    async def test_a_rate_outlives_the_wait(self, virtual_ecs: EcsEmulator) -> None:
        """The next waiter begins at the rate that throttling left."""
        virtual_ecs.inject("throttle", times=1)
        async with EcsClient() as client:
            await asyncio.wait([asyncio.ensure_future(client.describe_tasks(region_id=REGION))], timeout=0.1)
        async with EcsClient(policy=PollPolicy(max_in_flight=100)) as client:
            start = clock()
            await asyncio.gather(*(client.describe_tasks(region_id=REGION) for _ in range(6)))
            assert since(start) >= 0.8

    async def test_a_policy_bounds_what_it_obeys(self, virtual_ecs: EcsEmulator) -> None:
        """A waiter with a small outage budget is not held back longer than that by a pause learned before it."""
        virtual_ecs.inject("throttle", retry_after=500, times=1)
        task_id = virtual_ecs.add_task()
        await failure(WaitTimeoutError, wait_for_task(task_id, timeout=1))
        await wait_for_task(task_id, policy=PollPolicy(outage_budget=60))
        assert times(virtual_ecs) == [0, 60]

    @pytest.mark.parametrize(
        "other",
        [
            {"region_id": ELSEWHERE},
            {"credentials": StaticCredentials("another-key-id", "example-key-secret")},
            {"credentials": Provider()},
        ],
        ids=["region", "key", "provider"],
    )
    async def test_a_pause_is_for_its_account_and_region(self, virtual_ecs: EcsEmulator, other: dict[str, Any]) -> None:
        """What one account learned in one region holds back no other account and no other region."""
        virtual_ecs.inject("throttle", retry_after=30, times=1)
        said: dict[str, Any] = {
            "region_id": REGION,
            "credentials": StaticCredentials("example-key-id", "example-key-secret"),
        }
        task_id = virtual_ecs.add_task(region_id=other.get("region_id", REGION))
        await failure(WaitTimeoutError, wait_for_task("t-1", timeout=1, **said))
        await wait_for_task(task_id, **{**said, **other})
        assert times(virtual_ecs) == [0, 1]

    @pytest.mark.parametrize(
        "make",
        [lambda: None, lambda: StaticCredentials("example-key-id", "example-key-secret"), Provider],
        ids=["default", "static", "provider"],
    )
    async def test_who_is_one_account(self, virtual_ecs: EcsEmulator, make: Callable[[], Any]) -> None:
        """The default chain is one account, equal static credentials are one, and so is any provider object."""
        virtual_ecs.inject("throttle", retry_after=30, times=1)
        task_id = virtual_ecs.add_task()
        credentials = make()
        again = credentials if isinstance(credentials, Provider) else make()
        await failure(WaitTimeoutError, wait_for_task(task_id, timeout=1, credentials=credentials))
        await wait_for_task(task_id, credentials=again)
        assert times(virtual_ecs) == [0, 30]

    async def test_no_secret_is_kept(self, virtual_ecs: EcsEmulator) -> None:
        """After a wait nothing refers to its credentials any more, nor to its provider."""
        task_id = virtual_ecs.add_task()
        provider = Provider()
        gone = weakref.ref(provider)
        await wait_for_task(task_id, credentials=provider)
        del provider
        await wait_for_task(task_id, credentials=StaticCredentials("kept-key-id", "kept-secret"))
        await asyncio.sleep(1)
        gc.collect()
        assert gone() is None
        assert "kept-key-id" not in {each.access_key_id for each in gc.get_objects() if isinstance(each, Credentials)}

    async def test_it_is_bounded(self, virtual_ecs: EcsEmulator) -> None:
        """However many accounts come and go, a thousand quotas are kept, and what was learned outlasts what was not."""
        virtual_ecs.inject("throttle", retry_after=500, times=1)
        task_id = virtual_ecs.add_task()
        first = StaticCredentials("first", "example-key-secret")
        await failure(WaitTimeoutError, wait_for_task(task_id, timeout=1, credentials=first))
        for number in range(1100):
            async with EcsClient(StaticCredentials(f"id-{number}", "secret")) as client:
                client.limiter(REGION)
        assert len(quotas.quotas_of(asyncio.get_running_loop())) <= 1000
        await wait_for_task(task_id, credentials=first)
        assert times(virtual_ecs) == [0, 500]


def test_another_run_starts_afresh() -> None:
    """What was learned belongs to an event loop: the next `asyncio.run` knows nothing of it, and the loop is let go."""
    loops = []

    async def wait(task_id: str, timeout: float | None = None) -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        credentials = StaticCredentials("example-key-id", "example-key-secret")
        await wait_for_task(task_id, region_id=REGION, timeout=timeout, credentials=credentials)

    with virtual() as ecs:
        ecs.inject("throttle", retry_after=30, times=1)
        task_id = ecs.add_task()
        with pytest.raises(WaitTimeoutError):
            asyncio.run(wait(task_id, timeout=1))
        asyncio.run(wait(task_id))
        assert times(ecs) == [0, 1]
    gc.collect()
    assert [loop() for loop in loops] == [None, None]


@pytest.mark.parametrize("rate", [0.3, 1.9, 2.5, 7])
@pytest.mark.asyncio
async def test_rates_are_exact(virtual_ecs: EcsEmulator, rate: float) -> None:
    """A rate is kept to the fraction: over time as many calls as it says, and never more than its ceiling a second."""
    ids = add_tasks(virtual_ecs, 101, duration=200)
    await wait_for_tasks(ids, policy=every(0, max_calls_per_second=rate))
    seen = [at for at in times(virtual_ecs) if at < 200]
    assert len(seen) == pytest.approx(200 * rate, abs=math.ceil(rate) + 1)
    assert most_in_a_second(seen) <= math.ceil(rate)
