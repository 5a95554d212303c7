from __future__ import annotations

import pytest

from benchmarks.cadences import by_due_time, exponential, fixed_loop, one_by_one
from benchmarks.calls import usual_pace
from benchmarks.lives import ARRIVALS, Life, coming
from benchmarks.promptness import at_as_many_calls
from benchmarks.simulated import play
from ecs_waiter import PollPolicy, wait_proportional

PAIR = [Life("t-1", 0.0, 0.0, 25.0), Life("t-2", 5.0, 5.0, 31.0)]


def _ten(_looks: int, _age: float) -> float:
    return 10.0


def test_fixed_loop_asks_all_at_its_turns() -> None:
    """Looks at 0, 10, 20, 30 and 40: who comes between two turns waits for the next, in the same call."""
    played = fixed_loop(PAIR, 10)
    assert (played.calls, played.looks) == (5, 8)
    assert played.lateness == {"t-1": 5.0, "t-2": 9.0}


def test_fixed_loop_fills_batches() -> None:
    """More tasks than fit into a call need another."""
    assert fixed_loop([Life(f"t-{number}", 0, 0, 5) for number in range(5)], 10, batch=2).calls == 6


def test_one_by_one_asks_each_alone() -> None:
    """Each task has its own looks, from the moment it comes."""
    played = one_by_one(PAIR, _ten)
    assert played.calls == 8
    assert played.lateness == {"t-1": 5.0, "t-2": 4.0}


def test_calls_by_due_time_take_riders_along() -> None:
    """A call that is due for one carries the others, which are then due anew."""
    played = by_due_time(PAIR, _ten)
    assert (played.calls, played.looks) == (5, 8)
    assert played.lateness == {"t-1": 0.0, "t-2": 4.0}


def test_exponential_is_capped() -> None:
    """It doubles up to its ceiling."""
    pause = exponential(2, 60)
    assert [pause(looks, 0.0) for looks in (1, 2, 5, 6, 5000)] == [2, 4, 32, 60, 60]


def test_usual_pace_is_the_mean_of_the_dice() -> None:
    """At the floor the jitter only lengthens, at the ceiling it only shortens, between it does both."""
    pace = usual_pace(wait_proportional(factor=0.05, min=2, max=30, jitter=0.1))
    assert [pace(age) for age in (0, 40, 200, 600, 100_000)] == pytest.approx([2.1, 2.1, 10.0, 28.5, 28.5])


def test_reading_a_frontier() -> None:
    """Between two points it is straight on logarithmic axes; beyond its ends nothing can be read."""
    curve = [(1.0, 100.0), (100.0, 1.0)]
    assert at_as_many_calls(curve, 10.0) == pytest.approx(10.0)
    assert at_as_many_calls(curve, 100.0) == 1.0
    for calls in (0.5, 200.0):
        with pytest.raises(ValueError, match="outside"):
            at_as_many_calls(curve, calls)


@pytest.mark.parametrize("arrivals", ARRIVALS)
def test_tasks_are_drawn_alike_and_end_after_they_come(arrivals: str) -> None:
    """The same seed gives the same tasks, in the order they come, none of which has ended before."""
    lives = coming(200, arrivals, "mixed", aged=True, seed=1)
    assert lives == coming(200, arrivals, "mixed", aged=True, seed=1)
    assert sorted(lives, key=lambda life: life.asked) == lives
    assert all(life.created <= life.asked <= life.ends for life in lives)
    assert any(life.created < life.asked for life in lives)


def test_waiter_in_the_simulation() -> None:
    """The waiter itself plays the same tasks: each look a call here, and each end told at the next look."""
    played = play(PollPolicy(wait=wait_proportional(factor=0, min=10, max=10)), PAIR, seed=0)
    assert (played.calls, played.looks) == (5, 8)
    assert played.lateness == pytest.approx({"t-1": 0.0, "t-2": 4.0}, abs=1e-3)
