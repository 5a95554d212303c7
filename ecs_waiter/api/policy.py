"""CallPolicy: what one region's calls may cost and how long its faults are borne; PollPolicy adds the cadence."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["CallPolicy", "check_seconds"]


def check_seconds(name: str, value: object, *, positive: bool = False) -> float:
    """Return `value` as seconds.

    Raises:
        TypeError: It is no number.
        ValueError: It is negative, infinite or NaN, or zero where `positive` is asked.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} takes a number of seconds, not {type(value).__name__}")
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not 0 <= seconds < math.inf or (positive and seconds == 0):
        kind = "positive" if positive else "finite, not negative"
        raise ValueError(f"{name} takes a {kind} number of seconds, not {seconds}")
    return seconds


@dataclass(frozen=True, kw_only=True)
class CallPolicy:
    """Limits of the calls to one region. All times are in seconds.

    Attributes:
        outage_budget: How long a region may fail without one good answer.
        max_in_flight: Calls of one region at the same time.
        max_calls_per_second: The limiter's ceiling for one region; throttling lowers the rate below it for a while.
        call_timeout: One HTTP attempt, from the connection to the last byte.
    """

    outage_budget: float = 600
    max_in_flight: int = 4
    max_calls_per_second: float = 10
    call_timeout: float = 30

    def __post_init__(self) -> None:
        check_seconds("outage_budget", self.outage_budget)
        check_seconds("call_timeout", self.call_timeout, positive=True)
        if isinstance(self.max_in_flight, bool) or not isinstance(self.max_in_flight, int):
            raise TypeError(f"max_in_flight takes a whole number, not {type(self.max_in_flight).__name__}")
        if self.max_in_flight < 1:
            raise ValueError(f"max_in_flight takes 1 or more, not {self.max_in_flight}")
        rate = self.max_calls_per_second
        if isinstance(rate, bool) or not isinstance(rate, int | float):
            raise TypeError(f"max_calls_per_second takes a number, not {type(rate).__name__}")
        if not 0 < rate < math.inf:
            raise ValueError(f"max_calls_per_second takes a positive, finite number, not {rate}")
