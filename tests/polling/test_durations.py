"""DurationHistory: what past durations say about the pauses and the time left of tasks."""

from __future__ import annotations

import copy
import math
import pickle
import random
from dataclasses import FrozenInstanceError
from itertools import pairwise
from statistics import mean, quantiles, stdev
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecs_waiter import Eta
from ecs_waiter.polling.durations import DurationHistory, Durations, eta_of_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SHARE, SHORTEST, LONGEST = 0.15, 3.0, 30.0

some_durations = st.lists(st.floats(min_value=0, max_value=1e7), min_size=10, max_size=120)
ages = st.floats(min_value=0, max_value=1e8)


def _past(seconds: Iterable[float]) -> Durations:
    durations = Durations()
    for each in seconds:
        durations.add(each)
    return durations


def _lognormal(draw: random.Random, median: float, sigma: float, count: int = 1) -> list[float]:
    return [draw.lognormvariate(math.log(median), sigma) for _ in range(count)]


def _plain_pause(age: float) -> float:
    return min(max(SHARE * age, SHORTEST), LONGEST)


def _factor(durations: Durations, age: float, plain: float | None = None, *, now: float = 0.0) -> float:
    pause = _plain_pause(age) if plain is None else plain
    return durations.pause_factor(age, pause, share=SHARE, longest=LONGEST, now=now)


def _free_factor(durations: Durations, age: float) -> float:
    """The factor of a pause so short that neither limit changes it, nor the look at its end."""
    return durations.pause_factor(age, 1e-9, share=0, longest=1e9, now=0.0)


def _exact_hazard(seconds: Sequence[float], age: float) -> float:
    """`c` by its definition, without a table."""
    logs, at = sorted(math.log(each) for each in seconds), math.log(age)
    lower, _, upper = quantiles(logs, n=4, method="inclusive")
    width = max(0.05, 1.06 * min(stdev(logs), (upper - lower) / 1.34) * len(logs) ** -0.2)
    ending = sum(math.exp(-(((at - log) / width) ** 2) / 2) / (width * math.sqrt(2 * math.pi)) for log in logs)
    running = sum(math.erfc((at - log) / (width * math.sqrt(2))) / 2 for log in logs)
    hazard: float = (ending + 3 * 0.3) / (running + 3)
    return hazard


def _polled(duration: float, durations: Durations | None, *, now: float = 0.0) -> tuple[int, float]:
    """The calls for a lone task, and by how many seconds its end is seen late."""
    age, calls = 0.0, 1
    while age < duration:
        pause = _plain_pause(age)
        age += pause if durations is None else pause * _factor(durations, age, now=now)
        calls += 1
    return calls, age - duration


# -- pauses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 9])
def test_fewer_than_ten_durations_change_no_pause(count: int) -> None:
    """With fewer than ten durations every factor is 1."""
    assert {_factor(_past([60.0] * count), age) for age in (0, 50, 60, 1000)} == {1.0}


def test_ten_durations_change_pauses() -> None:
    """With ten durations polls come closer together at the age at which tasks ended."""
    durations = _past([600.0] * 10)
    assert _factor(durations, 60) > 2
    assert _factor(durations, 599) < 0.6


@given(some_durations, ages, st.floats(min_value=0, max_value=LONGEST))
def test_a_pause_stays_between_half_the_plain_pause_and_the_longest(
    seconds: list[float], age: float, plain: float
) -> None:
    """Whatever the past, a pause is at least half of the plain pause and at most the longest."""
    pause = plain * _factor(_past(seconds), age, plain)
    assert plain / 2 <= pause <= LONGEST * (1 + 1e-9)


def test_both_limits_are_reached() -> None:
    """Before tasks end, the pause grows up to the longest; while they end, it shrinks to half."""
    durations = _past([1000.0] * 100)
    assert _factor(durations, 100) * _plain_pause(100) == pytest.approx(LONGEST)
    assert _factor(durations, 990) == 0.5


def test_no_pause_stays_no_pause() -> None:
    """A plain pause of 0 is not divided by."""
    assert _factor(_past([60.0] * 20), 50, 0.0) == 1.0


