"""PollPolicy and wait strategies: when to poll."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from tenacity import AsyncRetrying, Future, RetryCallState
from tenacity.wait import wait_base

from ecs_waiter.api.call_policy import CallPolicy, check_number, check_seconds
from ecs_waiter.chance import CHANCE

__all__ = ["PollPolicy", "WaitStrategy", "ask", "wait_adaptive", "wait_proportional"]

WaitStrategy: TypeAlias = Callable[[RetryCallState], float]
"""Any of tenacity's wait strategies, or a function like one: takes the state of the polling, returns seconds."""

_History: TypeAlias = Literal["session", "account", "off"]


@dataclass(frozen=True)
class wait_adaptive(wait_base):  # noqa: N801 - named like tenacity's own strategies, beside which it is used
    """A tenacity wait strategy, the default: prompt results for few calls, by what all tasks of a call need.

    Alone, a task rests for `share` of its age, between `min` and `max`. In company, one call asks for up to 100 tasks.
    It goes out when the squares of the times for which its tasks have rested, each in units of the task's own pause,
    add up to their number to the power of `crowd`, or when one of them has rested for `max`.

    Composed with other strategies (``wait_adaptive() + wait_random(0, 1)``) it is a plain strategy, which is asked for
    the youngest task of each call, and the rule for company does not apply.

    Attributes:
        share: The pause of a task alone, as a share of its age.
        min: The shortest pause, in seconds. With more than 100 tasks, that many calls share it as the tasks need.
        max: The longest pause, in seconds.
        first: Seconds that a new ID waits for the next call at most; it is asked at once if nothing else is polled.
        crowd: How much longer tasks rest in company, 0 to 1: at 1 each keeps its own pause on the average.
        jitter: Spread of a pause as a share of itself, 0 to 1.

    Raises:
        TypeError: A value is not a number.
        ValueError: A value is negative, infinite or NaN, `min` exceeds `max`, `max` is 0, or `crowd` or `jitter`
            exceeds 1.
    """

    share: float = 0.15
    min: float = 3
    max: float = 30
    first: float = 5
    crowd: float = 0.75
    jitter: float = 0.1

    def __post_init__(self) -> None:
        for name in ("share", "crowd", "jitter"):
            check_number(name, getattr(self, name))
        for name in ("min", "first"):
            check_seconds(name, getattr(self, name))
        check_seconds("max", self.max, positive=True)
        if self.min > self.max:
            raise ValueError(f"min={self.min} exceeds max={self.max}: raise max, or lower min")
        for name in ("crowd", "jitter"):
            if getattr(self, name) > 1:
                raise ValueError(f"{name} is a share between 0 and 1, not {getattr(self, name)}")

    def pause(self, age: float) -> float:
        """Return the pause in seconds of a task of this age that is alone, without jitter."""
        return min(max(self.share * age, self.min), self.max)

    def spread(self) -> float:
        """Return a random factor for a pause."""
        return CHANCE.uniform(1 - self.jitter, 1 + self.jitter)

    def __call__(self, retry_state: RetryCallState) -> float:
        """Return the seconds until the next poll of a task alone."""
        pause = self.pause(retry_state.seconds_since_start or 0.0) * self.spread()
        return min(max(pause, self.min), self.max)


