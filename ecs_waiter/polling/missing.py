"""Missing: how long an ID has been absent from answers that should hold it."""

from __future__ import annotations

import math

__all__ = ["Missing"]

_CUTS_TOLERATED = 3
"""Answers cut short in a row after which the missing IDs are asked in a call of their own."""


class Missing:
    """One ID's absence. All times are on the clock that stops during outages.

    Attributes:
        since: When the grace began: at the first whole answer that lacked the ID; None before.
        cuts: Answers in a row that lacked the ID and were cut short, or had rows that could not be read.
        cut_since: When the first of these was asked for; None after a whole answer.
    """

    __slots__ = ("cut_since", "cuts", "since")

    def __init__(self) -> None:
        self.since: float | None = None
        self.cuts = 0
        self.cut_since: float | None = None

    def __repr__(self) -> str:
        return f"Missing(since={self.since}, cuts={self.cuts})"

    @property
    def is_absent(self) -> bool:
        """Whether the last answer was whole and lacked the ID."""
        return self.since is not None and self.cuts == 0

    @property
    def needs_own_call(self) -> bool:
        """Whether answers were cut short so often that the ID should be asked with fewer others."""
        return self.cuts >= _CUTS_TOLERATED

    def from_cut_answer(self, now: float, uncounted: float) -> None:
        """An answer that was cut short says nothing; nor do the seconds since the answer before it count."""
        self.cuts += 1
        if self.cut_since is None:
            self.cut_since = now
        if self.since is not None:
            self.since += uncounted

    def from_whole_answer(self, now: float, uncounted: float) -> None:
        """A complete answer lacks the ID: start the grace, or let it run."""
        self.cuts = 0
        self.cut_since = None
        self.since = now if self.since is None else self.since + uncounted

    def ends(self, grace: float, budget: float) -> float:
        """When the wait for the ID may end, on the same clock: unlisted for the budget, or absent for the grace."""
        if self.cut_since is not None:
            return self.cut_since + budget
        return math.inf if self.since is None else self.since + grace