def _errors(seconds: Sequence[float], ages: Iterable[float]) -> list[float]:
    """The logarithms of the tabulated factors, less those of the exact ones."""
    durations = _past(seconds)
    return [
        math.log(_free_factor(durations, age) / max(0.5, math.sqrt(0.3 / _exact_hazard(seconds, age)))) for age in ages
    ]


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.35, 0.8])
@pytest.mark.parametrize("count", [10, 30, 100])
def test_the_table_agrees_with_the_definition(sigma: float, count: int) -> None:
    """The tabulated factor is `sqrt(c0 / c)`, up to the width of a cell."""
    seconds = _lognormal(random.Random(count), 900, sigma, count)
    errors = _errors(seconds, [900 * math.exp(sigma * step / 20) for step in range(-60, 61)])
    assert max(map(abs, errors)) < 0.15
    assert abs(mean(errors)) < 0.005


def test_outliers_do_not_widen_the_table() -> None:
    """The bandwidth follows the middle half of the durations, if that is narrower than their standard deviation."""
    seconds = [*_lognormal(random.Random(6), 900, 0.3, 40), 20.0, 20_000.0, 40_000.0]
    errors = _errors(seconds, [900 * math.exp(step / 100) for step in range(-60, 61)])
    assert abs(mean(errors)) < 0.01


def test_the_table_has_64_cells() -> None:
    """The factor is constant within each of 64 cells, and before and after them."""
    durations = _past(_lognormal(random.Random(1), 900, 0.8, 20))
    factors = [_free_factor(durations, 50 * math.exp(step / 400)) for step in range(2400)]
    assert 60 <= sum(one != other for one, other in pairwise(factors)) <= 65


def test_a_table_misses_no_peak() -> None:
    """Two narrow peaks far apart, with a cell wider than a peak: each cell still holds all that ended in it."""
    durations = _past([5.0] * 80 + [50_000.0] * 20)
    for age in (5.0, 50_000.0):
        assert min(_free_factor(durations, age * math.exp(step / 50)) for step in range(-10, 11)) == 0.5


def test_before_and_after_all_durations() -> None:
    """Much earlier than all of the past, n + m durations remain and only the prior ends; later, the prior is all."""
    durations = _past([900.0] * 100)
    assert _free_factor(durations, 2) == pytest.approx(math.sqrt((100 + 3) / 3), rel=1e-3)
    assert _free_factor(durations, 1e6) == pytest.approx(1.0, rel=1e-3)


def test_the_table_spans_four_bandwidths() -> None:
    """At three and a half bandwidths from all durations, the table still reflects them."""
    durations = _past([1000.0] * 100)
    edge = math.sqrt((100 + 3) / 3)
    assert _free_factor(durations, 1000 * math.exp(-3.5 * 0.05)) < edge * 0.9999
    assert _free_factor(durations, 1000 * math.exp(-4.2 * 0.05)) == pytest.approx(edge, rel=1e-3)


def test_a_pause_does_not_leap_over_the_ends() -> None:
    """A pause that would begin before and end among the durations of the past is short."""
    durations = _past([90.0 * math.exp(step / 1000) for step in range(-20, 20)])
    assert _factor(durations, 70, 1.0) > 2
    assert _factor(durations, 80, 10.0) == 0.5


def test_old_tasks_are_polled_less() -> None:
    """Where the share of the age exceeds the longest pause, the factor grows by the fourth root of the excess."""
    durations = _past([900.0] * 100)
    age = 16 * LONGEST / SHARE

    def at(share: float) -> float:
        return durations.pause_factor(age, 1.0, share=share, longest=LONGEST, now=0.0)

    assert at(SHARE) / at(SHARE / 16) == pytest.approx(2.0)
    assert at(SHARE / 32) == at(SHARE / 16)


def test_the_table_is_built_once_a_second_at_most() -> None:
    """Further ends change the factors a second after the last change at the earliest."""
    durations = _past([60.0] * 10)
    before = _factor(durations, 1000, 1.0, now=5.0)
    for _ in range(40):
        durations.add(1000.0)
    assert _factor(durations, 1000, 1.0, now=5.99) == before
    assert _factor(durations, 1000, 1.0, now=6.0) < before


