"""Outage: how long a region has failed, when it is tried again, and a clock that stands still meanwhile."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TICK", "Outage"]

TICK = 1e-6
"""A timer may fire this early, in seconds, by rounding."""


class Outage:
    """One region's faults since its last good answer.

    Args:
        budget: Seconds without a good answer that are borne.
        backoff: Seconds to wait after so many faults in a row.
    """

    def __init__(self, budget: float, backoff: Callable[[int], float]) -> None:
        self._budget = budget
        self._backoff = backoff
        self._faults = 0
        self._since: float | None = None
        self._lost = 0.0
        self.paused_until = -math.inf

    def __repr__(self) -> str:
        return f"Outage({self._faults} faults since {self._since}, paused until {self.paused_until:g})"

    @property
    def ends(self) -> float:
        """When the region's patience ends; infinite while it answers."""
        return math.inf if self._since is None else self._since + self._budget

    @property
    def is_on(self) -> bool:
        """Whether more than one call in a row came to nothing."""
        return self._faults > 1

    def is_spent(self, now: float) -> bool:
        """Whether the whole budget is used up."""
        return now >= self.ends - TICK

    def healthy(self, now: float) -> float:
        """The time on a clock that stood still during outages."""
        return now - self._lost

    def throttled(self, asked_at: float, now: float, retry_after: float) -> None:
        """A call was throttled: the region pauses for as long as the service asked, or longer."""
        self._fail(asked_at)
        self._pause(now, retry_after)

    def failed(self, asked_at: float, now: float, retry_after: float) -> None:
        """A call failed in passing: the second in a row makes the region pause, or the first if the service says so."""
        self._fail(asked_at)
        if self.is_on or retry_after:
            self._pause(now, retry_after)

    def answered(self, now: float) -> None:
        """A good answer ends the outage."""
        if self._since is None:
            return
        self._lost += max(0.0, now - self._since)
        if self.is_on:
            self.paused_until = -math.inf
        self._since = None
        self._faults = 0

    def start_anew(self, now: float) -> None:
        """Whoever comes when nobody was left has the whole budget, in an outage too."""
        if self._since is not None:
            self._since = now

    def retry_by(self, due: float, now: float) -> float:
        """The time `due`, but no later than the last try that the budget has."""
        return min(due, max(self.ends, now))

    def _fail(self, asked_at: float) -> None:
        if self._since is None:
            self._since = asked_at
        self._faults += 1

    def _pause(self, now: float, at_least: float) -> None:
        until = now + max(at_least, self._backoff(self._faults))
        self.paused_until = max(self.paused_until, self.retry_by(until, now))
