"""Results on stdout: JSON for scripts, lines for pipes, a table for people."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from collections import Counter
from itertools import islice, starmap
from typing import TYPE_CHECKING, Any

from ecs_waiter.cli.outcomes import COLORS, Record, in_order
from ecs_waiter.cli.streams import (
    is_interactive,
    results_written,
    write_result,
)
from ecs_waiter.escaping import escape_control

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ecs_waiter.cli.inputs import TaskRef
    from ecs_waiter.cli.outcomes import KnownTask, WatchedTasks

__all__ = [
    "json_pieces",
    "line_of",
    "one_word",
    "summary_line",
    "text_pieces",
    "write_many",
    "write_records",
    "write_rows",
]

_MOST_SECONDS = 0.005
"""Seconds of producing results after which the event loop runs again."""

_MOST_WAITING = 1 << 20
"""Bytes waiting for stdout's reader above which no more results are produced."""

_LINES_AROUND_TABLE = 6
_GAP = 2
_LEAST_COLUMNS = 3
_LAST_COLUMN = 24
"""The least width of the last column, whose text is folded."""
_HEADS = ("TASK", "OUTCOME", "ACTION", "REGION", "RESOURCE", "REASON")

# One encoder for all values: a new one per value would double the time for a million results.
_ENCODER = json.JSONEncoder(indent=2)


# -- writing ----------------------------------------------------------------------------------------------------------


async def write_many(pieces: Iterable[str]) -> None:
    """Write any amount of results, as fast as stdout's reader takes them; raises as `results_written` does."""
    gathered: list[str] = []
    began = time.monotonic()
    for piece in pieces:
        gathered.append(piece)
        if time.monotonic() - began > _MOST_SECONDS:
            write_result("".join(gathered))
            gathered.clear()
            await asyncio.sleep(0)
            await results_written(_MOST_WAITING)
            began = time.monotonic()
    write_result("".join(gathered))
    await results_written()


def write_records(records: Sequence[Record], output: str, extra: Mapping[str, Any] | None = None) -> None:
    """Write a few records as JSON, each with the `extra` fields."""
    pieces = json_pieces(records, extra) if output == "json" else (line_of(record, extra) for record in records)
    write_result("".join(pieces))


# -- JSON -------------------------------------------------------------------------------------------------------------


def json_pieces(records: Iterable[Record], extra: Mapping[str, Any] | None = None) -> Iterator[str]:
    """Yield one JSON document, a task per piece.

    Args:
        records: The tasks.
        extra: More fields for each of them.
    """
    counts: Counter[str] = Counter()
    yield '{\n  "tasks": ['
    for record in records:
        before = "," if counts else ""
        counts[record.outcome] += 1
        yield f"{before}\n    {_indented(record.as_json() | dict(extra or {}), 4)}"
    yield "\n  ]" if counts else "]"
    yield f',\n  "summary": {_indented(in_order(counts), 2)}\n}}\n'


def line_of(record: Record, extra: Mapping[str, Any] | None = None) -> str:
    """Return one task as a line of JSON."""
    return f"{json.dumps(record.as_json() | dict(extra or {}))}\n"


def _indented(fields: Mapping[str, Any], depth: int) -> str:
    """Return an object as `json.dumps` with ``indent=2`` does, indented by `depth` spaces more."""
    if not fields:
        return "{}"
    end = "\n" + " " * depth
    start = f"{end}  "
    # An encoded string never contains a line break.
    values = ["null" if value is None else _ENCODER.encode(value).replace("\n", start) for value in fields.values()]
    inside = ",".join(f'{start}"{name}": {value}' for name, value in zip(fields, values, strict=True))
    return f"{{{inside}{end}}}"


# -- text -------------------------------------------------------------------------------------------------------------


def text_pieces(progress: WatchedTasks) -> Iterator[str]:
    """Yield a line per task in a pipe; on a terminal a table, or a summary if the table does not fit on the screen."""
    if not is_interactive(sys.stdout):
        yield from _lines(progress)
        return
    room = shutil.get_terminal_size().lines - _LINES_AROUND_TABLE
    if len(progress) > room:
        unfinished = (record for record in progress.records() if record.outcome != "finished")
        shown = [_cells(record.ref, record) for record in islice(unfinished, max(room, 1))]
        if shown:
            yield _table(_HEADS, shown)
        left = sum(1 for _ in unfinished)
        more = f"{left} more did not finish; " if left else ""
        yield f"{more}{summary_line(progress.outcomes())} (--output json has them all)\n"
    elif len(progress):
        yield _table(_HEADS, list(starmap(_cells, progress.states())))


def summary_line(outcomes: Mapping[str, int]) -> str:
    """Return a summary such as ``3 finished, 1 failed``."""
    return ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in outcomes.items()) or "no tasks"


def write_rows(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table on a terminal; in a pipe aligned lines without heads, of which only the last cell has spaces."""
    if rows and is_interactive(sys.stdout):
        write_result(_table(heads, rows))
    elif rows:
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        write_result("".join(_line(row, widths) for row in rows))


def _lines(progress: WatchedTasks) -> Iterator[str]:
    """Yield the lines that `write_rows` writes. Two passes, because a million rows would need too much memory."""
    widths = [0] * len(_HEADS)
    for ref, known in progress.states():
        widths = list(map(max, widths, map(len, _cells(ref, known))))
        yield ""
    for ref, known in progress.states():
        yield _line(_cells(ref, known), [*widths[:-1], 0])


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return f"{'  '.join(map(str.ljust, row, widths)).rstrip()}\n"


def _cells(ref: TaskRef, known: KnownTask | Record | None) -> tuple[str, ...]:
    if isinstance(known, Record):
        outcome, task, reason = known.outcome, known.task, known.error.text if known.error else "-"
    else:
        outcome, task, reason = "pending", known, "-"
    action, resource = (one_word(task.task_action), one_word(task.resource_id)) if task else ("-", "-")
    return ref.task_id, outcome, action, ref.region_id, resource, reason


def one_word(text: str) -> str:
    """Return a text as one word, so that a line can be split into its columns."""
    return escape_control(text).replace(" ", "_") or "-"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    from rich.console import Console  # noqa: PLC0415 - slow to import, and pipes do not need it
    from rich.table import Table  # noqa: PLC0415 - the same
    from rich.text import Text  # noqa: PLC0415 - the same

    console = Console(file=sys.stdout, force_terminal=True, highlight=False, markup=False, emoji=False)
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    shown = _fitting(heads, rows, console.width)
    for index in shown:
        table.add_column(heads[index], overflow="fold", no_wrap=index != shown[-1])
    for row in rows:
        table.add_row(*(Text(row[index], style=COLORS.get(row[index], "")) for index in shown))
    with console.capture() as drawn:
        console.print(table)
    return drawn.get()


def _fitting(heads: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Return the columns that are not empty and fit on the screen; the first two and the last always stay."""
    widths = [max(len(heads[index]), *(len(row[index]) for row in rows)) for index in range(len(heads))]
    shown = [index for index in range(len(heads)) if any(row[index] not in {"", "-"} for row in rows)]
    while (
        len(shown) > _LEAST_COLUMNS
        and sum(widths[index] + _GAP for index in shown[:-1]) + min(widths[shown[-1]], _LAST_COLUMN) > width
    ):
        del shown[-2]
    return shown