def test_the_table_is_built_after_an_eighth_more_ends() -> None:
    """Fewer further ends than an eighth change nothing, however much time has passed."""
    durations = _past([60.0] * 80)
    before = _factor(durations, 1000, 1.0)
    for count in range(1, 11):
        durations.add(1000.0)
        assert (_factor(durations, 1000, 1.0, now=100.0 + count) < before) == (count == 10)


# -- what a pause is worth --------------------------------------------------------------------------------------------


def _against_fixed_loop(median: float, sigma: float, count: int, *, learns: bool = True) -> float:
    """The mean delay, as a multiple of that of a loop with a fixed pause that makes as many calls."""
    draw = random.Random(7)
    calls, delays, lives = [], [], []
    for _ in range(40):
        durations = _past(_lognormal(draw, median, sigma, count)) if learns else None
        for duration in _lognormal(draw, median, sigma, 25):
            made, delay = _polled(duration, durations)
            calls.append(made)
            delays.append(delay)
            lives.append(duration)
    return mean(delays) / (mean(lives) / mean(calls) / 2)


@pytest.mark.parametrize(
    ("median", "sigma", "at_most"), [(900, 0.35, 0.97), (900, 0.02, 0.68), (90, 0.02, 0.75), (5, 0.5, 1.5)]
)
def test_a_past_makes_polls_prompt(median: float, sigma: float, at_most: float) -> None:
    """With 30 past durations, ends are seen sooner than by a loop with a fixed pause that makes as many calls."""
    with_past = _against_fixed_loop(median, sigma, 30)
    assert with_past < at_most
    assert with_past < _against_fixed_loop(median, sigma, 30, learns=False)


@pytest.mark.parametrize("sigma", [0.02, 0.35])
def test_durations_that_double_cost_nothing(sigma: float) -> None:
    """If tasks suddenly take twice as long, their ends are not seen later than without a past."""
    draw = random.Random(3)
    durations = _past(_lognormal(draw, 900, sigma, 100))
    doubled = [2 * each for each in _lognormal(draw, 900, sigma, 600)]
    assert (
        mean(_polled(each, durations)[1] for each in doubled) <= mean(_polled(each, None)[1] for each in doubled) + 0.3
    )


# -- time left --------------------------------------------------------------------------------------------------------


def test_fewer_than_ten_durations_give_no_eta() -> None:
    """The first ETA comes with the tenth duration."""
    assert _past([60.0] * 9).eta(0) is None
    assert _past([60.0] * 10).eta(0) is not None


@given(some_durations, ages)
def test_an_eta_is_in_order(seconds: list[float], age: float) -> None:
    """The band surrounds the median, and all times are finite and positive."""
    eta = _past(seconds).eta(age)
    assert eta is not None
    assert 0 < eta.low <= eta.median <= eta.high < math.inf


@given(some_durations, ages, st.lists(st.floats(min_value=0.1, max_value=1e9), min_size=2, max_size=10))
def test_a_chance_is_a_probability(seconds: list[float], age: float, left: list[float]) -> None:
    """The chance that a task has ended grows with time from 0 to 1."""
    durations = _past(seconds)
    chances = [durations.chance(age, each) for each in sorted(left)]
    assert chances == sorted(chances)
    assert all(0 <= each <= 1 for each in chances)
    assert durations.chance(age, 1e300) == pytest.approx(1)


@given(st.lists(st.integers(min_value=2, max_value=10**6), min_size=10, max_size=100, unique=True), st.data())
def test_slots_are_equally_likely(seconds: list[int], data: st.DataObject) -> None:
    """The k durations longer than the age split the future into k + 1 slots of the same probability."""
    age = data.draw(st.integers(min_value=1, max_value=max(seconds) - 1))
    longer = sorted(each for each in seconds if each > age)
    durations = _past(seconds)
    for number, each in enumerate(longer, start=1):
        assert durations.chance(age, each - age) == pytest.approx(number / (len(longer) + 1))


def test_within_a_slot_the_logarithm_counts() -> None:
    """The geometric middle of a slot is the middle of its probability."""
    durations = _past([100.0] * 10 + [400.0] * 10)
    assert durations.chance(100, 100) == pytest.approx(0.5 / 11)
    assert durations.chance(100, 300) == pytest.approx(10 / 11)


