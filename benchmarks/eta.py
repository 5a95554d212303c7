"""The time left: how many tasks end within the band of their ETA, and how far its middle is off."""

from __future__ import annotations

import math
import random
from statistics import mean
from typing import TYPE_CHECKING

from benchmarks.figures import Figure, Goal, Result, of
from ecs_waiter.polling.durations import Durations, eta_of_all

if TYPE_CHECKING:
    from ecs_waiter import Eta

__all__ = ["measure"]

_MEDIAN = 900
_PAST = 30
_SIGMAS = (0.02, 0.1, 0.35, 0.8)
_CROWDS = (10, 100)
_SEEDS = range(6)
_TASKS = 300
_WAITS = 100
_GOAL = Goal(at_least=75, at_most=86)


def measure() -> Result:
    """Draw past durations and tasks from one distribution; ask for the time left when a task is polled."""
    figures: list[Figure] = []
    for sigma in _SIGMAS:
        rounds = [_of_one(sigma, random.Random(seed)) for seed in _SEEDS]
        figures.append(of(f"a task, sigma {sigma}: ends within the band", "%", [round_[0] for round_ in rounds], _GOAL))
        figures.append(of(f"a task, sigma {sigma}: mean error of the middle", "s", [round_[1] for round_ in rounds]))
    for count in _CROWDS:
        for sigma in _SIGMAS[::2]:
            shares = [_of_all(count, sigma, random.Random(seed)) for seed in _SEEDS]
            figures.append(of(f"a wait for {count} tasks, sigma {sigma}: ends within the band", "%", shares))
    return Result(
        "How good is the time left?",
        figures,
        [],
        [
            f"Durations are lognormal with a median of {_MEDIAN} s; {_PAST} are known, 100 for several tasks.",
        ],
    )


def _past(sigma: float, count: int, draw: random.Random) -> Durations:
    past = Durations()
    for _ in range(count):
        past.add(draw.lognormvariate(math.log(_MEDIAN), sigma))
    return past


def _known(eta: Eta | None) -> Eta:
    if eta is None:
        raise RuntimeError("enough durations are known, but there is no ETA")
    return eta


def _of_one(sigma: float, draw: random.Random) -> tuple[float, float]:
    """Per cent of ends within the band, and by how many seconds its middle is off; at each poll of each task."""
    within: list[bool] = []
    errors: list[float] = []
    for _ in range(_TASKS):
        past, duration, age = _past(sigma, _PAST, draw), draw.lognormvariate(math.log(_MEDIAN), sigma), 0.0
        while age < duration:
            eta = _known(past.eta(age))
            within.append(eta.low <= duration - age <= eta.high)
            errors.append(abs(duration - age - eta.median))
            age += 60
    return 100 * mean(within), mean(errors)


def _of_all(count: int, sigma: float, draw: random.Random) -> float:
    """Per cent of waits for several tasks that end within the band, asked for when they start."""
    within: list[bool] = []
    for _ in range(_WAITS):
        eta = _known(eta_of_all([(_past(sigma, 100, draw), 0.0, count)]))
        last = max(draw.lognormvariate(math.log(_MEDIAN), sigma) for _ in range(count))
        within.append(eta.low <= last <= eta.high)
    return 100 * mean(within)
