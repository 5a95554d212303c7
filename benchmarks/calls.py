"""Calls against the least possible for the same promptness, for many kinds of crowds, in a simulation."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from statistics import mean
from typing import TYPE_CHECKING

from benchmarks.bound import least_calls
from benchmarks.cadences import by_due_time, one_by_one
from benchmarks.figures import Goal, Result, of
from benchmarks.lives import ARRIVALS, coming
from benchmarks.simulated import play
from ecs_waiter import PollPolicy, wait_proportional
from ecs_waiter.polling.policy import ask

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["measure", "usual_pace"]

# No limit is in the way, for one that is would make calls fewer and answers late.
_POLICY = PollPolicy(wait=wait_proportional(), max_in_flight=100_000, max_calls_per_second=1e6)
_COUNTS = (1, 10, 100, 150, 1_000, 10_000, 100_000)
_SEEDS = {1: 20, 10: 10, 100: 3, 150: 3, 1_000: 3}
_NOT_TOO_FEW = 1_000
_NOT_TOO_MANY = 10_000
_GOAL = Goal(at_most=1.05)


def usual_pace(strategy: wait_proportional) -> Callable[[float], float]:
    """The mean of what the strategy gives at an age, as its jitter goes both ways."""

    def exactly(age: float) -> float:
        middle = min(max(strategy.factor * age, strategy.min), strategy.max)
        lowest = max(strategy.min, middle * (1 - strategy.jitter))
        highest = min(strategy.max, middle * (1 + strategy.jitter))
        return (lowest + highest) / 2

    # It is asked millions of times, and mostly about tasks that are older than it takes to come to the ceiling.
    old = strategy.max / strategy.factor / (1 - strategy.jitter)
    slowest = exactly(old)

    def pace(age: float) -> float:
        return slowest if age >= old else exactly(age)

    return pace


@dataclass(frozen=True)
class _Outcome:
    """One crowd: calls by the least, those of the simple scheduler by the least, and lateness by that of the pace."""

    calls: float
    simple: float | None
    lateness: float | None


def _crowd(count: int, arrivals: str, aged: bool, seed: int) -> _Outcome:
    wait = _POLICY.wait
    assert isinstance(wait, wait_proportional)
    pace = usual_pace(wait)
    lives = coming(count, arrivals, "mixed", aged=aged, seed=seed)
    least = least_calls(lives, pace)
    played = play(_POLICY, lives, seed=seed)
    simple = lateness = None
    if count <= _NOT_TOO_MANY:
        simple = by_due_time(lives, lambda _looks, age: pace(age)).calls / least
    if _NOT_TOO_FEW <= count <= _NOT_TOO_MANY:
        by_itself = one_by_one(lives, lambda looks, age: ask(wait, polls=looks, age=age))
        lateness = mean(played.lateness.values()) / mean(by_itself.lateness.values())
    return _Outcome(played.calls / least, simple, lateness)


def measure() -> Result:
    """Play each kind of crowd with some seeds, several at a time: it is the outcome that counts, not the time."""
    kinds = [
        (count, arrivals, aged)
        for arrivals in ARRIVALS
        for aged in (False, True)
        for count in _COUNTS
        # So many take their time: once each is enough, and the harder way.
        if aged or count <= _NOT_TOO_MANY
    ]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        jobs = {
            kind: [pool.submit(_crowd, *kind, seed) for seed in range(_SEEDS.get(kind[0], 1))]
            # The largest first, so that no process is left alone with one.
            for kind in sorted(kinds, reverse=True)
        }
        found = {kind: [job.result() for job in jobs[kind]] for kind in kinds}
    figures = [
        of(
            f"{count:,} tasks, {arrivals}, {'of mixed ages' if aged else 'new'}: calls / least",
            "x",
            [outcome.calls for outcome in found[count, arrivals, aged]],
            _GOAL,
        )
        for count, arrivals, aged in kinds
    ]
    every = [outcome for outcomes in found.values() for outcome in outcomes]
    figures += [
        of(
            f"all with at most {_NOT_TOO_MANY:,} tasks, a due time for each task: calls / least",
            "x",
            [outcome.simple for outcome in every if outcome.simple is not None],
        ),
        of(
            f"all of {_NOT_TOO_FEW:,} to {_NOT_TOO_MANY:,} tasks: mean lateness / that of the pace alone",
            "x",
            [outcome.lateness for outcome in every if outcome.lateness is not None],
            _GOAL,
        ),
    ]
    return Result(
        "How many calls more than the least possible for the same promptness?",
        figures,
        notes=["In a simulation: each run is the same on every machine. Below 1: the dice of the jitter fell well."],
    )
