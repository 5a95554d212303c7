"""Missing: how long an ID has been absent from answers that should hold it."""

from __future__ import annotations

from ecs_waiter.polling.outage import TICK

__all__ = ["Missing"]

_CUTS_BORNE = 3
"""Answers cut short in a row after which the missing IDs are asked in a call of their own."""


class Missing:
    """One ID's absence. All times are on the clock that outages stop.

    Attributes:
        since: When the grace began: at the first whole answer that lacked the ID; None before.
        cuts: Answers cut short in a row that lacked the ID.
    """

    __slots__ = ("cuts", "since")

    def __init__(self) -> None:
        self.since: float | None = None
        self.cuts = 0

    def __repr__(self) -> str:
        return f"Missing(since={self.since}, cuts={self.cuts})"

    @property
    def needs_own_call(self) -> bool:
        """Whether answers were cut short so often that the ID should be asked with fewer others."""
        return self.cuts >= _CUTS_BORNE

    def from_cut_answer(self, uncounted: float) -> None:
        """An answer that was cut short says nothing; nor do the seconds since the answer before it count."""
        self.cuts += 1
        if self.since is not None:
            self.since += uncounted

    def from_whole_answer(self, now: float, uncounted: float, grace: float) -> bool:
        """A whole answer lacks the ID: whether its grace is over, never at the first time."""
        self.cuts = 0
        if self.since is None:
            self.since = now
            return False
        self.since += uncounted
        return now - self.since >= grace - TICK
