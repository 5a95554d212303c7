"""CallPolicy: limits of the calls to one region. PollPolicy adds when to poll."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["CallPolicy", "check_number", "check_seconds"]


def check_number(name: str, value: object, *, positive: bool = False, unit: str = "number") -> float:
    """Return `value` as a finite number that is not negative.

    Raises:
        TypeError: It is not a number.
        ValueError: It is negative, infinite or NaN, or it is zero although `positive` is set.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} takes a {unit}, not {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not 0 <= number < math.inf or (positive and number == 0):
        raise ValueError(
            f"{name} takes a {unit}, finite and {'positive' if positive else 'not negative'}, not {number}"
        )
    return number


def check_seconds(name: str, value: object, *, positive: bool = False) -> float:
    """Return `value` as a time in seconds; raises like `check_number`."""
    return check_number(name, value, positive=positive, unit="number of seconds")


@dataclass(frozen=True, kw_only=True)
class CallPolicy:
    """Limits of the calls to one region. All times are in seconds.

    Attributes:
        outage_budget: How long a region may fail without one good answer.
        max_in_flight: Calls of one region at the same time.
        max_calls_per_second: Ceiling of one client for one region, all operations together. Fractions are exact.
            Where the service lets fewer through, the rate of an operation is learned and stays below that.
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
        check_number("max_calls_per_second", self.max_calls_per_second, positive=True)
