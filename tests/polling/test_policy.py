"""PollPolicy and wait_proportional: what they accept, and the pace they give."""

from __future__ import annotations

import copy
import math
import pickle
from dataclasses import FrozenInstanceError
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
import tenacity
from hypothesis import given
from hypothesis import strategies as st

from ecs_waiter import PollPolicy, wait_adaptive, wait_proportional
from ecs_waiter.polling.policy import ask

if TYPE_CHECKING:
    from collections.abc import Callable

DRAWS = 300

TIMES = ("not_found_grace", "outage_budget", "call_timeout")
NO_TIME: list[Any] = [-1, -0.001, math.inf, -math.inf, math.nan, 10**400]
NO_NUMBER: list[Any] = ["5", None, True, [], timedelta(seconds=5)]

seconds = st.floats(min_value=0, max_value=1e6)


def _set(name: str, value: Any) -> dict[str, Any]:
    return {name: value}


def _paces(strategy: Callable[..., float], age: float) -> list[float]:
    return [ask(strategy, polls=1, age=age) for _ in range(DRAWS)]


# -- PollPolicy --------------------------------------------------------------------------------------------------------


def test_defaults() -> None:
    """The defaults are the documented ones."""
    policy = PollPolicy()
    assert policy.wait == wait_adaptive(share=0.15, min=3, max=30, first=5, crowd=0.75, jitter=0.1)
    limits = (policy.not_found_grace, policy.outage_budget, policy.max_in_flight, policy.max_calls_per_second)
    assert (*limits, policy.call_timeout) == (60, 600, 4, 10, 30)
    assert policy.history == "session"


@pytest.mark.parametrize("history", ["session", "account", "off"])
def test_history(history: Any) -> None:
    """Each kind of history is a policy of its own."""
    assert PollPolicy(history=history).history == history
    assert (PollPolicy(history=history) == PollPolicy()) == (history == "session")


@pytest.mark.parametrize(
    ("history", "error", "message"),
    [("on", ValueError, "history takes 'session', 'account' or 'off', not 'on'"), (True, TypeError, "not bool")],
)
def test_no_other_history(history: Any, error: type[Exception], message: str) -> None:
    """Any other history is rejected, with those that exist."""
    with pytest.raises(error, match=message):
        PollPolicy(history=history)


def test_frozen() -> None:
    """A policy does not change."""
    policy = PollPolicy()
    with pytest.raises(FrozenInstanceError):
        policy.call_timeout = 1  # type: ignore[misc]


def test_keyword_only() -> None:
    """Every knob is named."""
    with pytest.raises(TypeError, match="positional"):
        PollPolicy(tenacity.wait_fixed(1))  # type: ignore[arg-type, call-arg]


def test_equal_policies_are_one_key() -> None:
    """Policies of equal content are equal, so that waits with them share their polls."""
    assert len({PollPolicy(), PollPolicy(), PollPolicy(wait=wait_adaptive())}) == 1
    assert PollPolicy() != PollPolicy(max_in_flight=5)


def test_pickle_and_copy() -> None:
    """A policy survives pickle and copy."""
    policy = PollPolicy(call_timeout=5)
    assert pickle.loads(pickle.dumps(policy)) == policy  # noqa: S301 - our own bytes
    assert copy.deepcopy(policy) == policy


@pytest.mark.parametrize("value", NO_TIME)
@pytest.mark.parametrize("name", TIMES)
def test_what_is_no_time(name: str, value: Any) -> None:
    """A negative, infinite or NaN time is a ValueError that names it."""
    with pytest.raises(ValueError, match=name):
        PollPolicy(**{name: value})


@pytest.mark.parametrize("value", NO_NUMBER)
@pytest.mark.parametrize("name", [*TIMES, "max_calls_per_second", "max_in_flight"])
def test_what_is_no_number(name: str, value: Any) -> None:
    """What is no number is a TypeError that names it."""
    with pytest.raises(TypeError, match=name):
        PollPolicy(**{name: value})


@pytest.mark.parametrize("name", ["call_timeout", "max_calls_per_second", "max_in_flight"])
def test_what_would_never_call(name: str) -> None:
    """A limit under which no call could ever be made is a ValueError."""
    with pytest.raises(ValueError, match=name):
        PollPolicy(**_set(name, 0))


@pytest.mark.parametrize("name", ["not_found_grace", "outage_budget"])
def test_no_patience(name: str) -> None:
    """No patience at all is a choice."""
    assert getattr(PollPolicy(**_set(name, 0)), name) == 0


@pytest.mark.parametrize("value", [-1, math.inf, math.nan, 10**400])
def test_rates(value: float) -> None:
    """A rate is positive and finite."""
    with pytest.raises(ValueError, match="max_calls_per_second"):
        PollPolicy(max_calls_per_second=value)


@pytest.mark.parametrize("value", [5, "5", None, tenacity.wait_fixed, wait_proportional])
def test_what_is_no_strategy(value: Any) -> None:
    """A wait that is no strategy, the class of one included, is a TypeError that shows one."""
    with pytest.raises(TypeError, match="wait_fixed"):
        PollPolicy(wait=value)


# -- wait_proportional -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", NO_TIME)
@pytest.mark.parametrize("name", ["factor", "min", "max", "jitter"])
def test_proportional_refuses(name: str, value: float) -> None:
    """A negative, infinite or NaN value is a ValueError that names it."""
    with pytest.raises(ValueError, match=name):
        wait_proportional(**{name: value})


