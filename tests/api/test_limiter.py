"""When calls may go out, by the virtual clock of a loop; nothing sleeps."""

from __future__ import annotations

import asyncio
import itertools
import math
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecs_waiter.api.call_policy import CallPolicy
from ecs_waiter.api.limiter import PlaceTakenError, Priority, RegionLimiter
from ecs_waiter.api.quotas import RegionQuotas
from ecs_waiter.testing.virtual_time import virtual_time

if TYPE_CHECKING:
    from collections.abc import Coroutine

POLL, CALL, LOOKUP = Priority
T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T], *, start: float = 0.0) -> T:
    """Run to the end on virtual time."""
    with virtual_time() as clock:
        clock.jump(start)
        return asyncio.run(coroutine)


def now() -> float:
    """The loop's time."""
    return asyncio.get_running_loop().time()


async def grants(limiter: RegionLimiter, count: int, *, hold: float = 0.0) -> list[float]:
    """The times at which this many calls, all asked for now, went out."""
    times = []

    async def call() -> None:
        await limiter.acquire()
        times.append(now())
        await asyncio.sleep(hold)
        limiter.release()

    await asyncio.gather(*(call() for _ in range(count)))
    return times


async def settled() -> None:
    """Until the loop has nothing left to do at this moment."""
    for _ in range(10):
        await asyncio.sleep(0)


