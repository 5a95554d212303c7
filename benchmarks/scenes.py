"""Scenes: crowds of tasks, each with what a fixed loop of as many calls would make of it."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from statistics import mean, quantiles
from typing import TYPE_CHECKING

from benchmarks.cadences import fixed_loop
from benchmarks.figures import Figure, Goal, of
from benchmarks.lives import DURATIONS, Life
from benchmarks.simulated import play
from ecs_waiter import PollPolicy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.lives import Durations
    from benchmarks.simulated import Played

__all__ = ["SCENES", "Scene", "figures"]

_HOUR = 3600.0
_ACCOUNT = 100
"""Durations that the account knows."""


def _lognormal(median: float, sigma: float) -> Durations:
    return lambda draw: draw.lognormvariate(math.log(median), sigma)


def _two_kinds(draw: random.Random) -> float:
    return draw.choices((60.0, _HOUR), (80, 20))[0]


def _log_uniform(draw: random.Random) -> float:
    return math.exp(draw.uniform(math.log(5), math.log(2 * _HOUR)))


@dataclass(frozen=True)
class Scene:
    """A crowd of tasks.

    Attributes:
        name: What it is called.
        tasks: How many come.
        within: The seconds within which they come, evenly.
        durations: How long they take.
        mean: What the mean delay may be at most, in units of that of a fixed loop of as many calls.
        p99: The same for its 99th percentile.
        seeds: How many such crowds are played.
        past: How many durations are known from before.
    """

    name: str
    tasks: int
    within: float
    durations: Durations
    mean: float
    p99: float
    seeds: int = 6
    past: int = 0
    speed: float = field(default=1.0)

    def crowd(self, seed: int) -> Sequence[Life]:
        """Draw one."""
        draw = random.Random(seed)
        asked = sorted(draw.uniform(0, self.within) for _ in range(self.tasks))
        lives = [(at, self.durations(draw) * self.speed) for at in asked]
        return [Life(f"t-{number:06}", at, at, at + lasts) for number, (at, lasts) in enumerate(lives)]

    def known(self, seed: int, count: int) -> list[float]:
        """Draw durations of tasks that finished before."""
        draw = random.Random(f"past {seed}")
        return [self.durations(draw) for _ in range(count)]


SCENES = (
    Scene("1,000 an hour, 90 s", 1000, _HOUR, DURATIONS["short"], 1.00, 1.15),
    Scene("1,000 an hour, half an hour", 1000, _HOUR, DURATIONS["imports"], 0.85, 1.05),
    Scene("1,000 an hour, mixed", 1000, _HOUR, DURATIONS["mixed"], 0.62, 1.15),
    Scene("100 at once, mixed", 100, 0, DURATIONS["mixed"], 0.55, 1.02),
    Scene("1,000 at once, 15 minutes", 1000, 0, _lognormal(900, 0.35), 0.96, 1.22),
    Scene("one every five minutes, half an hour", 60, 5 * _HOUR, DURATIONS["imports"], 1.05, 1.30),
    Scene("300 an hour, a minute or an hour", 300, _HOUR, _two_kinds, 0.90, 1.85),
    Scene("10 at once, 15 minutes", 10, 0, _lognormal(900, 0.35), 1.28, 1.38, seeds=60),
    Scene("one alone, 5 s to 2 h", 1, 0, _log_uniform, 0.85, 1.38, seeds=200),
    Scene("one alone, 15 minutes, 30 past", 1, 0, _lognormal(900, 0.35), 0.95, 1.30, seeds=200, past=30),
    Scene("one alone, 15 minutes to the second, 30 past", 1, 0, _lognormal(900, 0.02), 0.65, 0.65, seeds=200, past=30),
)


def figures() -> list[Figure]:
    """Play each scene without history, with what a session learns, and with what the account knows."""
    found: list[Figure] = []
    for scene in SCENES:
        crowds = [scene.crowd(seed) for seed in range(scene.seeds)]
        for history, past in (("off", 0), ("session", scene.past), ("account", _ACCOUNT)):
            known = [scene.known(seed, past) for seed in range(scene.seeds)]
            ours = _played(crowds, known, history)
            theirs = _as_many_calls(crowds, sum(played.calls for played in ours))
            goals = (Goal(at_most=scene.mean), Goal(at_most=scene.p99)) if history == "session" else (None, None)
            label = f"{scene.name}, history {history}"
            found += [
                of(f"{label}: calls for each task", "calls", [_calls(ours) / (scene.tasks * scene.seeds)]),
                of(f"{label}: mean delay", "s", [mean(_delays(ours))]),
                of(f"{label}: mean delay / fixed loop", "x", [mean(_delays(ours)) / mean(_delays(theirs))], goals[0]),
                of(f"{label}: 99th percentile / fixed loop", "x", [_p99(ours) / _p99(theirs)], goals[1]),
            ]
    return [*found, _doubled()]


def _doubled() -> Figure:
    """One alone that takes twice as long as all before it: how much later it is found than without history."""
    scene = Scene("", 1, 0, _lognormal(900, 0.35), 0, 0, seeds=200, speed=2.0)
    crowds = [scene.crowd(seed) for seed in range(scene.seeds)]
    known = [scene.known(seed, 30) for seed in range(scene.seeds)]
    learned, plain = (mean(_delays(_played(crowds, known, history))) for history in ("session", "off"))
    name = "one alone, durations doubled overnight: mean delay / that without history"
    return of(name, "x", [learned / plain], Goal(at_most=1.0))


def _played(crowds: Sequence[Sequence[Life]], known: Sequence[Sequence[float]], history: str) -> list[Played]:
    policy = PollPolicy(history=history)  # type: ignore[arg-type]
    return [
        play(policy, lives, seed=seed, past=() if history == "off" else past)
        for seed, (lives, past) in enumerate(zip(crowds, known, strict=True))
    ]


def _as_many_calls(crowds: Sequence[Sequence[Life]], calls: int) -> list[Played]:
    """What a fixed loop makes of these crowds that makes as many calls in all, by bisection of its interval."""

    def looped(seconds: float) -> list[Played]:
        return [fixed_loop(lives, seconds) for lives in crowds]

    low, high = 0.5, 300.0
    for _ in range(16):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if _calls(looped(middle)) > calls else (low, middle)
    return looped(high)


def _calls(played: Sequence[Played]) -> int:
    return sum(one.calls for one in played)


def _delays(played: Sequence[Played]) -> list[float]:
    return [delay for one in played for delay in one.lateness.values()]


def _p99(played: Sequence[Played]) -> float:
    return quantiles(_delays(played), n=100, method="inclusive")[-1]