@pytest.mark.parametrize("value", NO_NUMBER)
@pytest.mark.parametrize("name", ["factor", "min", "max", "jitter"])
def test_proportional_takes_numbers(name: str, value: Any) -> None:
    """What is no number is a TypeError that names it."""
    with pytest.raises(TypeError, match=name):
        wait_proportional(**{name: value})


def test_floor_above_ceiling() -> None:
    """A floor above the ceiling is a ValueError."""
    with pytest.raises(ValueError, match="exceeds"):
        wait_proportional(min=10, max=5)


def test_too_much_jitter() -> None:
    """Jitter is a share: more than all of it is a ValueError."""
    with pytest.raises(ValueError, match="jitter"):
        wait_proportional(jitter=1.01)


@pytest.mark.parametrize(("age", "pace"), [(0, 2), (40, 2), (100, 5), (400, 20), (600, 30), (1e9, 30)])
def test_proportional_to_the_age(age: float, pace: float) -> None:
    """Without jitter the pace is the share of the age, between floor and ceiling."""
    assert ask(wait_proportional(jitter=0), polls=1, age=age) == pace


@pytest.mark.parametrize(("age", "lowest", "highest"), [(0, 2, 2.2), (100, 4.5, 5.5), (600, 27, 30), (1e9, 27, 30)])
def test_jitter_never_vanishes(age: float, lowest: float, highest: float) -> None:
    """At the floor jitter only lengthens, at the ceiling it only shortens, and it spreads over its whole range."""
    paces = _paces(wait_proportional(), age)
    assert lowest <= min(paces) < lowest + 0.1 * (highest - lowest)
    assert highest - 0.1 * (highest - lowest) < max(paces) <= highest


def test_jitter_is_seeded_by_no_count() -> None:
    """Two polls of the same count and age do not come back together."""
    assert len(set(_paces(wait_proportional(), 100))) > DRAWS // 2


@given(
    factor=seconds,
    bounds=st.tuples(seconds, seconds).map(sorted),
    jitter=st.floats(min_value=0, max_value=1),
    age=st.floats(min_value=0, max_value=1e12),
)
def test_always_within_its_bounds(factor: float, bounds: list[float], jitter: float, age: float) -> None:
    """Whatever the settings and the age, the pace is between floor and ceiling."""
    lowest, highest = bounds
    pace = ask(wait_proportional(factor=factor, min=lowest, max=highest, jitter=jitter), polls=1, age=age)
    assert lowest <= pace <= highest


def test_no_pause_at_all() -> None:
    """A ceiling of zero polls as fast as the limits let it."""
    assert ask(wait_proportional(min=0, max=0), polls=1, age=100) == 0


@pytest.mark.parametrize(
    "strategy",
    [
        wait_proportional(jitter=0) + tenacity.wait_fixed(3),
        tenacity.wait_fixed(3) + wait_proportional(jitter=0),
        tenacity.wait_combine(wait_proportional(jitter=0), tenacity.wait_fixed(3)),
        sum([wait_proportional(jitter=0), tenacity.wait_fixed(3)]),
    ],
    ids=["ours first", "tenacity's first", "wait_combine", "sum"],
)
def test_composes_with_tenacity(strategy: Any) -> None:
    """It adds up with tenacity's own strategies, from either side."""
    assert ask(PollPolicy(wait=strategy).wait, polls=1, age=100) == 8


# -- asking any strategy -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "paces"),
    [
        (tenacity.wait_fixed(15), [15, 15, 15]),
        (tenacity.wait_fixed(timedelta(minutes=1)), [60, 60, 60]),
        (tenacity.wait_none(), [0, 0, 0]),
        (tenacity.wait_exponential(max=3), [1, 2, 3]),
        (tenacity.wait_incrementing(start=1, increment=2), [1, 3, 5]),
        (tenacity.wait_chain(tenacity.wait_fixed(1), tenacity.wait_fixed(7)), [1, 7, 7]),
        (lambda _state: 0, [0, 0, 0]),
        (lambda state: state.attempt_number, [1, 2, 3]),
        (lambda state: state.seconds_since_start, [10, 20, 30]),
        (lambda _state: Decimal("1.5"), [1.5, 1.5, 1.5]),
        (lambda _state: Fraction(3, 2), [1.5, 1.5, 1.5]),
    ],
)
def test_any_strategy(strategy: Callable[..., float], paces: list[float]) -> None:
    """Any of tenacity's strategies is asked with the count of polls and the age, and so is a plain function."""
    assert [ask(strategy, polls=polls, age=10.0 * polls) for polls in (1, 2, 3)] == paces


@pytest.mark.parametrize("given", ["5", None, True, [], timedelta(seconds=5), 1 + 0j])
def test_a_strategy_that_gives_no_number(given: object) -> None:
    """A strategy's result that is no number is a TypeError that shows it."""
    with pytest.raises(TypeError, match="returned"):
        ask(lambda _state: given, polls=1, age=0)  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("given", [-1, math.inf, math.nan])
def test_a_strategy_that_gives_no_time(given: float) -> None:
    """A strategy's result that is negative, infinite or NaN is a ValueError that shows it."""
    with pytest.raises(ValueError, match="returned"):
        ask(lambda _state: given, polls=1, age=0)


def test_a_strategy_that_raises() -> None:
    """What a strategy raises comes out as it is."""
    with pytest.raises(ZeroDivisionError):
        ask(lambda _state: 1 / 0, polls=1, age=0)