class Order:
    """Waiters of several priorities, and the order in which they were served."""

    def __init__(self, limiter: RegionLimiter, *, hold: float = math.inf) -> None:
        self.limiter = limiter
        self.hold = hold
        self.served: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    def ask(self, priority: Priority, name: str) -> asyncio.Task[None]:
        """Begin to wait."""

        async def wait() -> None:
            await self.limiter.acquire(priority)
            self.served.append(name)
            if self.hold < math.inf:
                await asyncio.sleep(self.hold)
                self.limiter.release(priority)

        task = asyncio.create_task(wait())
        self.tasks.append(task)
        return task

    async def leave(self) -> None:
        """Cancel who still waits."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class TestRate:
    def test_a_burst_up_to_the_rate_goes_at_once(self) -> None:
        """Ten calls go at once, the eleventh a second after the first."""

        async def main() -> list[float]:
            began = now()
            return [time - began for time in await grants(RegionLimiter(CallPolicy()), 21)]

        assert run(main()) == [0.0] * 10 + [1.0] * 10 + [2.0]

    @pytest.mark.parametrize("rate", [1.25, 1.9, 2.5, 9.99])
    def test_a_rate_is_exact(self, rate: float) -> None:
        """A rate between two whole numbers is kept to the fraction."""

        async def main() -> float:
            began = now()
            times = await grants(RegionLimiter(CallPolicy(max_calls_per_second=rate)), 400)
            return times[-1] - began

        assert run(main()) == pytest.approx(400 / rate, abs=1.5)

    def test_a_rate_below_one_spaces_calls(self) -> None:
        """With a call every four seconds there is no burst."""

        async def main() -> list[float]:
            began = now()
            limiter = RegionLimiter(CallPolicy(max_calls_per_second=0.25))
            return [time - began for time in await grants(limiter, 3)]

        assert run(main()) == [0.0, 4.0, 8.0]

    @given(
        start=st.floats(0, 1e6),
        rate=st.floats(0.3, 30),
        pauses=st.lists(st.floats(0, 0.7), min_size=1, max_size=60),
    )
    @settings(max_examples=60, deadline=None)
    def test_no_second_sees_more_than_the_rate(self, start: float, rate: float, pauses: list[float]) -> None:
        """Whatever the pauses between the calls and wherever the clock stands, no window is overfull.

        At a rate r that is at most ceil(r) calls in any one second, and r a second over time.
        """

        async def main() -> list[float]:
            limiter = RegionLimiter(CallPolicy(max_calls_per_second=rate))
            times = []
            for pause in pauses:
                await asyncio.sleep(pause)
                await limiter.acquire()
                times.append(now())
                limiter.release()
            return times

        times = run(main(), start=start)
        for most in {max(1, math.floor(rate)), math.ceil(rate)}:
            assert all(later - earlier >= most / rate for earlier, later in zip(times, times[most:], strict=False))

    def test_the_window_does_not_grow(self) -> None:
        """Calls older than two seconds are forgotten, however high the ceiling."""

        async def main() -> int:
            limiter = RegionLimiter(CallPolicy(max_calls_per_second=1e9))
            for _ in range(100):
                await limiter.acquire()
                limiter.release()
                await asyncio.sleep(0.5)
            return len(limiter.region.calls._times)

        assert run(main()) <= 5


class TestPlaces:
    def test_calls_in_flight_are_bounded(self) -> None:
        """A fifth call waits for a place, however far the rate is from its ceiling."""

        async def main() -> list[float]:
            began = now()
            return [time - began for time in await grants(RegionLimiter(CallPolicy()), 6, hold=0.25)]

        assert run(main()) == [0.0] * 4 + [0.25] * 2

    def test_a_place_is_released_once(self) -> None:
        """Releasing what is not held is an error, not one place more."""

        async def main() -> None:
            limiter = RegionLimiter(CallPolicy())
            await limiter.acquire(POLL)
            with pytest.raises(RuntimeError, match="no place of LOOKUP is held"):
                limiter.release(LOOKUP)
            assert limiter.in_flight == 1

        run(main())

    def test_given_back_unused(self) -> None:
        """What was given back in the turn it was acquired counts neither as a place nor against the rate."""

        async def main() -> list[float]:
            limiter = RegionLimiter(CallPolicy(max_calls_per_second=2))
            for _ in range(5):
                await limiter.acquire(POLL)
                limiter.give_back(POLL)
            began = now()
            return [time - began for time in await grants(limiter, 3)]

        assert run(main()) == [0.0, 0.0, 1.0]

    def test_pacing_holds_no_place(self) -> None:
        """A call that waits to send once more leaves its place to others meanwhile, and is the first of its priority."""

        async def main() -> tuple[float, list[str]]:
            limiter = RegionLimiter(CallPolicy(max_in_flight=1, max_calls_per_second=1))
            began = now()
            await limiter.acquire(CALL)
            order = Order(limiter, hold=0.5)
            order.ask(POLL, "poll")
            order.ask(CALL, "call")
            await settled()
            await limiter.pace(CALL)
            paced = now() - began
            limiter.release(CALL)
            await asyncio.gather(*order.tasks)
            assert limiter.in_flight == 0
            return paced, order.served

        assert run(main()) == (2.0, ["poll", "call"])


class TestPriority:
    def test_by_priority_then_in_order(self) -> None:
        """Polls go before calls, calls before look-ups, and each kind in the order it came."""

        async def main() -> list[str]:
            limiter = RegionLimiter(CallPolicy(max_in_flight=1))
            await limiter.acquire()
            order = Order(limiter)
            for name in ("l1", "c1", "p1", "p2", "c2"):
                order.ask({"l": LOOKUP, "c": CALL, "p": POLL}[name[0]], name)
            await settled()
            limiter.release()
            for held in (POLL, POLL, CALL, CALL):
                await settled()
                limiter.release(held)
            await settled()
            return order.served

        assert run(main()) == ["p1", "p2", "c1", "c2", "l1"]

    def test_polls_let_one_other_pass_after_three(self) -> None:
        """On a region saturated with polls, every fourth grant is a look-up's."""

        async def main() -> list[str]:
            limiter = RegionLimiter(CallPolicy(max_in_flight=2, max_calls_per_second=1))
            order = Order(limiter, hold=0.5)
            for name in ["p"] * 9 + ["l"] * 3:
                order.ask(POLL if name == "p" else LOOKUP, name)
            await asyncio.gather(*order.tasks)
            return order.served

        assert run(main()) == ["p", "p", "p", "p", "l", "p", "p", "p", "l", "p", "p", "l"]

    @given(queue=st.lists(st.sampled_from(Priority), max_size=25))
    @settings(max_examples=60, deadline=None)
    def test_nobody_starves(self, queue: list[Priority]) -> None:
        """Whoever queues, a poll is overtaken after three polls only, and after three it lets another pass."""

        async def main() -> list[Priority]:
            limiter = RegionLimiter(CallPolicy(max_in_flight=2, max_calls_per_second=1))
            # The one call of this second, so that all of the others are waiting when the next may go.
            await limiter.acquire()
            limiter.release()
            order = Order(limiter, hold=0.5)
            for priority in queue:
                order.ask(priority, priority.name)
            await asyncio.gather(*order.tasks)
            return [Priority[name] for name in order.served]

        served = run(main())
        assert sorted(served) == sorted(queue)
        for index, priority in enumerate(served):
            before, after = served[max(0, index - 3) : index], served[index + 1 :]
            if priority is not POLL and POLL in after:
                assert before == [POLL] * 3
            if priority is POLL and any(other is not POLL for other in after):
                assert before != [POLL] * 3

    def test_calls_let_a_lookup_pass_too(self) -> None:
        """Listings without end do not starve look-ups."""

        async def main() -> int:
            limiter = RegionLimiter(CallPolicy(max_calls_per_second=1))
            order = Order(limiter, hold=0.5)
            for _ in range(6):
                order.ask(CALL, "c")
            order.ask(LOOKUP, "l")
            await asyncio.gather(*order.tasks)
            return order.served.index("l")

        assert run(main()) == 4

    def test_lookups_leave_a_place(self) -> None:
        """However many look-ups wait, a poll finds a place free."""

        async def main() -> None:
            limiter = RegionLimiter(CallPolicy())
            order = Order(limiter)
            for number in range(10):
                order.ask(LOOKUP, f"l{number}")
            await settled()
            assert (order.served, limiter.in_flight) == (["l0", "l1", "l2"], 3)
            await limiter.acquire(POLL)
            await order.leave()

        run(main())

    def test_of_one_place_a_lookup_takes_what_no_poll_wants(self) -> None:
        """With a single place, a look-up goes only while no poll waits."""

        async def main() -> list[str]:
            limiter = RegionLimiter(CallPolicy(max_in_flight=1))
            await limiter.acquire(POLL)
            order = Order(limiter)
            order.ask(LOOKUP, "look-up")
            for number in range(4):
                order.ask(POLL, f"poll {number}")
            await settled()
            for _ in range(5):
                limiter.release(POLL)
                await settled()
            return order.served

        assert run(main()) == ["poll 0", "poll 1", "poll 2", "poll 3", "look-up"]


