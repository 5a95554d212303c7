"""The README's tables: every figure of them is in results.json."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.drawing import shown
from benchmarks.scenes import SCENES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.figures import Result

__all__ = ["BEGIN", "END", "put_into", "table"]

BEGIN = "<!-- figures: written by make bench -->\n"
END = "<!-- /figures -->"

_SCENES_HEAD = (
    "Detection delay as a multiple of that of a fixed loop that makes as many calls (below 1 is sooner):\n\n"
    "| tasks | mean | 99th percentile |\n|---|---:|---:|\n"
)
_HEAD = (
    "Beside what one would use instead, for a thousand tasks of all lengths within an hour:\n\n"
    "| | calls for each task | mean detection delay | CPU for a call | memory for a waiting task |\n"
    "|---|---:|---:|---:|---:|\n"
)
_DELAYS = ("mean delay", "99th percentile")
# What to call it; then by whom in the benchmarks promptness, cpu and memory.
_ROWS = (
    ("**ecs_waiter**", "ecs_waiter, default", "ecs_waiter, http Processing", "wait, 100,000 tasks"),
    (
        "one loop over all, 100 IDs a call, every 15 s",
        "loop, every 15 s",
        "loop by hand, http Processing",
        "loop by hand, a future each, 100,000 tasks",
    ),
    (
        "a loop for each task with the SDK, every 15 s",
        "each task, every 15 s",
        "SDK, http Processing",
        "a coroutine each, 100,000 tasks",
    ),
    ("`aliyun … --waiter` for each task, every 5 s", "each task, every 5 s", None, None),
)


def table(results: Mapping[str, Result]) -> str:
    """Return the tables in Markdown."""
    medians = {
        (name, figure.what): shown(figure.median) for name, result in results.items() for figure in result.figures
    }
    rows = [
        [
            label,
            medians["promptness", f"mixed: {cadence}, calls for each task"],
            medians["promptness", f"mixed: {cadence}, mean lateness"] + " s",
            "a process" if cpu is None else medians["cpu", cpu] + " µs",
            "a process" if memory is None else medians["memory", memory] + " B",
        ]
        for label, cadence, cpu, memory in _ROWS
    ]
    scenes = []
    for scene in SCENES:
        label = f"{scene.name}, history session"
        scenes.append([scene.name, *(medians["promptness", f"{label}: {what} / fixed loop"] for what in _DELAYS)])
    return f"{_SCENES_HEAD}{_lines(scenes)}\n{_HEAD}{_lines(rows)}"


def _lines(rows: list[list[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def put_into(readme: str, results: Mapping[str, Result]) -> str:
    """Return the README with its table as of these results."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table(results)}{END}{after}"
