"""The least possible number of calls at a given promptness: a bound from below that no scheduler can beat.

The promptness: each task is looked at when it comes; between two looks no more time passes than its pace at its age;
looks go on until one finds it ended. A scheduler that knows all arrivals, ages and ends beforehand, and puts up
to a hundred tasks in a call, must keep to that too. Then, within any window of time:

- A task that is not looked at between t and t + pace(t) breaks the promise. So it needs as many looks as such
  intervals, one after the other, fit into the window; and one call looks at a task once at most.
- A call looks at a hundred tasks at most: all these looks together need a hundredth as many calls, rounded up.
- Each instant at which tasks come needs calls of its own.

A window needs the largest of the three. Windows that do not overlap share no call, so what they need adds up. Which
windows tell most is a matter of search: here short ones, each as long as the pace of some tasks, from one end to the
other, and then any two neighbors as one wherever that tells more.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.lives import Life

__all__ = ["least_calls"]


_CHOICES = 8
_A_MOMENT = 1e-6
"""Windows to choose from at each step, and the time by which each is longer than an instant or a pace."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Tasks that came together at the same age; they differ in when they end."""

    asked: float
    created: float
    ends: list[float]


@dataclass(frozen=True, slots=True)
class _Window:
    """From `start` until just before `stop`: the calls needed, and who came before and is there, youngest first."""

    start: float
    stop: float
    calls: int
    present: list[_Group]


def least_calls(lives: Sequence[Life], pace: Callable[[float], float], batch: int = 100) -> int:
    """Return a number of calls below which the promptness cannot be kept.

    Args:
        lives: The tasks.
        pace: Seconds between two looks at a task of an age; it must not fall with the age.
        batch: Tasks to a call.
    """
    ends = defaultdict(list)
    for life in lives:
        ends[life.asked, life.created].append(life.ends)
    groups = [_Group(*key, sorted(each)) for key, each in sorted(ends.items())]
    bound = _Bound(pace, batch, groups)
    return max(bound.calls(crossing=crossing) for crossing in (False, True)) if groups else 0


class _Bound:
    def __init__(self, pace: Callable[[float], float], batch: int, groups: list[_Group]) -> None:
        self._pace = pace
        self._batch = batch
        self._groups = groups
        self._asked = [group.asked for group in groups]

    def calls(self, *, crossing: bool) -> int:
        """The bound by windows that go on past the next arrival, or end there at the latest."""
        windows = self._side_by_side(crossing=crossing)
        while len(windows) > 1:
            pairs = [self._joined(*pair) for pair in zip(windows[::2], windows[1::2], strict=False)]
            windows = pairs + windows[len(pairs) * 2 :]
        return windows[0].calls

    def _side_by_side(self, *, crossing: bool) -> list[_Window]:
        windows: list[_Window] = []
        present: list[_Group] = []
        start, come = self._asked[0], 0
        while True:
            present = [group for group in present if group.ends[-1] >= start]
            while come < len(self._groups) and self._asked[come] < start:
                insort(present, self._groups[come], key=_youngest_first)
                come += 1
            arriving = bisect_right(self._asked, start)
            following = self._asked[arriving] if arriving < len(self._asked) else math.inf
            if not present and come == arriving:
                if following == math.inf:
                    return windows
                start = following
                continue
            if come < arriving:
                # An instant at which tasks come is a window of its own.
                stop = start + _A_MOMENT
                windows.append(_Window(start, stop, self._within(start, stop, present), present))
            else:
                windows.append(self._best(start, present, following, crossing=crossing))
            start = windows[-1].stop

    def _best(self, start: float, present: list[_Group], following: float, *, crossing: bool) -> _Window:
        """Of some windows the one that needs most calls for its length."""
        some = present[:: -(-len(present) // _CHOICES)] + present[-1:]
        lengths = {self._pace(start - group.created) for group in some}
        stops = {start + length + _A_MOMENT for length in lengths} | {following} - {math.inf}
        if not crossing:
            stops = {stop for stop in stops if stop <= following}
        windows = [_Window(start, stop, self._within(start, stop, present), present) for stop in sorted(stops)]
        return max(windows, key=lambda window: window.calls / (window.stop - window.start))

    def _joined(self, one: _Window, other: _Window) -> _Window:
        whole = self._within(one.start, other.stop, one.present)
        return _Window(one.start, other.stop, max(whole, one.calls + other.calls), one.present)

    def _within(self, start: float, stop: float, present: list[_Group]) -> int:
        """Calls that a window needs by itself."""
        most = looks = 0
        for group in present:
            at = start + self._pace(start - group.created)
            if at >= stop:
                # Older ones have even longer.
                break
            own, waiting = self._intervals(group, start, stop)
            most = max(most, own)
            looks += waiting
        coming: dict[float, int] = defaultdict(int)
        for group in self._groups[bisect_left(self._asked, start) : bisect_left(self._asked, stop)]:
            coming[group.asked] += len(group.ends)
            own, waiting = self._intervals(group, group.asked, stop)
            most = max(most, own + 1)
            looks += waiting + len(group.ends)
        arriving = sum(math.ceil(count / self._batch) for count in coming.values())
        return max(most, arriving, math.ceil(looks / self._batch))

    def _intervals(self, group: _Group, at: float, stop: float) -> tuple[int, int]:
        """How many intervals fit in at most, and how many over all of the group's tasks."""
        own = looks = 0
        while waiting := len(group.ends) - bisect_right(group.ends, at):
            at += self._pace(at - group.created)
            if at >= stop:
                break
            own += 1
            looks += waiting
        return own, looks


def _youngest_first(group: _Group) -> float:
    return -group.created