class TestThrottling:
    def test_nothing_is_slowed_down_before_it(self) -> None:
        """Until a call is throttled, only the ceiling applies."""

        async def main() -> tuple[float, tuple[float, float | None]]:
            limiter = RegionLimiter(CallPolicy())
            limiter.succeeded(now())
            return limiter.rate, limiter.rates()

        assert run(main()) == (10, (10, None))

    def test_pauses_double(self) -> None:
        """While calls are throttled, one goes out after 1, 2, 4 ... seconds, at most half a `call_timeout`."""

        async def main(call_timeout: float) -> list[float]:
            limiter = RegionLimiter(CallPolicy(call_timeout=call_timeout))
            began = now()
            times = []
            for _ in range(8):
                await limiter.acquire()
                times.append(now() - began)
                limiter.throttled(now(), None)
                limiter.release()
            return times

        assert run(main(30)) == [0, 1, 3, 7, 15, 30, 45, 60]
        assert run(main(5)) == [0, 1, 3, 5.5, 8, 10.5, 13, 15.5]
        assert run(main(600)) == [0, 1, 3, 7, 15, 31, 61, 91]

    def test_one_probe_at_a_time(self) -> None:
        """While calls are throttled, no call goes out before the one under way is over, whatever comes of it."""

        async def main() -> list[float]:
            limiter = RegionLimiter(CallPolicy())
            limiter.throttled(now(), None)
            began = now()
            return [time - began for time in await grants(limiter, 4, hold=7)]

        assert run(main()) == [1, 8, 15, 22]

    def test_a_good_answer_ends_the_pause_for_all(self) -> None:
        """Who waits while a probe is under way goes as soon as its answer has come."""

        async def main() -> tuple[float, float]:
            quotas = RegionQuotas()
            one, other = (RegionLimiter(CallPolicy(), quotas=quotas) for _ in range(2))
            began = now()
            one.throttled(now(), None)
            await one.acquire()
            sent_at = now()
            waiting = asyncio.create_task(other.acquire())
            await asyncio.sleep(5)
            one.succeeded(sent_at)
            await waiting
            return sent_at - began, now() - began

        assert run(main()) == (1, 6)

    def test_all_calls_wait_as_long_as_asked(self) -> None:
        """A pause that the service asks for delays all calls, pacing included, whichever call was throttled."""

        async def main() -> None:
            limiter = RegionLimiter(CallPolicy())
            began = now()
            await limiter.acquire(POLL)
            limiter.throttled(now(), 7.5)
            assert limiter.blocked_until == began + 7.5
            waiting = [asyncio.create_task(limiter.acquire(priority)) for priority in (POLL, LOOKUP)]
            await limiter.pace(POLL)
            assert now() - began == 7.5
            limiter.succeeded(now())
            await asyncio.gather(*waiting)
            assert now() - began == 7.5

        run(main())

    def test_a_shorter_wait_does_not_end_a_longer_one(self) -> None:
        """Of several waits that were asked for, the last to end counts."""

        async def main() -> float:
            limiter = RegionLimiter(CallPolicy())
            began = now()
            limiter.throttled(now(), 9)
            limiter.throttled(now(), 1)
            await limiter.acquire()
            return now() - began

        assert run(main()) == 9

    def test_an_absurd_wait_is_cut_to_the_budget(self) -> None:
        """Nobody is held back past the outage budget."""

        async def main() -> float:
            limiter = RegionLimiter(CallPolicy(outage_budget=60))
            began = now()
            limiter.throttled(now(), 1e9)
            await limiter.acquire()
            return now() - began

        assert run(main()) == 60

    def test_calls_go_evenly(self) -> None:
        """A learned quota lets one call out at a time, not all calls of a second at once."""

        async def main() -> list[float]:
            limiter = RegionLimiter(CallPolicy(max_in_flight=100))
            await throttle_twice(limiter)
            return await grants(limiter, 20, hold=0.1)

        times = run(main())
        gaps = [later - earlier for earlier, later in itertools.pairwise(times[1:])]
        assert max(gaps) < 1.1 * min(gaps)


