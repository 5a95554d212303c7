"""Writes what was found: results.json, and from it alone the table in Markdown and the plots."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from benchmarks.drawing import shown, svg
from benchmarks.figures import Figure, Result

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["console", "files", "read", "write"]

_RESULTS = "results.json"
_TABLE = "results.md"


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """What was found before, by benchmark."""
    path = folder / _RESULTS
    return json.loads(path.read_text()) if path.exists() else {}


def write(folder: Path, results: dict[str, dict[str, Any]]) -> None:
    """Write results.json and all that follows from it."""
    (folder / _RESULTS).write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    plots = folder / "plots"
    plots.mkdir(exist_ok=True)
    for old in plots.iterdir():
        old.unlink()
    for name, text in files(results).items():
        (folder / name).write_text(text)


def files(results: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The table and the plots that belong to these results, by their paths."""
    parsed = {name: Result.from_json(data) for name, data in results.items()}
    texts = {_TABLE: _markdown(parsed, {name: data["machine"] for name, data in results.items()})}
    for result in parsed.values():
        for plot in result.plots:
            texts[f"plots/{plot.name}.svg"] = svg(plot)
    return texts


def _markdown(results: dict[str, Result], machines: dict[str, dict[str, str]]) -> str:
    parts = ["# Benchmark results\n", "Written by `make bench`; see the [README](README.md) for what is measured.\n"]
    parts.append("| | | measured | goal | |\n|---|---|---:|---:|---|")
    goals = [(name, figure) for name, result in results.items() for figure in result.figures if figure.goal]
    parts[-1] += "".join(f"\n| {' | '.join([name, *_goal_cells(figure)])} |" for name, figure in goals) + "\n"
    for name, result in results.items():
        parts.append(f"## {name}: {result.question}\n")
        parts.append("| | median | quartiles | rounds | goal | |\n|---|---:|---:|---:|---:|---|")
        parts[-1] += "".join(f"\n| {' | '.join(_cells(figure))} |" for figure in result.figures) + "\n"
        parts += [f"{note}\n" for note in result.notes]
        parts += [f"![{plot.title}](plots/{plot.name}.svg)\n" for plot in result.plots]
        parts.append(f"{_line(machines[name])}\n")
    return "\n".join(parts)


def _line(machine: dict[str, str]) -> str:
    return "*" + ", ".join(value if " " in value else f"{key} {value}" for key, value in machine.items()) + "*"


def _cells(figure: Figure) -> list[str]:
    verdict = {None: "", True: "met", False: "**not met**"}[figure.is_met]
    value = f"{_exact(figure, figure.median)} {figure.unit}"
    spread = f"{_exact(figure, figure.low)} to {_exact(figure, figure.high)}" if figure.rounds > 1 else ""
    return [figure.what, value, spread, str(figure.rounds), str(figure.goal or ""), verdict]


def _exact(figure: Figure, value: float) -> str:
    """A ratio near its goal is told to the third place, that nobody takes it for the goal itself."""
    goal = figure.goal
    limit = None if goal is None else goal.at_most if goal.at_most is not None else goal.at_least
    return f"{value:.3f}" if limit and shown(value) == shown(limit) != f"{value:g}" else shown(value)


def _goal_cells(figure: Figure) -> list[str]:
    what, value, _, _, goal, verdict = _cells(figure)
    return [what, value, goal, verdict]


def console(name: str, result: Result) -> str:
    """The table for a terminal."""
    rows = [_cells(figure) for figure in result.figures]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in rows
    ]
    return "\n".join([f"\n{name}: {result.question}", *lines])