def test_after_the_longest_duration_the_tail_is_a_pareto_distribution() -> None:
    """Its exponent is Hill's estimate from the longest quarter, with 0.3 more of the logarithm at the prior's rate."""
    durations = _past([100.0] * 12 + [100 * math.e] * 4)
    exponent = (4 + 0.3 * 0.3) / (4 * 1 + 0.3)
    for age in (300.0, 10_000.0):
        assert durations.chance(age, age) == pytest.approx(1 - 2**-exponent)


def test_the_quantiles_of_an_eta() -> None:
    """The band runs from the first to the last tenth."""
    durations = _past(1000 + 10.0 * number for number in range(1, 100))
    eta = durations.eta(1000)
    assert eta is not None
    assert (eta.low, eta.median, eta.high) == pytest.approx((100, 500, 900), rel=1e-3)


@pytest.mark.parametrize(("duration", "age"), [(100.0, 99.8), (1e9, 0.0)])
def test_an_eta_may_be_short_or_long(duration: float, age: float) -> None:
    """From a tenth of a second to decades."""
    eta = _past([duration] * 20).eta(age)
    assert eta is not None
    assert eta.median == pytest.approx(duration - age, rel=1e-3)


def test_a_new_end_changes_the_next_eta() -> None:
    """Nothing is remembered of the durations before."""
    seconds = [100.0] * 10
    durations = _past(seconds)
    for each in (200.0, 300.0, 400.0, 500.0):
        assert durations.eta(600) == _past(seconds).eta(600)
        durations.add(each)
        seconds.append(each)


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.35, 0.8])
def test_the_band_covers_80_percent(sigma: float) -> None:
    """With 30 past durations, 75 to 86 % of tasks end within the band, whatever their age when it is asked for."""
    draw = random.Random(2)
    inside = []
    for _ in range(250):
        durations = _past(_lognormal(draw, 900, sigma, 30))
        for duration in _lognormal(draw, 900, sigma, 4):
            eta = durations.eta(age := duration * draw.uniform(0, 0.95))
            assert eta is not None
            inside.append(eta.low <= duration - age <= eta.high)
    assert 0.75 <= mean(inside) <= 0.86


# -- time left of several tasks ---------------------------------------------------------------------------------------


def test_the_eta_of_one_task_is_its_own() -> None:
    """A wait for one task has the ETA of the task."""
    durations = _past(range(60, 100))
    assert eta_of_all([(durations, 10, 1)]) == durations.eta(10)


def test_no_tasks_or_an_unknown_operation_have_no_eta() -> None:
    """If nothing is known about one task, nothing is known about all of them."""
    known = _past(range(60, 100))
    assert eta_of_all([]) is None
    assert eta_of_all([(known, 10, 1), (None, 10, 1)]) is None
    assert eta_of_all([(known, 10, 1), (_past([5.0] * 9), 10, 1)]) is None


def test_all_tasks_take_as_long_as_the_last_of_them() -> None:
    """The chances of independent tasks multiply."""
    short, long = _past(range(50, 90)), _past(range(500, 900, 10))
    both, alone = eta_of_all([(short, 10, 1), (long, 20, 1)]), long.eta(20)
    assert both is not None
    assert alone is not None
    assert both.median == pytest.approx(alone.median, rel=1e-3)
    many, one = eta_of_all([(long, 20, 4)]), long.eta(20)
    assert many is not None
    assert one is not None
    assert many.median > one.median
    assert long.chance(20, many.median) ** 4 == pytest.approx(0.5, rel=1e-3)


def test_tasks_of_one_age_are_taken_together() -> None:
    """Many tasks with the same age are as one with their number, and slightly different ages change little."""
    durations = _past(_lognormal(random.Random(1), 900, 0.35, 50))
    together = eta_of_all([(durations, 300, 100)])
    assert eta_of_all([(durations, 300, 1)] * 100) == together
    assert eta_of_all([(durations, 302, 1), (durations, 300, 1)]) == eta_of_all([(durations, 300, 2)])
    apart = eta_of_all([(durations, 300, 5), (durations, 400, 5)])
    assert apart is not None
    assert (durations.chance(300, apart.median) * durations.chance(400, apart.median)) ** 5 == pytest.approx(
        0.5, rel=1e-3
    )


