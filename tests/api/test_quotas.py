"""What is learned from throttling: pure decisions, then whole services on virtual time."""

from __future__ import annotations

import logging
import math
from statistics import median
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.quotas import Bucket, Window, call_without_end

from ecs_waiter.api.quotas import Quota

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.quotas import Calls
    from support.quotas import Quota as ServiceQuota

CEILING = 10.0
LONGEST = 15.0


class Client:
    """One call after the other, each as soon as the quota lets it out; the answers are given."""

    def __init__(self) -> None:
        self.quota = Quota("DescribeTasks in cn-hangzhou")
        self.now = 0.0

    def call(self, *, passes: bool = True, wait: float | None = None, asked: float | None = None) -> float:
        """Make a call and return when it went out; `wait` seconds after the last one, or as soon as possible."""
        asked_at = self.now if wait is None else self.now + wait
        self.now = max(asked_at, self.quota.next_at, self.quota.blocked_until(math.inf))
        self.quota.granted(self.now, asked_at)
        if passes:
            self.quota.succeeded(self.now, CEILING)
        else:
            self.quota.throttled(self.now, self.now, asked, ceiling=CEILING, longest=LONGEST)
        return self.now

    def learn(self, calls: int = 20, *, probes: int = 1) -> None:
        """Learn a quota: after that many good answers, a call and then some probes are throttled."""
        for _ in range(calls):
            self.call()
        for _ in range(1 + probes):
            self.call(passes=False)
        self.call()

    def load(self, seconds: float) -> None:
        """Call without end and without throttling."""
        until = self.now + seconds
        while self.now < until:
            self.call()

    @property
    def learned(self) -> float:
        """What is known."""
        assert self.quota.learned is not None
        return self.quota.learned


class TestLearning:
    def test_before_the_first_throttling(self) -> None:
        """Nothing is known and nothing is held back."""
        client = Client()
        assert [client.call() for _ in range(100)] == [0] * 100
        assert (client.quota.learned, client.quota.rate) == (None, math.inf)

    def test_good_answers_per_time(self) -> None:
        """The quota is what passed, over the time until the service accepted calls again."""
        client = Client()
        client.learn(20, probes=2)
        # Probes failed after 1 s and 3 s and passed after 7 s, so calls passed again after about 5 s. Before, 21 calls
        # took 2.1 s at the ceiling.
        assert client.learned == pytest.approx(21 / (2.1 + 5))

    def test_a_first_throttling_by_chance_teaches_nothing(self) -> None:
        """If the first probe passes, nothing is learned; the second time it is."""
        client = Client()
        for _ in range(2):
            assert client.quota.learned is None
            for _ in range(5):
                client.call()
            client.call(passes=False)
            client.call()
        assert client.learned == pytest.approx(6 / (0.6 + 0.5))

    def test_near_the_ceiling_nothing_is_learned(self) -> None:
        """Where calls pass nearly as fast as the ceiling lets them, the ceiling is limit enough."""
        client = Client()
        for _ in range(5):
            for _ in range(300):
                client.call()
            client.call(passes=False)
            client.call()
        assert client.quota.learned is None

    def test_the_rate_times_the_time_in_which_calls_went_out(self) -> None:
        """Later, the rate before a pause counts for at most the last 45 s, and the pause for the half that is certain."""
        client = Client()
        client.learn()
        client.load(60)
        rate = client.quota.rate
        client.call(passes=False, asked=10)
        client.call()
        assert client.learned == pytest.approx(rate * 45 / (45 + 5), rel=0.03)

    @given(calls=st.integers(0, 50), probes=st.integers(0, 8), asked=st.floats(0, 600))
    @settings(max_examples=60, deadline=None)
    def test_a_region_is_always_asked_now_and_then(self, calls: int, probes: int, asked: float) -> None:
        """However long the service was silent, a call goes out every ten seconds or so."""
        client = Client()
        for _ in range(3):
            client.learn(calls, probes=probes)
            client.call(passes=False, asked=asked)
            client.call()
        assert client.quota.rate > 0.09

    def test_calls_under_way_together_are_one_event(self) -> None:
        """A call that was sent before the last throttling neither doubles the pause nor ends it."""
        client = Client()
        client.learn()
        client.load(60)
        sent_at = client.now
        client.call(passes=False)
        throttled_at, due = client.now, client.quota.next_at
        client.quota.throttled(throttled_at + 0.5, sent_at, None, ceiling=CEILING, longest=LONGEST)
        assert not client.quota.succeeded(sent_at, CEILING)
        assert client.quota.is_probing
        assert client.quota.next_at == due

    def test_a_call_that_was_not_made(self) -> None:
        """A grant that was given back leaves its turn to the next call."""
        client = Client()
        client.learn()
        client.call()
        at = client.quota.next_at
        client.quota.granted(at, at)
        client.quota.taken_back(at)
        assert client.quota.next_at == at

    def test_it_is_logged_once(self, caplog: pytest.LogCaptureFixture) -> None:
        """One line says what was learned, for which operation and where."""
        caplog.set_level(logging.INFO, "ecs_waiter")
        client = Client()
        for _ in range(5):
            client.learn()
            client.load(30)
        assert [record.getMessage() for record in caplog.records] == [
            "learned the quota of DescribeTasks in cn-hangzhou: 5.12 calls per second"
        ]


