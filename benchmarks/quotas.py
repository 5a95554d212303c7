"""Quotas: how many calls are throttled, and how much of a quota is used, while calls wait all the time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

from support.quotas import Bucket, Window, call_without_end

from benchmarks.figures import Figure, Goal, Result, of

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.quotas import Calls, Quota

__all__ = ["measure"]

_CEILINGS = (10, 100, 200)
_BUCKETS = (0.5, 1, 2, 5, 8)
_WINDOWS = (30, 60, 300)
_SECONDS = 720
_CHANGES = range(200, 320, 10)
"""The second in which a quota changes: one of these in each round."""


@dataclass(frozen=True)
class Round:
    """Twelve minutes of calls.

    Attributes:
        rate: What the service lets through in the end, in calls per second.
        changed_at: Since when it has been that.
        calls: The calls.
    """

    rate: float
    changed_at: float
    calls: Calls

    def throttled(self, start: float, end: float) -> float:
        """Which part of the calls was throttled, from `start` to `end` after the change; in percent."""
        return 100 * self.calls.throttled(self.changed_at + start, self.changed_at + end)

    def used(self, start: float, end: float) -> float:
        """Which part of the quota was used then; in percent."""
        return 100 * self.calls.passed(self.changed_at + start, self.changed_at + end) / self.rate


def _play(makes: list[Callable[[], Quota]], change: float = 1, **more: Any) -> list[Round]:
    """One round for each quota and each ceiling that is higher, also when the quota is multiplied by `change`."""
    rounds = []
    for seed, (ceiling, make) in enumerate((ceiling, make) for ceiling in _CEILINGS for make in makes):
        quota = make()
        at, rate = _CHANGES[7 * seed % len(_CHANGES)] if change != 1 else 0, quota.rate * change
        if rate <= ceiling:
            calls = call_without_end(
                quota, seconds=_SECONDS, ceiling=ceiling, seed=seed, changes={at: rate} if at else None, **more
            )
            rounds.append(Round(rate, at, calls))
    return rounds


def _buckets(change: float = 1, **more: Any) -> dict[str, list[Round]]:
    return {f"{rate:g}/s": _play([partial(Bucket, rate)] * 4, change, **more) for rate in _BUCKETS}


def _windows(change: float = 1, **more: Any) -> dict[str, list[Round]]:
    """Windows that begin at every fifth second after the first call."""
    return {
        f"{calls}/min": _play([partial(Window, calls, phase) for phase in range(2, 60, 5)], change, **more)
        for calls in _WINDOWS
    }


def _shared(kind: str, rate: float, others: float) -> list[Round]:
    """Rounds in which other programs use a part of the quota; the rate is what they leave."""
    make = partial(Bucket, rate, 10) if kind == "bucket" else partial(Window, round(60 * rate), 17)
    rounds = _play([make] * 4, others=others * rate)
    return [Round(each.rate * (1 - others), 0, each.calls) for each in rounds]


def _worst(what: str, rounds: dict[str, list[Round]], value: Callable[[Round], float], goal: Goal) -> Figure:
    """The figure of the quota whose median is worst."""
    values = {name: [value(one) for one in each] for name, each in rounds.items()}
    name = (min if goal.at_least else max)(values, key=lambda each: median(values[each]))
    return of(f"{what} (worst: {name})", "%", values[name], goal)


def _throttled(what: str, rounds: dict[str, list[Round]], start: float, end: float, most: float) -> Figure:
    return _worst(f"{what}: throttled", rounds, lambda one: one.throttled(start, end), Goal(at_most=most))


def _used(what: str, rounds: dict[str, list[Round]], start: float, end: float, least: float) -> Figure:
    return _worst(f"{what}: used", rounds, lambda one: one.used(start, end), Goal(at_least=least))


def measure() -> Result:
    """Call without end, on virtual time, and count."""
    buckets, windows = _buckets(), _windows()
    asked = {seconds: _buckets(retry_after=lambda left, least=seconds: max(left, least)) for seconds in (5, 10)}
    to_the_end = _windows(retry_after=lambda left: left)
    more = _windows(2)
    large = f"{_WINDOWS[-1]}/min"
    shared = {
        f"{kind} of {rate}/s, others {others:.0%}": _shared(kind, rate, others)
        for kind in ("bucket", "window")
        for rate in (1, 5)
        for others in (0.25, 0.5)
    }
    figures = [
        _throttled("buckets, first two minutes", buckets, 0, 120, 15),
        _throttled("buckets, from minute 2", buckets, 120, _SECONDS, 5),
        _used("buckets, from minute 2", buckets, 120, _SECONDS, 90),
        _throttled("windows, first two minutes", windows, 0, 120, 15),
        _throttled("windows, from minute 2", windows, 120, _SECONDS, 5),
        _used("windows, from minute 2", windows, 120, _SECONDS, 90),
        _used("windows, Retry-After to the end of the minute", to_the_end, 120, _SECONDS, 80),
        *(
            _used(f"buckets, Retry-After of {seconds} s", rounds, 120, _SECONDS, 80)
            for seconds, rounds in asked.items()
        ),
        _used("buckets, two minutes after the quota doubled", _buckets(2), 120, 240, 90),
        _used("windows of 300, two minutes after the quota doubled", {large: more.pop(large)}, 120, 240, 90),
        _used("smaller windows, four minutes after the quota doubled", more, 240, 360, 90),
        _throttled("buckets, two minutes after the quota was halved", _buckets(0.5), 120, 400, 7),
        _throttled("windows, two minutes after the quota was halved", _windows(0.5), 120, 400, 7),
        _throttled("shared with other programs", shared, 120, _SECONDS, 10),
        _used("shared with other programs, of what they leave", shared, 120, _SECONDS, 33.3),
    ]
    return Result(
        "calls throttled and quota used while calls wait all the time",
        figures,
        notes=["Each row is for the quota with the worst median. Its rounds differ in ceiling, phase and seed."],
    )