def test_many_tasks_are_cheap() -> None:
    """What an ETA costs depends on how widely the ages are spread, not on how many tasks there are."""

    class Counting(Durations):
        calls = 0

        def chance(self, age: float, seconds: float) -> float:
            self.calls += 1
            return super().chance(age, seconds)

    durations = Counting()
    durations.add_past([900.0] * 20)
    eta_of_all([(durations, 300 + number / 100, 1) for number in range(3000)])
    assert 0 < durations.calls <= 3 * 20 * 3


@pytest.mark.parametrize("count", [2, 10, 50])
def test_the_band_of_several_tasks_covers_most_waits(count: int) -> None:
    """With 100 past durations the band of a wait for several tasks covers about 80 %."""
    draw = random.Random(4)
    inside = []
    for _ in range(150):
        eta = eta_of_all([(_past(_lognormal(draw, 900, 0.35, 100)), 0, count)])
        assert eta is not None
        inside.append(eta.low <= max(_lognormal(draw, 900, 0.35, count)) <= eta.high)
    assert 0.7 <= mean(inside) <= 0.9


# -- what is kept -----------------------------------------------------------------------------------------------------


def test_the_last_hundred_durations_count() -> None:
    """Of more durations the oldest is forgotten, wherever it is among the others by length."""
    durations = _past([*range(1, 101), 500, 600])
    assert len(durations) == 100
    assert durations.chance(1, 2) == pytest.approx(1 / 101)  # nothing took 1 or 2 s any more
    assert durations.chance(550, 50) == pytest.approx(1 / 2)


@given(st.lists(st.floats(min_value=0, max_value=1e6), min_size=10, max_size=250), ages, ages)
def test_only_what_is_kept_counts(seconds: list[float], age: float, left: float) -> None:
    """However many came, in whatever order, the last hundred say it all."""
    assert _past(seconds).chance(age, left) == _past(sorted(seconds[-100:])).chance(age, left)


def test_no_duration_is_below_a_second() -> None:
    """Shorter durations count as one second, and so do ages."""
    durations = _past([0.0] * 20)
    assert durations.chance(0.5, 0.0) == durations.chance(0, 0.0) == durations.chance(1, 0.0)
    assert _free_factor(durations, 0) == _free_factor(durations, 1) < 1
    assert _past([0.5] * 10 + [2.0] * 10).chance(0, 1.0) == pytest.approx(10 / 11)


def test_a_past_from_elsewhere_is_older_than_what_was_seen() -> None:
    """It fills the room that is left with its latest durations, and leaves first."""
    durations = _past([1000.0] * 95)
    durations.add_past([10.0] * 50 + [20.0, 30.0, 40.0, 50.0, 60.0])
    assert len(durations) == 100
    assert durations.chance(1, 9.5) < 1 / 101  # none of 10 s was kept
    durations.add(2000.0)
    assert durations.chance(19, 1.1) < 1 / 101  # that of 20 s left first
    assert durations.chance(1, 60) > 4 / 101
    durations.add_past([5.0] * 30)
    assert len(durations) == 100
    assert durations.chance(1, 5) < 1 / 101


def test_operations_are_apart() -> None:
    """Each key has its own durations; a look does not create any."""
    history = DurationHistory()
    history.at("a").add(5)
    assert history.find("b") is None
    assert len(history) == 1
    assert len(history.at("b")) == 0
    assert history.find("a") is history.at("a")


def test_the_last_two_hundred_operations_are_kept() -> None:
    """Of more operations the one that has had no end for longest is forgotten."""
    history = DurationHistory()
    for number in range(200):
        history.at(number).add(5)
    history.at(0).add(5)
    history.at(200).add(5)
    assert len(history) == 200
    assert history.find(1) is None
    assert history.find(0) is not None


def test_an_eta_is_a_frozen_value() -> None:
    """An Eta compares by value, survives pickle and cannot change."""
    eta = Eta(1.0, 2.0, 3.0)
    assert copy.copy(eta) == pickle.loads(pickle.dumps(eta)) == Eta(low=1.0, median=2.0, high=3.0)  # noqa: S301 - our own
    with pytest.raises(FrozenInstanceError):
        eta.low = 2.0  # type: ignore[misc]


def test_a_repr_says_how_many() -> None:
    """The repr shows the number of durations."""
    assert repr(_past([5.0, 6.0])) == "Durations(2)"
