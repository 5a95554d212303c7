"""RunningClock: the event loop's time without the gaps in which the loop did not run.

A process can be stopped or suspended, and a loop can be blocked. A budget that is measured by the loop's own time would
end in such a gap without another try.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["GAP", "RunningClock", "Timer"]

GAP = 0.25
"""Seconds by which a timer must be late for the loop to count as stopped."""

_BEAT = 0.25


class RunningClock:
    """Shows seconds, and stands still in each gap that is longer than `GAP`.

    A gap is noticed by a timer that is late: one of `call_at`, or the four timers a second within `watching`.

    Attributes:
        gap_ended_at: The time of this clock when the last gap was noticed.
    """

    __slots__ = ("_beat", "_checked_at", "_lost", "_timers", "_watchers", "gap_ended_at")

    def __init__(self) -> None:
        self._lost = 0.0
        self._checked_at = -math.inf
        self.gap_ended_at = -math.inf
        self._timers: set[Timer] = set()
        self._watchers = 0
        self._beat: Timer | None = None

    def time(self) -> float:
        """Return the time of this clock."""
        now = asyncio.get_running_loop().time()
        if self._timers:
            late = now - max(min(timer.due for timer in self._timers), self._checked_at)
            if late > GAP:
                self._lost += late
                self._checked_at = now
                self.gap_ended_at = now - self._lost
        return now - self._lost

    def at(self, loop_time: float) -> float:
        """Return what this clock shows at a time of the loop."""
        return loop_time - self._lost

    def on_loop(self, when: float) -> float:
        """Return the loop's time at which this clock shows `when`, if there are no more gaps."""
        return when + self._lost

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call back when this clock shows `when`, or sooner if there is a gap."""
        timer = Timer(self, self.on_loop(when), callback)
        self._timers.add(timer)
        return timer

    def cancel(self, timer: Timer) -> None:
        """Cancel a timer, unless it has called back. If it is late, the gap is noticed now."""
        if timer in self._timers:
            # No loop runs if a garbage collection ends what a closed loop has left.
            with suppress(RuntimeError):
                self.time()
            self._timers.discard(timer)
            timer.handle.cancel()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Notice every gap within the block."""
        if self._beat is None:
            self._set_beat()
        self._watchers += 1
        try:
            yield
        finally:
            # The beat is not canceled, because the next block mostly begins before it is due.
            self._watchers -= 1

    def _set_beat(self) -> None:
        self._beat = self.call_at(self.time() + _BEAT, self._on_beat)

    def _on_beat(self) -> None:
        self._beat = None
        if self._watchers:
            self._set_beat()


class Timer:
    """A timer of a RunningClock."""

    __slots__ = ("_callback", "_clock", "due", "handle")

    def __init__(self, clock: RunningClock, due: float, callback: Callable[[], None]) -> None:
        self._clock = clock
        self._callback = callback
        self.due = due
        self.handle = asyncio.get_running_loop().call_at(due, self._call_back)

    def cancel(self) -> None:
        """Cancel the timer, unless it has called back."""
        self._clock.cancel(self)

    def _call_back(self) -> None:
        self._clock.cancel(self)
        self._callback()
