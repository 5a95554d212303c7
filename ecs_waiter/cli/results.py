"""Results on stdout: JSON for scripts, lines for pipes, a table for people."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any

from ecs_waiter.cli.outcomes import COLOURS, in_order
from ecs_waiter.cli.streams import is_interactive, results_room, results_written, write_result
from ecs_waiter.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ecs_waiter.cli.outcomes import Record
    from ecs_waiter.cli.progress import Progress

__all__ = [
    "FORMATS",
    "json_pieces",
    "line_of",
    "summary_line",
    "text_pieces",
    "write_many",
    "write_pieces",
    "write_rows",
]

FORMATS = ("text", "json", "jsonl")

_AT_ONCE = 1000

_AROUND_TABLE = 6
_GAP = 2
_LEAST = 3
# Columns that the last one has at least, to be broken into lines there.
_ROOM = 24
_HEADS = ("TASK", "OUTCOME", "ACTION", "REGION", "RESOURCE", "REASON")


def write_pieces(pieces: Iterable[str]) -> None:
    """Write what fits into memory."""
    write_result("".join(pieces))


async def write_many(pieces: Iterable[str]) -> None:
    """Write any amount, piece by piece as stdout's reader takes it.

    Raises:
        ClosedPipeError: The reader is gone.
        CommandError: It cannot be written.
        UnreadError: The program has to end, and the reader does not read.
    """
    for gathered in _gathered(pieces):
        if gathered:
            write_result(gathered)
        await asyncio.sleep(0)
        await results_room()
    await results_written()


def _gathered(pieces: Iterable[str]) -> Iterator[str]:
    source = iter(pieces)
    while some := list(islice(source, _AT_ONCE)):
        yield "".join(some)


def json_pieces(records: Iterable[Record], more: Mapping[str, Mapping[str, Any]] | None = None) -> Iterator[str]:
    """Yield all as one document, a task a piece.

    Args:
        records: The tasks.
        more: Further fields by task ID.
    """
    extra = more or {}
    counts: Counter[str] = Counter()
    yield '{\n  "tasks": ['
    for record in records:
        before = "," if counts else ""
        counts[record.outcome] += 1
        yield f"{before}\n    {_indented(record.as_json() | dict(extra.get(record.ref.task_id, {})), 4)}"
    yield "\n  ]" if counts else "]"
    yield f',\n  "summary": {_indented(in_order(counts), 2)}\n}}\n'


def _indented(value: Mapping[str, Any], depth: int) -> str:
    """An object as `json.dumps(value, indent=2)` writes it, several times as fast where the fields are plain."""
    if not value:
        return "{}"
    pad = " " * depth
    fields = ",\n".join(f'{pad}  "{name}": {_json(each, depth + 2)}' for name, each in value.items())
    return f"{{\n{fields}\n{pad}}}"


def _json(value: object, depth: int) -> str:
    if value is None or isinstance(value, str | int):
        return json.dumps(value)
    # A raw line break is never inside of a string.
    return json.dumps(value, indent=2).replace("\n", "\n" + " " * depth)


def line_of(record: Record, more: Mapping[str, Any] | None = None) -> str:
    """Return one task as a line of JSON."""
    return f"{json.dumps(record.as_json() | dict(more or {}))}\n"


def text_pieces(progress: Progress) -> Iterator[str]:
    """Yield what became of the tasks: in a pipe a line for each; on a terminal a table, if it fits on the screen."""
    if not is_interactive(sys.stdout):
        yield from _lines_of(lambda: map(_cells, progress.records()))
        return
    import shutil  # noqa: PLC0415 - a terminal's business only

    room = shutil.get_terminal_size().lines - _AROUND_TABLE
    if len(progress) > room:
        wanting = (record for record in progress.records() if record.outcome != "finished")
        shown = [_cells(record) for record in islice(wanting, max(room, 1))]
        if shown:
            yield _table(_HEADS, shown)
        left = sum(1 for _ in wanting)
        more = f"{left} more did not finish; " if left else ""
        yield f"{more}{summary_line(progress.outcomes())} (--output json has them all)\n"
    elif len(progress):
        yield _table(_HEADS, list(map(_cells, progress.records())))


def summary_line(outcomes: Mapping[str, int]) -> str:
    """Return such as ``3 finished, 1 failed``."""
    return ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in outcomes.items()) or "no tasks"


def write_rows(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table: aligned by spaces and without heads in a pipe, where the last column alone may hold spaces."""
    if not rows:
        return
    write_pieces([_table(heads, rows)] if is_interactive(sys.stdout) else _lines_of(lambda: rows))


def _lines_of(rows: Callable[[], Iterable[Sequence[str]]]) -> Iterator[str]:
    """Yield rows as aligned lines. They are made twice, for to keep the cells of a million takes too much memory."""
    widths: list[int] = []
    for row in rows():
        widths = list(map(max, widths, map(len, row))) if widths else list(map(len, row))
        yield ""
    for row in rows():
        yield f"{'  '.join(map(str.ljust, row, widths)).rstrip()}\n"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    from rich.console import Console  # noqa: PLC0415 - not where no table is drawn
    from rich.table import Table  # noqa: PLC0415 - the same
    from rich.text import Text  # noqa: PLC0415 - the same

    console = Console(file=sys.stdout, force_terminal=True, highlight=False, markup=False, emoji=False)
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    shown = _fitting(heads, rows, console.width)
    for index in shown:
        table.add_column(heads[index], overflow="fold", no_wrap=index != shown[-1])
    for row in rows:
        table.add_row(*(Text(row[index], style=COLOURS.get(row[index], "")) for index in shown))
    with console.capture() as drawn:
        console.print(table)
    return drawn.get()


def _fitting(heads: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """The columns that say anything and fit on the screen; the first two and the last are never left out."""
    widths = [max(len(heads[index]), *(len(row[index]) for row in rows)) for index in range(len(heads))]
    shown = [index for index in range(len(heads)) if any(row[index] not in {"", "-"} for row in rows)]
    while (
        len(shown) > _LEAST
        and sum(widths[index] + _GAP for index in shown[:-1]) + min(widths[shown[-1]], _ROOM) > width
    ):
        del shown[-2]
    return shown


def _cells(record: Record) -> tuple[str, ...]:
    task, why = record.task, record.why
    return (
        record.ref.task_id,
        record.outcome,
        _word(task.task_action) if task else "-",
        record.ref.region_id,
        _word(task.resource_id) if task else "-",
        why.shown if why else "-",
    )


def _word(text: str) -> str:
    return printable(text).replace(" ", "_") or "-"
