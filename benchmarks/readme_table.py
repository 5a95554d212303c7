"""The README's table of what one would use instead: every figure of it stands in results.json."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.drawing import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.figures import Result

__all__ = ["BEGIN", "END", "put_into", "table"]

BEGIN = "<!-- figures: written by make bench -->\n"
END = "<!-- /figures -->"

_HEAD = (
    "| | calls for each task | news late by | CPU for a call | memory for a waiting task |\n|---|---:|---:|---:|---:|\n"
)
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
    """Return the table in Markdown."""
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
    return _HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def put_into(readme: str, results: Mapping[str, Result]) -> str:
    """Return the README with its table as of these results."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table(results)}{END}{after}"
