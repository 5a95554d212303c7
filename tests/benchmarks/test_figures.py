from __future__ import annotations

import json
import math

import pytest

from benchmarks.figures import Figure, Goal, Line, Plot, Result, of, ratios


def test_rounds_are_summed_up_by_quartiles() -> None:
    """A figure is the median of its rounds, with the quartiles as its spread."""
    figure = of("one", "ms", [5.0, 1.0, 2.0, 4.0, 3.0])
    assert figure == Figure("one", "ms", 3.0, 2.0, 4.0, 5)


def test_one_round_has_no_spread() -> None:
    """One round is its own median and spread."""
    assert of("one", "ms", [7.0]) == Figure("one", "ms", 7.0, 7.0, 7.0, 1)


@pytest.mark.parametrize("values", [[], [math.nan], [1.0, math.inf]])
def test_what_is_no_measurement_is_refused(values: list[float]) -> None:
    """Nothing measured, or no number, is an error and no figure."""
    with pytest.raises(ValueError, match="no measurements"):
        of("one", "ms", values)


@pytest.mark.parametrize(
    ("goal", "value", "is_met"),
    [
        (Goal(at_most=1.1), 1.1, True),
        (Goal(at_most=1.1), 1.11, False),
        (Goal(at_least=3), 3.0, True),
        (Goal(at_least=3), 2.9, False),
        (Goal(at_least=3, at_most=4), 3.5, True),
        (Goal(at_least=3, at_most=4), 4.5, False),
    ],
)
def test_goal_is_held_against_the_median(goal: Goal, value: float, is_met: bool) -> None:
    """A goal is met or not, and never rounded in our favor."""
    assert of("one", "x", [value], goal).is_met is is_met


def test_without_a_goal_nothing_is_met() -> None:
    """A figure without a goal says neither."""
    assert of("one", "x", [1.0]).is_met is None


def test_ratios_are_of_the_same_round() -> None:
    """A round that was slow for both gives the ratio of a quick one."""
    assert ratios([2.0, 20.0], [1.0, 10.0]) == [2.0, 2.0]
    with pytest.raises(ValueError, match="zip"):
        ratios([1.0], [1.0, 2.0])


def test_results_survive_the_file() -> None:
    """What is read back from JSON is what was found."""
    plot = Plot("p", "P", "x", "y", [Line("a", [(1.0, 2.0)], is_ours=True)], is_dots=True)
    result = Result("What?", [of("one", "x", [1.0, 2.0], Goal(at_most=3)), of("two", "s", [1.0])], [plot], ["note"])
    assert Result.from_json(json.loads(json.dumps(result.to_json()))) == result