async def throttle_twice(limiter: RegionLimiter) -> None:
    """Have a limiter learn a quota: five calls pass, then two are throttled, then one passes."""
    for _ in range(5):
        await limiter.acquire()
        limiter.succeeded(now())
        limiter.release()
    for _ in range(2):
        await limiter.acquire()
        limiter.throttled(now(), None)
        limiter.release()
    await limiter.acquire()
    limiter.succeeded(now())
    limiter.release()


class TestOperations:
    def test_rate_and_pause_are_the_operations_own(self) -> None:
        """A throttled operation waits alone."""

        async def main() -> tuple[float, float]:
            polls = RegionLimiter(CallPolicy(max_in_flight=1))
            lookups = polls.beside("DescribeTaskAttribute")
            lookups.throttled(now(), 30)
            began = now()
            waiting = asyncio.create_task(lookups.acquire(LOOKUP))
            await settled()
            await polls.acquire(POLL)
            at = now() - began
            polls.release(POLL)
            await waiting
            return at, now() - began

        assert run(main()) == (0.0, 30.0)

    def test_places_and_ceiling_are_for_all_of_them(self) -> None:
        """All operations of a region together keep the ceiling and the places."""

        async def main() -> tuple[list[float], list[float]]:
            limiter = RegionLimiter(CallPolicy(max_calls_per_second=4, max_in_flight=2))
            began = now()
            first, second = await asyncio.gather(*(grants(limiter.beside(name), 3, hold=0.25) for name in ("A", "B")))
            return [time - began for time in first], [time - began for time in second]

        assert run(main()) == ([0.0, 0.0, 0.25], [0.25, 1.0, 1.0])

    def test_in_the_order_they_came(self) -> None:
        """Waiters of one priority are served in the order they came, whatever their operations."""

        async def main() -> list[str]:
            limiter = RegionLimiter(CallPolicy(max_calls_per_second=1))
            await limiter.acquire()
            limiter.release()
            served: list[str] = []

            async def call(name: str) -> None:
                await limiter.beside(name[0]).acquire()
                served.append(name)
                limiter.beside(name[0]).release()

            await asyncio.gather(*map(call, ("A1", "B1", "A2", "C1", "B2")))
            return served

        assert run(main()) == ["A1", "B1", "A2", "C1", "B2"]

    @pytest.mark.parametrize("waiters", [2, 3, 5])
    def test_waiters_that_share_a_quota_take_turns(self, waiters: int) -> None:
        """Of the waiters whose calls count by one throttled quota none goes short."""

        async def main() -> list[int]:
            quotas = RegionQuotas()
            policy = CallPolicy(max_calls_per_second=2)
            limiters = [RegionLimiter(policy, quotas=quotas) for _ in range(waiters)]
            await throttle_twice(limiters[0])
            served = [0] * waiters

            async def calls(index: int) -> None:
                while True:
                    await limiters[index].acquire()
                    served[index] += 1
                    limiters[index].release()

            tasks = [asyncio.create_task(calls(index)) for index in range(waiters)]
            await asyncio.sleep(20 * waiters)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            return served

        served = run(main())
        assert max(served) - min(served) <= 1
        assert min(served) > 10

    def test_rates_of_different_ceilings(self) -> None:
        """What one waiter's throttling taught holds for another one, up to the ceiling of each."""

        async def main() -> tuple[float, float, float | None]:
            quotas = RegionQuotas()
            slow, quick = (RegionLimiter(CallPolicy(max_calls_per_second=rate), quotas=quotas) for rate in (1, 640))
            assert (slow.rate, quick.rate) == (1, 640)
            await throttle_twice(quick)
            return slow.rate, quick.rate, quick.rates()[1]

        slow, quick, quota = run(main())
        assert slow == 1
        assert quota is not None
        assert 1 < 0.95 * quota == pytest.approx(quick)

    @pytest.mark.parametrize("waits_already", [False, True])
    @pytest.mark.parametrize(("hold", "gap"), [(0.0, 1.0), (2.0, 2.0)], ids=["for the rate", "for a place"])
    def test_after_it_has_retired(self, hold: float, gap: float, waits_already: bool) -> None:
        """A limiter that has retired still grants calls, such as the retry of a start while its waiter closes."""

        async def main() -> list[float]:
            limiter = RegionLimiter(CallPolicy(max_calls_per_second=1, max_in_flight=1))
            calls = asyncio.ensure_future(grants(limiter, 3, hold=hold))
            if waits_already:
                await settled()
            limiter.retire()
            return await asyncio.wait_for(calls, 60)

        first, *others = run(main())
        assert others == [first + gap, first + 2 * gap]

    def test_operations_are_added_up(self) -> None:
        """The rate and the quota of a region are those of all its operations together."""

        async def main() -> list[Any]:
            polls = RegionLimiter(CallPolicy(max_calls_per_second=100))
            rates = [polls.rates()]
            await throttle_twice(polls)
            rates.append(polls.rates())
            await throttle_twice(polls.beside("DescribeImages"))
            return [*rates, polls.rates()]

        unknown, one, two = run(main())
        assert unknown == (100, None)
        assert two == pytest.approx([2 * value for value in one], rel=0.1)
        assert two[0] == pytest.approx(0.95 * two[1])


