"""RunningClock: the event loop's time without the gaps in which the loop did not run.

A process can be stopped or suspended, and a loop can be blocked. Budgets that are measured by the loop's own time end
in such a gap without a single try after it.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["GAP", "RunningClock", "Timer"]

GAP = 0.25
"""Seconds by which a timer must be late for the loop to count as stopped."""

_BEAT = 0.25


class RunningClock:
    """Shows seconds, and stands still in each gap that is longer than `GAP`.

    A gap is seen by a timer that comes late. So it is seen while one of this clock's timers is set, or while the clock
    is `watching`, which sets one four times a second.

    Attributes:
        gap_ended_at: What this clock showed when the last gap was seen.
    """

    __slots__ = ("_beat", "_checked_at", "_dues", "_lost", "_watchers", "gap_ended_at")

    def __init__(self) -> None:
        self._lost = 0.0
        self._checked_at = -math.inf
        self.gap_ended_at = -math.inf
        self._dues: dict[Timer, float] = {}
        self._watchers = 0
        self._beat: Timer | None = None

    def time(self) -> float:
        """Return the time of this clock."""
        now = asyncio.get_running_loop().time()
        if self._dues:
            late = now - max(min(self._dues.values()), self._checked_at)
            if late > GAP:
                self._lost += late
                self._checked_at = now
                self.gap_ended_at = now - self._lost
        return now - self._lost

    def at(self, loop_time: float) -> float:
        """Return what this clock shows at a time of the loop's."""
        return loop_time - self._lost

    def on_loop(self, when: float) -> float:
        """Return the loop's time at which this clock shows `when`, if there are no more gaps."""
        return when + self._lost

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call back when this clock shows `when`, or sooner if there is a gap; the timer can be canceled."""
        timer = Timer(self)
        due = self._dues[timer] = self.on_loop(when)

        def ring() -> None:
            self.cancel(timer)
            callback()

        timer.handle = asyncio.get_running_loop().call_at(due, ring)
        return timer

    def cancel(self, timer: Timer) -> None:
        """Cancel a timer, unless it has rung; a gap that it would have shown is seen now."""
        if timer in self._dues:
            # No loop runs where a garbage collection ends what a closed loop has left.
            with suppress(RuntimeError):
                self.time()
            del self._dues[timer]
            timer.handle.cancel()

    def watching(self) -> Self:
        """Return a context manager within which every gap is seen."""
        return self

    def __enter__(self) -> Self:
        if self._beat is None:
            self._set_beat()
        self._watchers += 1
        return self

    def __exit__(self, *_: object) -> None:
        # The beat is left to ring: the next call mostly begins before that.
        self._watchers -= 1

    def _set_beat(self) -> None:
        self._beat = self.call_at(self.time() + _BEAT, self._on_beat)

    def _on_beat(self) -> None:
        self._beat = None
        if self._watchers:
            self._set_beat()


class Timer:
    """A timer of a RunningClock."""

    __slots__ = ("_clock", "handle")

    handle: asyncio.TimerHandle

    def __init__(self, clock: RunningClock) -> None:
        self._clock = clock

    def cancel(self) -> None:
        """Cancel the timer, unless it has rung."""
        self._clock.cancel(self)
