"""Tasks of a simulation: when they come, how old they are by then, and when they end."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["ARRIVALS", "DURATIONS", "Durations", "Life", "coming"]


@dataclass(frozen=True, slots=True)
class Life:
    """One task, in seconds of the simulation.

    Attributes:
        task_id: Its ID.
        asked: When somebody starts to wait for it.
        created: When it was created: then, or before.
        ends: When it ends.
    """

    task_id: str
    asked: float
    created: float
    ends: float


Durations: TypeAlias = Callable[[random.Random], float]


def _at_once(draw: random.Random) -> float:
    return draw.uniform(1, 20)


DURATIONS: dict[str, Durations] = {
    # Copies within a region, restarts: minutes.
    "short": lambda draw: draw.lognormvariate(4.5, 0.6),
    # Imports and exports of images by their size: some minutes to some hours, an hour or so on the whole.
    "imports": lambda draw: draw.lognormvariate(7.6, 0.8),
    # Both kinds, and every tenth that fails within seconds.
    "mixed": lambda draw: draw.choices((_at_once, DURATIONS["short"], DURATIONS["imports"]), (2, 9, 9))[0](draw),
}
"""In seconds; draws of one task's duration."""

_HOUR = 3600.0
_BY_THE_SECOND = 10_000


def _together(count: int, _draw: random.Random) -> list[float]:
    return [0.0] * count


def _staggered(count: int, draw: random.Random) -> list[float]:
    asked = sorted(draw.uniform(0, _HOUR) for _ in range(count))
    return [float(int(at)) for at in asked] if count > _BY_THE_SECOND else asked


def _in_waves(count: int, _draw: random.Random) -> list[float]:
    waves = 6
    return [number * waves // count * _HOUR / waves for number in range(count)]


ARRIVALS: dict[str, Callable[[int, random.Random], list[float]]] = {
    "together": _together,
    "staggered": _staggered,
    "in waves": _in_waves,
}
"""When tasks come: at once, one by one within an hour (very many: second by second), or in six waves."""

_AGES = 12


def coming(count: int, arrivals: str, durations: str, *, aged: bool, seed: int) -> Sequence[Life]:
    """Draw tasks in the order they come; `aged` ones were created up to an hour before anybody waits for them."""
    draw = random.Random(seed)
    lives = []
    for number, asked in enumerate(ARRIVALS[arrivals](count, draw)):
        duration = DURATIONS[durations](draw)
        age = 0.0
        if aged:
            # Of tasks that still run; in steps of five minutes, as those of a program that lists what was started.
            age = min(draw.randrange(_AGES) * 300.0, duration // 300 * 300)
        lives.append(Life(f"t-{number:06}", asked, asked - age, max(asked, asked - age + duration)))
    return lives