class TestTakingPlaces:
    def test_a_poll_takes_the_place_of_the_oldest_look_up(self) -> None:
        """Where all places are taken, a poll ends the oldest look-up, which may wait again; a call waits its turn."""

        async def main() -> list[str]:
            limiter = RegionLimiter(CallPolicy(max_in_flight=2))
            told: list[str] = []

            async def look_up(name: str, priority: Priority) -> None:
                try:
                    async with limiter.place(priority):
                        await asyncio.sleep(5)
                    told.append(f"{name} done")
                except PlaceTakenError:
                    told.append(f"{name} ended at {now() - began:g}")

            began = now()
            tasks = [asyncio.create_task(look_up("first", LOOKUP)), asyncio.create_task(look_up("call", CALL))]
            await asyncio.sleep(1)
            tasks.append(asyncio.create_task(look_up("other call", CALL)))
            await asyncio.sleep(1)
            await limiter.acquire(POLL)
            assert (now() - began, limiter.in_flight) == (2, 2)
            limiter.release(POLL)
            await asyncio.gather(*tasks)
            return told

        assert run(main()) == ["first ended at 2", "call done", "other call done"]

    def test_no_more_than_are_needed(self) -> None:
        """One look-up ends for each poll that waits for a place."""

        async def main() -> tuple[list[int], int]:
            limiter = RegionLimiter(CallPolicy())
            ended: list[int] = []

            async def look_up(number: int) -> None:
                try:
                    async with limiter.place(LOOKUP):
                        await asyncio.sleep(math.inf)
                except PlaceTakenError:
                    ended.append(number)

            tasks = [asyncio.create_task(look_up(number)) for number in range(3)]
            await settled()
            await asyncio.gather(*(limiter.acquire(POLL) for _ in range(3)))
            in_flight = limiter.in_flight
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            return ended, in_flight

        assert run(main()) == ([0, 1], 4)

    def test_a_timeout_of_ones_own(self) -> None:
        """A TimeoutError from within does not mean a taken place."""

        async def main() -> int:
            limiter = RegionLimiter(CallPolicy())
            with pytest.raises(TimeoutError):
                async with limiter.place(LOOKUP):
                    raise TimeoutError
            return limiter.in_flight

        assert run(main()) == 0


