"""What a benchmark gives: figures with their spread over rounds, ratios, and goals that are met or not."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Figure", "Goal", "Line", "Plot", "Result", "of", "ratios"]


@dataclass(frozen=True)
class Goal:
    """At most, or at least, so much."""

    at_most: float | None = None
    at_least: float | None = None

    def is_met(self, value: float) -> bool:
        """Whether a value keeps to it."""
        return (self.at_most is None or value <= self.at_most) and (self.at_least is None or value >= self.at_least)

    def __str__(self) -> str:
        if self.at_least is not None and self.at_most is not None:
            return f"{self.at_least:g} to {self.at_most:g}"
        return f"≤ {self.at_most:g}" if self.at_most is not None else f"≥ {self.at_least:g}"


@dataclass(frozen=True)
class Figure:
    """One row of the table.

    Attributes:
        what: What was measured, and of whom.
        unit: Its unit; ``x`` for a ratio.
        median: The middle of the rounds.
        low: Their lower quartile.
        high: Their upper quartile.
        rounds: How many rounds there were.
        goal: What it is held to, if anything.
        is_met: Whether the median keeps to the goal; None without one.
    """

    what: str
    unit: str
    median: float
    low: float
    high: float
    rounds: int
    goal: Goal | None = None
    is_met: bool | None = None


def of(what: str, unit: str, values: Sequence[float], goal: Goal | None = None) -> Figure:
    """Sum rounds up. One that is no number is no result.

    Raises:
        ValueError: There are none, or one is no finite number.
    """
    if not values or not all(map(math.isfinite, values)):
        raise ValueError(f"{what}: these are no measurements: {list(values)!r}")
    middle = median(values)
    low, _, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else [middle] * 3
    is_met = None if goal is None else goal.is_met(middle)
    return Figure(what, unit, middle, low, high, len(values), goal, is_met)


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Round by round, so that what slows a whole round down cancels out."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]


@dataclass(frozen=True)
class Line:
    """One name in a plot, with its points; `is_ours` draws it in the foreground."""

    name: str
    points: list[tuple[float, float]]
    is_ours: bool = False
    is_joined: bool = True


@dataclass(frozen=True)
class Plot:
    """One plot: both axes are logarithmic.

    Attributes:
        name: Of its file.
        title: Its headline.
        x: What the one axis shows, with its unit.
        y: What the other one shows.
        lines: What is drawn.
        is_dots: Whether each line is one value, a dot at its `x`.
    """

    name: str
    title: str
    x: str
    y: str
    lines: list[Line]
    is_dots: bool = False


@dataclass(frozen=True)
class Result:
    """What one benchmark found.

    Attributes:
        question: What it measures, in a line.
        figures: The rows of its table.
        plots: Its plots.
        notes: What a reader of the figures should know.
    """

    question: str
    figures: list[Figure]
    plots: list[Plot] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As results.json holds it."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Result:
        """From what results.json holds."""
        figures = [Figure(**{**row, "goal": Goal(**row["goal"]) if row["goal"] else None}) for row in data["figures"]]
        plots = [
            Plot(**{**plot, "lines": [Line(**{**line, "points": _points(line)}) for line in plot["lines"]]})
            for plot in data["plots"]
        ]
        return cls(data["question"], figures, plots, data["notes"])


def _points(line: dict[str, Any]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in line["points"]]