@dataclass(frozen=True)
class wait_proportional(wait_base):  # noqa: N801 - named like tenacity's own strategies, beside which it is used
    """A tenacity wait strategy: a share of the task's age, so that the delay is in proportion to the duration.

    Composes with tenacity's own, e.g. ``wait_proportional() + wait_random(0, 1)``.

    Attributes:
        factor: Share of the age, e.g. 0.05: a task of ten minutes is polled every half minute.
        min: The shortest pause, in seconds.
        max: The longest pause, in seconds.
        jitter: Spread of the result as a share of itself, 0 to 1. The result stays between `min` and `max`: at `max`
            jitter only shortens it, at `min` it only lengthens it.

    Raises:
        TypeError: A value is not a number.
        ValueError: A value is negative, infinite or NaN, `min` exceeds `max`, or `jitter` exceeds 1.
    """

    factor: float = 0.05
    min: float = 2
    max: float = 30
    jitter: float = 0.1

    def __post_init__(self) -> None:
        for name in ("factor", "jitter"):
            check_number(name, getattr(self, name))
        for name in ("min", "max"):
            check_seconds(name, getattr(self, name))
        if self.min > self.max:
            raise ValueError(f"min={self.min} exceeds max={self.max}: raise max, or lower min")
        if self.jitter > 1:
            raise ValueError(f"jitter is a share between 0 and 1, not {self.jitter}")

    def __call__(self, retry_state: RetryCallState) -> float:
        """Return the seconds until the next poll."""
        age = retry_state.seconds_since_start or 0.0
        pace = min(max(self.factor * age, self.min), self.max)
        lowest = max(self.min, pace * (1 - self.jitter))
        highest = min(self.max, pace * (1 + self.jitter))
        return CHANCE.uniform(lowest, highest)


@dataclass(frozen=True, kw_only=True)
class PollPolicy(CallPolicy):
    """When to poll, and how long to retry. All times are in seconds.

    Attributes:
        wait: The pause between polls: any tenacity wait strategy, asked after each poll. Its ``attempt_number`` counts
            polls, its ``seconds_since_start`` is the age of the youngest task in the batch.
        history: Whether to learn how long the tasks of each operation take: "session" (from those that are seen to
            finish), "account" (also from tasks of the last seven days, by one more call for each region and
            operation), or "off". What is learned decides when to poll, and gives the time left.
        not_found_grace: How long an ID may be absent from the answers: a new task can take a while to be listed.
        outage_budget: How long a region may fail without one good answer.
        max_in_flight: Calls of one region at the same time.
        max_calls_per_second: Ceiling of one waiter for one region, all operations together. Fractions are exact.
        call_timeout: One HTTP attempt.

    Raises:
        TypeError: A value is of the wrong type.
        ValueError: A time is negative, infinite or NaN, a limit allows nothing, or `history` is another word.
    """

    wait: WaitStrategy = field(default_factory=wait_adaptive)
    history: _History = "session"
    not_found_grace: float = 60

    def __post_init__(self) -> None:
        super().__post_init__()
        check_seconds("not_found_grace", self.not_found_grace)
        if not callable(self.wait) or isinstance(self.wait, type):
            raise TypeError("wait takes a tenacity wait strategy, e.g. tenacity.wait_fixed(15)")
        if not isinstance(self.history, str):
            raise TypeError(f"history takes text, not {type(self.history).__name__}")
        if self.history not in get_args(_History):
            raise ValueError(f"history takes 'session', 'account' or 'off', not {self.history!r}")


_CALLER = AsyncRetrying()
_DONE: Future = Future.construct(1, None, has_exception=False)


def ask(wait: WaitStrategy, *, polls: int, age: float) -> float:
    """Return the strategy's pause in seconds after the `polls`-th poll of tasks whose youngest is `age` seconds old.

    Raises:
        TypeError: The result is not a number.
        ValueError: The result is negative, infinite or NaN.
        Exception: Whatever the strategy itself raises.
    """
    state = RetryCallState(_CALLER, None, (), {})
    state.attempt_number = polls
    state.outcome = _DONE
    state.start_time = 0.0
    state.outcome_timestamp = age
    seconds = wait(state)
    if isinstance(seconds, bool) or not hasattr(seconds, "__float__"):
        raise TypeError(f"the wait strategy {wait!r} returned {seconds!r}: it must return a number of seconds")
    seconds = float(seconds)
    if not 0 <= seconds < math.inf:
        raise ValueError(f"the wait strategy {wait!r} returned {seconds}: a pause must be finite and not negative")
    return seconds