class TestRate:
    def test_from_below_along_and_past_the_quota(self) -> None:
        """It begins 5 % below the quota, reaches it after 45 s, and has doubled before three minutes are over."""
        client = Client()
        client.learn()
        quota, rates = client.learned, []
        for _ in range(18):
            rates.append(client.quota.rate / quota)
            client.load(10)
        assert rates == sorted(rates)
        assert rates[0] == pytest.approx(0.95)
        assert rates[2] > 0.99
        assert rates[5] == pytest.approx(1, abs=0.01)
        assert rates[9] == pytest.approx(1.05, abs=0.01)
        assert rates[17] > 2

    @pytest.mark.parametrize("gap", [3, 3600])
    def test_idle_time_teaches_nothing(self, gap: float) -> None:
        """Calls for which nobody had to wait do not raise the rate, however many there are."""
        client = Client()
        client.learn()
        rate = client.quota.rate
        for _ in range(500):
            client.call(wait=gap)
        assert client.quota.rate == rate

    def test_a_throttling_by_chance_while_few_calls_go_out(self) -> None:
        """Calls that never had to wait are no sign of a lower quota."""
        client = Client()
        client.learn()
        rate = client.quota.rate
        for _ in range(100):
            client.call(wait=3)
        client.call(passes=False, wait=3)
        client.call()
        assert client.quota.rate > 0.9 * rate

    def test_the_ceiling_is_the_most_that_was_tried(self) -> None:
        """However far the curve has risen past the ceiling, what is learned next is at most the ceiling."""
        client = Client()
        client.learn()
        client.load(300)
        assert client.quota.rate > CEILING
        client.call(passes=False)
        client.call()
        assert 0.9 * CEILING < client.learned <= CEILING

    def test_a_throttling_by_chance_costs_little(self) -> None:
        """A lone throttling lowers the rate by a tenth at most, and after a minute under load it is forgotten."""
        client = Client()
        client.learn()
        client.load(50)
        rate = client.quota.rate
        client.call(passes=False)
        client.call()
        assert 0.9 * rate <= client.quota.rate <= 0.95 * rate
        client.load(75)
        assert client.quota.rate >= rate

    def test_chance_does_not_ratchet_it_down(self) -> None:
        """Where one call in two hundred is throttled by chance, the rate finds a level and stays there."""
        client = Client()
        client.learn(100)
        rates = []
        for _ in range(400):
            for _ in range(200):
                client.call()
            client.call(passes=False)
            rates.append(client.quota.rate)
        assert rates[-1] == pytest.approx(rates[200], rel=0.05)
        assert rates[-1] > rates[0] / 3

    @given(
        steps=st.lists(
            st.tuples(
                st.booleans(),
                st.one_of(st.none(), st.floats(0, 100)),
                st.one_of(st.none(), st.floats(0, 100)),
            ),
            max_size=100,
        )
    )
    @settings(max_examples=200, deadline=None)
    def test_whatever_happens(self, steps: list[tuple[bool, float | None, float | None]]) -> None:
        """Rate and quota stay positive and at most twice the ceiling, a pause is at most as long as it may be."""
        client = Client()
        for passes, wait, asked in steps:
            client.call(passes=passes, wait=wait, asked=asked)
            quota = client.quota
            assert quota.is_probing is not passes
            assert quota.rate > 0
            assert quota.learned is None or 0.1 <= quota.learned <= 2 * CEILING
            if quota.is_probing:
                assert 0 < quota.next_at - client.now <= LONGEST + 1e-6
            elif quota.learned is not None:
                assert quota.next_at - client.now <= 1 / quota.rate + 1e-6


