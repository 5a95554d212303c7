from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks import run
from benchmarks.drawing import shown, svg
from benchmarks.figures import Goal, Line, Plot, Result, of
from benchmarks.readme_table import put_into
from benchmarks.report import console, files, read, write

FOLDER = Path(__file__).parents[2] / "benchmarks"

CURVES = Plot(
    "curves",
    "Calls < lateness",
    "calls",
    "s",
    [Line("a & b", [(1.0, 2.0), (100.0, 0.5)]), Line("ours", [(3.0, 1.0)], is_ours=True)],
)
DOTS = Plot(
    "dots", "Cost", "ms", "", [Line("a", [(1.0, 1.0)]), Line("ours", [(1234.0, 1.0)], is_ours=True)], is_dots=True
)


def _results() -> dict[str, dict[str, Any]]:
    good = of("good", "x", [1.0, 1.2], Goal(at_most=2))
    bad = of("bad", "x", [3.0], Goal(at_most=2))
    result = Result("How much?", [good, bad, of("plain", "ms", [1234.5])], [CURVES, DOTS], ["A note."])
    machine = {"date": "2026-01-01 00:00 UTC", "processor": "One Core", "aiohttp": "3.0"}
    return {"one": {"seconds": 1.0, "machine": machine, **result.to_json()}}


def test_what_is_committed_belongs_together() -> None:
    """The table and the plots are those that the committed results.json gives, and there are no others."""
    expected = files(read(FOLDER))
    there = {"results.md", *(f"plots/{path.name}" for path in (FOLDER / "plots").iterdir())}
    assert there == set(expected)
    for name, text in expected.items():
        assert (FOLDER / name).read_text() == text, name


def test_the_readme_has_these_figures() -> None:
    """The README's table is what the committed results give."""
    readme = (FOLDER.parent / "README.md").read_text()
    assert put_into(readme, {name: Result.from_json(data) for name, data in read(FOLDER).items()}) == readme
    assert "| **ecs_waiter** |" in readme


def test_every_benchmark_has_results() -> None:
    """Each benchmark that there is has been run, on a machine that is named."""
    results = read(FOLDER)
    assert list(results) == list(run.ALL)
    assert all(result["machine"]["processor"] and result["machine"]["date"] for result in results.values())


def test_table_tells_goals_met_and_not() -> None:
    """A goal that is not met is shown as such, among the goals and in its table."""
    text = files(_results())["results.md"]
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert [row for row in rows if "bad" in row] == [
        "| one | bad | 3 x | ≤ 2 | **not met** |",
        "| bad | 3 x |  | 1 | ≤ 2 | **not met** |",
    ]
    assert "| good | 1.1 x | 1.05 to 1.15 | 2 | ≤ 2 | met |" in rows
    assert "| plain | 1,234 ms |  | 1 |  |  |" in rows
    assert "One Core" in text
    assert "A note." in text


def test_writing_and_reading(tmp_path: Path) -> None:
    """What is written is read back, and all that follows from it lies beside it."""
    write(tmp_path, _results())
    assert read(tmp_path) == json.loads(json.dumps(_results()))
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == [
        "curves.svg",
        "dots.svg",
        "results.json",
        "results.md",
    ]


def test_plots_of_before_go(tmp_path: Path) -> None:
    """A plot that no result has any more is not left lying there."""
    write(tmp_path, _results())
    write(tmp_path, {})
    assert list((tmp_path / "plots").iterdir()) == []


def test_nothing_measured_yet(tmp_path: Path) -> None:
    """Without results.json there are no results."""
    assert read(tmp_path) == {}


@pytest.mark.parametrize("plot", [CURVES, DOTS])
def test_plot_is_svg_that_tells_its_names(plot: Plot) -> None:
    """A plot is well-formed, the same every time, and names what it shows."""
    text = svg(plot)
    assert text == svg(plot)
    told = "".join(ET.fromstring(text).itertext())  # noqa: S314 - made here
    for name in (plot.title, plot.x, *(line.name for line in plot.lines)):
        assert name in told


def test_points_lie_within_the_paper() -> None:
    """No point of a plot falls off its paper, and larger values lie further right and higher up."""
    circles = [
        (float(circle.get("cx", "")), float(circle.get("cy", "")))
        for circle in ET.fromstring(svg(CURVES)).iter("{http://www.w3.org/2000/svg}circle")  # noqa: S314 - made here
    ]
    assert all(0 < x < 820 and 0 < y < 420 for x, y in circles)
    (left, high), (right, low) = circles[:2]
    assert left < right
    assert high < low


@pytest.mark.parametrize(
    ("value", "text"), [(0.04381, "0.0438"), (1.0, "1"), (1.8, "1.8"), (99.94, "99.9"), (14093.4, "14,093")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    """Three significant digits, or all of a large number's."""
    assert shown(value) == text


def test_terminal_table() -> None:
    """On a terminal each figure has its line under the benchmark's question."""
    text = console("one", Result.from_json(_results()["one"]))
    assert text.splitlines()[1] == "one: How much?"
    assert [line.split()[0] for line in text.splitlines()[2:]] == ["good", "bad", "plain"]


def test_unknown_benchmark_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is no benchmark ends the run before it begins, with those that there are."""
    assert run.main(["cpus"]) == 2
    assert "cpu, calls" in capsys.readouterr().err
