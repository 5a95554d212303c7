"""Outage and Absence: how long a region has failed, and how long an ID has been missing from its answers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TICK", "Absence", "Outage"]

TICK = 1e-6
"""A timer may fire this early, in seconds, by rounding."""

_MOST_TRUNCATED = 3
"""Truncated answers in a row after which the missing IDs are asked in a call of their own."""


class Outage:
    """One region's faults since its last good answer.

    Args:
        budget: Seconds without a good answer after which the region is given up.
        backoff: Seconds to wait after that many faults in a row.
    """

    def __init__(self, budget: float, backoff: Callable[[int], float]) -> None:
        self._budget = budget
        self._backoff = backoff
        self._faults = 0
        self._since: float | None = None
        self._lost = 0.0
        self.paused_until = -math.inf
        self.ended_at = -math.inf

    def __repr__(self) -> str:
        return f"Outage({self._faults} faults since {self._since}, paused until {self.paused_until:g})"

    @property
    def ends(self) -> float:
        """When the region is given up; infinite while it answers."""
        return math.inf if self._since is None else self._since + self._budget

    @property
    def is_silent(self) -> bool:
        """Whether more than one call in a row failed."""
        return self._faults > 1

    def is_spent(self, now: float) -> bool:
        """Whether the whole budget is used up."""
        return now >= self.ends - TICK

    def healthy_time(self, now: float) -> float:
        """The time on a clock that stops during outages."""
        return now - self._lost

    def failed(self, asked_at: float, now: float, retry_after: float | None = None) -> None:
        """A call failed: the region pauses from the second failure in a row on, and as long as the service asked."""
        if self._since is None:
            self._since = asked_at
        self._faults += 1
        if self.is_silent or retry_after:
            self._pause(now, retry_after)

    def throttled(self, asked_at: float) -> None:
        """A call was throttled: the budget runs, and the region's limiter pauses."""
        if self._since is None:
            self._since = asked_at

    def answered(self, now: float) -> None:
        """A good answer ends the outage."""
        if self._since is None:
            return
        self._lost += max(0.0, now - self._since)
        self.ended_at = now
        if self.is_silent:
            self.paused_until = -math.inf
        self._since = None
        self._faults = 0

    def restart(self, now: float) -> None:
        """Give a wait that begins during an outage, when nobody else waits, the whole budget."""
        if self._since is not None:
            self._since = now

    def retry_by(self, due: float, now: float) -> float:
        """Return `due`, but no later than the last try within the budget."""
        return min(due, max(self.ends, now))

    def _pause(self, now: float, retry_after: float | None) -> None:
        until = now + max(retry_after or 0.0, self._backoff(self._faults))
        self.paused_until = max(self.paused_until, self.retry_by(until, now))


class Absence:
    """How long answers have lacked one ID. All times are on the clock that stops during outages.

    Args:
        grace: Seconds for which an ID may be absent.
        budget: Seconds for which it may be counted but not listed.

    Attributes:
        truncated: Truncated answers in a row that lacked the ID, answers with unreadable rows included.
    """

    __slots__ = ("_budget", "_grace", "_since", "_truncated_since", "truncated")

    def __init__(self, grace: float, budget: float) -> None:
        self._grace = grace
        self._budget = budget
        # When the grace began, and when the first of the truncated answers was asked for.
        self._since: float | None = None
        self._truncated_since: float | None = None
        self.truncated = 0

    def __repr__(self) -> str:
        return f"Absence(since={self._since}, truncated={self.truncated})"

    @property
    def is_certain(self) -> bool:
        """Whether the last answer was complete and lacked the ID."""
        return self._since is not None and self.truncated == 0

    @property
    def needs_own_call(self) -> bool:
        """Whether the ID should be asked with fewer others, because several answers in a row were truncated."""
        return self.truncated >= _MOST_TRUNCATED

    @property
    def ends(self) -> float:
        """When the wait for the ID may end: unlisted for the budget, or absent for the grace."""
        if self._truncated_since is not None:
            return self._truncated_since + self._budget
        return math.inf if self._since is None else self._since + self._grace

    def in_truncated_answer(self, asked_at: float, since_last: float, *, is_alone: bool) -> bool:
        """Note an answer that says nothing about the ID; returns whether the wait is over.

        The seconds since the answer before it do not count for the grace. Among others the ID may have been cut off; if
        it was asked alone, it would have been listed.
        """
        self.truncated += 1
        if self._truncated_since is None:
            self._truncated_since = asked_at
        if self._since is not None:
            self._since += since_last
        return is_alone and asked_at >= self.ends - TICK

    def in_complete_answer(self, asked_at: float, uncounted: float) -> bool:
        """Note an answer that lacks the ID, which starts the grace or lets it run; returns whether the wait is over.

        It never is with the first such answer.
        """
        is_first = self._since is None
        self.truncated = 0
        self._truncated_since = None
        self._since = asked_at if self._since is None else self._since + uncounted
        return not is_first and asked_at >= self.ends - TICK
