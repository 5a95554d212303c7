from __future__ import annotations

import math
from itertools import chain, combinations
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.bound import least_calls
from benchmarks.lives import Life

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Pace = Callable[[float], float]

BATCH = 2


def _constant(_age: float) -> float:
    return 2.0


def _growing(age: float) -> float:
    """A step at whole seconds, as the exact answer is searched among those."""
    return 1.0 if age < 2 else 2.0 if age < 5 else 3.0


def exact(lives: list[Life], pace: Pace) -> int:
    """The least number of calls, by trying everything.

    With whole seconds all through, whole seconds are as good as any times: what keeps the promise keeps it when each
    look is moved to the second it falls into.
    """
    costs: dict[tuple[float | None, ...], int] = {(None,) * len(lives): 0}
    last_end = max(life.ends for life in lives)
    for now in range(int(last_end + pace(last_end + 100)) + 1):
        after: dict[tuple[float | None, ...], int] = {}
        for looks, calls in costs.items():
            known = [look is not None and look >= life.ends for look, life in zip(looks, lives, strict=True)]
            there = [index for index, life in enumerate(lives) if life.asked <= now and not known[index]]
            urgent = [index for index in there if _is_urgent(looks[index], lives[index], pace, now)]
            for asked in _subsets(set(there) - set(urgent)):
                chosen = {*urgent, *asked}
                state = tuple(float(now) if index in chosen else look for index, look in enumerate(looks))
                cost = calls + math.ceil(len(chosen) / BATCH)
                after[state] = min(cost, after.get(state, cost))
        costs = after
    return min(costs.values())


def _is_urgent(look: float | None, life: Life, pace: Pace, now: float) -> bool:
    return now == life.asked if look is None else now >= look + pace(look - life.created)


def _subsets(of: Iterable[int]) -> Iterable[tuple[int, ...]]:
    every = sorted(of)
    return chain.from_iterable(combinations(every, size) for size in range(len(every) + 1))


def _life(number: int, asked: int, age: int, left: int) -> Life:
    return Life(f"t-{number}", float(asked), float(asked - age), float(asked + left))


_some = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 8)), min_size=1, max_size=4)


@pytest.mark.parametrize("pace", [_constant, _growing])
@given(drawn=_some)
@settings(max_examples=150, deadline=None)
def test_no_scheduler_beats_the_bound(drawn: list[tuple[int, int, int]], pace: Pace) -> None:
    """However few tasks there are, the bound is no more than what the best of all schedules needs."""
    lives = [_life(number, *times) for number, times in enumerate(drawn)]
    assert least_calls(lives, pace, BATCH) <= exact(lives, pace)


@pytest.mark.parametrize(
    ("drawn", "calls"),
    [
        ([(0, 0, 0)], 1),  # over when it is first looked at
        ([(0, 0, 8)], 5),
        ([(0, 0, 8)] * 2, 5),
        ([(0, 0, 8)] * 3, 10),  # three do not fit into a call of two
        ([(0, 0, 8), (1, 0, 3)], 6),  # one that comes between needs a call at once, and rides with the other
        ([(0, 0, 3), (20, 0, 3)], 6),
    ],
)
def test_bound_is_exact_where_it_is_plain(drawn: list[tuple[int, int, int]], calls: int) -> None:
    """Of tasks that come together or far apart, the bound is what is needed."""
    lives = [_life(number, *times) for number, times in enumerate(drawn)]
    assert least_calls(lives, _constant, BATCH) == calls == exact(lives, _constant)


def test_no_tasks_need_no_calls() -> None:
    """No tasks, no calls."""
    assert least_calls([], _constant) == 0
