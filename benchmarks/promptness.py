"""Promptness for the calls: how late a cadence is for what it spends, over the same mixes of tasks, in a simulation."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from statistics import mean, quantiles
from typing import TYPE_CHECKING

from benchmarks import scenes
from benchmarks.cadences import by_due_time, exponential, fixed_loop, one_by_one
from benchmarks.figures import Goal, Line, Plot, Result, of
from benchmarks.lives import coming
from benchmarks.simulated import Played, play
from ecs_waiter import PollPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.lives import Life

__all__ = ["at_as_many_calls", "measure"]

_TASKS = 1_000
_SEEDS = range(3)
_MIXES = {
    "short": "copies and restarts, minutes each",
    "imports": "imports, half an hour each or hours",
    "mixed": "both kinds, and some that end at once",
}
_FRONTIER = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 120.0)

_OURS = "ecs_waiter, default"
_CADENCES: dict[str, Callable[[Sequence[Life]], Played]] = {
    "loop, every 15 s": lambda lives: fixed_loop(lives, 15),
    "loop, every 30 s": lambda lives: fixed_loop(lives, 30),
    "exponential 2 to 60 s, batched": lambda lives: by_due_time(lives, exponential(2, 60)),
    "each task, 2 to 60 s": lambda lives: one_by_one(lives, exponential(2, 60)),
    "each task, every 15 s": lambda lives: one_by_one(lives, lambda _looks, _age: 15.0),
    "each task, every 5 s": lambda lives: one_by_one(lives, lambda _looks, _age: 5.0),
}


@dataclass(frozen=True)
class _Spent:
    """Calls for each task, and how late its end was known: in seconds, and in per cent of what it took."""

    calls: float
    mean: float
    p99: float
    share: float


def _spent(lives: Sequence[Life], played: Played) -> _Spent:
    lateness = list(played.lateness.values())
    return _Spent(
        calls=played.calls / len(lives),
        mean=mean(lateness),
        p99=quantiles(lateness, n=100, method="inclusive")[-1],
        share=mean(100 * played.lateness[life.task_id] / (life.ends - life.created) for life in lives),
    )


def at_as_many_calls(curve: Sequence[tuple[float, float]], calls: float) -> float:
    """Read a curve of (calls, lateness) at a number of calls, straight between its points on logarithmic axes.

    Raises:
        ValueError: The curve does not reach so far.
    """
    points = sorted(curve)
    place = bisect_left(points, (calls, -math.inf))
    if place == len(points) or (place == 0 and points[0][0] > calls):
        raise ValueError(f"{calls:g} calls lie outside of {points[0][0]:g} to {points[-1][0]:g}")
    if points[place][0] == calls:
        return points[place][1]
    (x0, y0), (x1, y1) = points[place - 1], points[place]
    share = math.log(calls / x0) / math.log(x1 / x0)
    return math.exp(math.log(y0) + share * math.log(y1 / y0))


_HELD_TO: dict[str, tuple[Callable[[_Spent], float], Goal | None]] = {
    "mean lateness": (lambda spent: spent.mean, Goal(at_most=1)),
    "99th percentile": (lambda spent: spent.p99, Goal(at_most=1)),
    "lateness by duration": (lambda spent: spent.share, None),
}


def measure() -> Result:
    """Play each mix with our default, the peers' cadences, and a family of fixed ones between which to read."""
    figures = scenes.figures()
    plots = []
    for mix, told in _MIXES.items():
        crowds = [coming(_TASKS, "staggered", mix, aged=False, seed=seed) for seed in _SEEDS]
        ours = [_spent(lives, play(PollPolicy(), lives, seed=seed)) for seed, lives in zip(_SEEDS, crowds, strict=True)]
        theirs = {name: [_spent(lives, cadence(lives)) for lives in crowds] for name, cadence in _CADENCES.items()}
        fixed = [[_spent(lives, fixed_loop(lives, seconds)) for seconds in _FRONTIER] for lives in crowds]
        for name, spent in {_OURS: ours, **theirs}.items():
            figures += [
                of(f"{mix}: {name}, calls for each task", "calls", [one.calls for one in spent]),
                of(f"{mix}: {name}, mean lateness", "s", [one.mean for one in spent]),
                of(f"{mix}: {name}, 99th percentile", "s", [one.p99 for one in spent]),
                of(f"{mix}: {name}, lateness by duration", "%", [one.share for one in spent]),
            ]
        for what, (pick, goal) in _HELD_TO.items():
            ratio = [
                pick(one) / at_as_many_calls([(other.calls, pick(other)) for other in family], one.calls)
                for one, family in zip(ours, fixed, strict=True)
            ]
            figures.append(of(f"{mix}: {what} / that of a fixed loop of as many calls", "x", ratio, goal))
            ratio = [
                pick(one) / min(pick(spent[number]) for spent in theirs.values() if spent[number].calls <= one.calls)
                for number, one in enumerate(ours)
            ]
            figures.append(of(f"{mix}: {what} / the best peer's that makes no more calls", "x", ratio, goal))
        plots.append(_plot(mix, told, ours, theirs, fixed))
    return Result(
        "How late is the news, for the calls it costs?",
        figures,
        plots,
        [
            "Each scene against a fixed loop over all tasks that makes as many calls, with 100 IDs in a call.",
            f"Then {_TASKS:,} tasks of each mix, staggered within an hour.",
        ],
    )


def _plot(mix: str, told: str, ours: list[_Spent], theirs: dict[str, list[_Spent]], fixed: list[list[_Spent]]) -> Plot:
    def middle(spent: Sequence[_Spent]) -> tuple[float, float]:
        return mean(one.calls for one in spent), mean(one.mean for one in spent)

    lines = [
        Line(_OURS, [middle(ours)], is_ours=True),
        Line("loop, every 1 to 120 s", [middle(family) for family in zip(*fixed, strict=True)]),
        *(Line(name, [middle(spent)]) for name, spent in theirs.items()),
    ]
    title = f"Lateness for calls: {told}"
    return Plot(f"promptness-{mix}", title, "calls for each task", "mean lateness in seconds", lines)