class TestCancellation:
    def test_a_waiter_that_leaves_lets_the_next_go(self) -> None:
        """A canceled waiter is skipped and takes nothing with it."""

        async def main() -> list[str]:
            limiter = RegionLimiter(CallPolicy(max_in_flight=1))
            await limiter.acquire()
            order = Order(limiter)
            first = order.ask(CALL, "first")
            order.ask(CALL, "second")
            await settled()
            first.cancel()
            limiter.release()
            await settled()
            assert limiter.in_flight == 1
            return order.served

        assert run(main()) == ["second"]

    def test_a_grant_to_one_who_leaves_is_not_lost(self) -> None:
        """Canceled in the very turn it was served, a waiter gives its place and its part of the rate back."""

        async def main() -> list[float]:
            limiter = RegionLimiter(CallPolicy(max_in_flight=1, max_calls_per_second=1))
            began = now()
            await limiter.acquire()
            await asyncio.sleep(2)
            waiter = asyncio.create_task(limiter.acquire())
            await settled()
            limiter.release()
            waiter.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiter
            return [time - began for time in await grants(limiter, 2)]

        assert run(main()) == [2.0, 3.0]

    def test_pacing_canceled(self) -> None:
        """One who paces and leaves, before or in the turn it is served, holds no more than its place."""

        async def main() -> None:
            limiter = RegionLimiter(CallPolicy(max_calls_per_second=1))
            await limiter.acquire()
            waiting = asyncio.create_task(limiter.pace())
            await settled()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert limiter.in_flight == 1
            limiter.release()
            assert limiter.in_flight == 0

        run(main())

    @given(
        steps=st.lists(
            st.tuples(st.sampled_from(Priority), st.booleans(), st.floats(0, 2), st.floats(0, 2)), max_size=30
        ),
        places=st.integers(1, 4),
    )
    @settings(max_examples=80, deadline=None)
    def test_nothing_is_ever_lost(self, steps: list[tuple[Priority, bool, float, float]], places: int) -> None:
        """Whoever is canceled when, the places in flight stay in bounds and the whole burst is there in the end."""

        async def main() -> None:
            limiter = RegionLimiter(CallPolicy(max_in_flight=places, max_calls_per_second=5))

            async def call(priority: Priority, again: bool, start: float) -> None:
                await asyncio.sleep(start)
                await limiter.acquire(priority)
                try:
                    assert limiter.in_flight <= places
                    if again:
                        await limiter.pace(priority)
                    await asyncio.sleep(0.3)
                finally:
                    limiter.release(priority)

            async def bounded(priority: Priority, again: bool, start: float, patience: float) -> None:
                task = asyncio.create_task(call(priority, again, start))
                await asyncio.wait([task], timeout=start + patience)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

            await asyncio.gather(*itertools.starmap(bounded, steps))
            await asyncio.sleep(1)
            assert limiter.in_flight == 0
            assert limiter.is_idle()
            began = now()
            assert [time - began for time in await grants(limiter, 6)] == [0.0] * 5 + [1.0]

        run(main())


class TestAnatomy:
    def test_it_binds_no_loop_before_it_is_used(self) -> None:
        """It is made outside a loop, and used in the one that runs."""
        limiter = RegionLimiter(CallPolicy())

        async def main() -> None:
            limiter.throttled(now(), None)
            limiter.succeeded(now())
            await limiter.acquire()
            limiter.release()

        run(main())

    def test_its_repr(self) -> None:
        """It shows the rate, the places and who waits."""

        async def main() -> str:
            limiter = RegionLimiter(CallPolicy(max_in_flight=1))
            await limiter.acquire()
            order = Order(limiter)
            order.ask(LOOKUP, "l")
            await settled()
            shown = repr(limiter)
            await order.leave()
            return shown

        assert run(main()) == "<RegionLimiter rate=10/10 in_flight=1/1 waiting=(POLL: 0, CALL: 0, LOOKUP: 1)>"

    def test_one_timer_for_all(self) -> None:
        """A thousand waiters set one timer, and none is left when they are gone."""

        async def main() -> tuple[int, bool]:
            limiter = RegionLimiter(CallPolicy(max_in_flight=2000))
            order = Order(limiter)
            for number in range(1000):
                order.ask(POLL, str(number))
            await settled()
            loop: Any = asyncio.get_running_loop()
            timers = len([handle for handle in loop._scheduled if not handle.cancelled()])
            await order.leave()
            return timers, limiter.region._timer is None

        assert run(main()) == (1, True)