def over(make: Callable[[int], tuple[ServiceQuota, dict[str, object]]], seconds: float, rounds: int = 6) -> list[Calls]:
    """Calls of some rounds, each with another seed and phase."""
    calls = []
    for seed in range(rounds):
        quota, more = make(seed)
        calls.append(call_without_end(quota, seconds=seconds, seed=seed, **more))  # type: ignore[arg-type]
    return calls


SERVICES: dict[str, Callable[[int], ServiceQuota]] = {
    "bucket 0.5": lambda _: Bucket(0.5),
    "bucket 1": lambda _: Bucket(1),
    "bucket 5": lambda _: Bucket(5),
    "bucket 8": lambda _: Bucket(8),
    "window 30": lambda seed: Window(30, 10 * seed + 0.5),
    "window 300": lambda seed: Window(300, 10 * seed + 0.5),
}


class TestServices:
    @pytest.mark.parametrize("service", SERVICES)
    def test_steady(self, service: str) -> None:
        """From minute two on hardly any call is throttled and nearly the whole quota is used."""
        calls = over(lambda seed: (SERVICES[service](seed), {}), 720)
        rate = SERVICES[service](0).rate
        assert median(one.throttled(0, 120) for one in calls) <= 0.15
        assert median(one.throttled(120, 720) for one in calls) <= 0.05
        assert median(one.passed(120, 720) for one in calls) >= 0.9 * rate

    @pytest.mark.parametrize("service", SERVICES)
    def test_a_quota_that_is_halved(self, service: str) -> None:
        """Two minutes later hardly any call is throttled."""
        rate = SERVICES[service](0).rate
        calls = over(lambda seed: (SERVICES[service](seed), {"changes": {230 + 9 * seed: rate / 2}}), 720)
        assert median(one.throttled(400, 720) for one in calls) <= 0.07

    @pytest.mark.parametrize("service", ["bucket 1", "bucket 5", "window 300"])
    def test_a_quota_that_is_doubled(self, service: str) -> None:
        """Two minutes later the new one is used."""
        rate = SERVICES[service](0).rate
        at = range(200, 300, 10)
        calls = over(lambda seed: (SERVICES[service](seed), {"changes": {at[seed]: 2 * rate}}), 540, rounds=10)
        used = [one.passed(at[seed] + 120, at[seed] + 240) for seed, one in enumerate(calls)]
        assert median(used) >= 0.9 * 2 * rate

    @pytest.mark.parametrize("share", [0.25, 0.5])
    @pytest.mark.parametrize("service", ["bucket 8", "window 300"])
    def test_a_quota_that_others_use_too(self, service: str, share: float) -> None:
        """Where other programs call at random times, much of what they leave is used, for good."""
        rate = SERVICES[service](0).rate
        for one in over(lambda seed: (SERVICES[service](seed), {"others": share * rate}), 1800, rounds=2):
            assert one.throttled(120, 1800) <= 0.1
            assert one.passed(1200, 1800) >= rate * (1 - share) / 3
