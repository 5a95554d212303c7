"""Results on stdout: JSON for scripts, lines for pipes, a table for people."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from itertools import islice, starmap
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any

from ecs_waiter.cli.outcomes import COLOURS, Record, in_order
from ecs_waiter.cli.streams import is_interactive, results_room, results_written, write_result
from ecs_waiter.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ecs_waiter.cli.outcomes import Seen
    from ecs_waiter.cli.progress import Progress
    from ecs_waiter.cli.task_refs import TaskRef
    from ecs_waiter.models import Task

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
_AT_A_STRETCH = 0.005
"""Seconds for which results are made before the event loop runs again."""
_SHORT = 100

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
    gathered: list[str] = []
    began = time.monotonic()
    for piece in pieces:
        gathered.append(piece)
        if time.monotonic() - began > _AT_A_STRETCH:
            write_result("".join(gathered))
            gathered.clear()
            await asyncio.sleep(0)
            await results_room()
            began = time.monotonic()
    write_result("".join(gathered))
    await results_written()


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
    if value is None or isinstance(value, str):
        return _in_line(value)
    # A raw line break is never inside of a string.
    return json.dumps(value, indent=2).replace("\n", "\n" + " " * depth)


def line_of(record: Record, more: Mapping[str, Any] | None = None) -> str:
    """Return one task as a line of JSON."""
    fields = record.as_json() | dict(more or {})
    inside = ", ".join([f'"{name}": {_in_line(each)}' for name, each in fields.items()])
    return f"{{{inside}}}\n"


def _in_line(value: object) -> str:
    # `dumps` makes an encoder for each call, which would be most of the time that a million results take.
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    return "null" if value is None else json.dumps(value)


def text_pieces(progress: Progress) -> Iterator[str]:
    """Yield what became of the tasks: in a pipe a line for each; on a terminal a table, if it fits on the screen."""
    if not is_interactive(sys.stdout):
        yield from _lines(progress)
        return
    import shutil  # noqa: PLC0415 - a terminal's business only

    room = shutil.get_terminal_size().lines - _AROUND_TABLE
    if len(progress) > room:
        wanting = (record for record in progress.records() if record.outcome != "finished")
        shown = [_cells(record.ref, record) for record in islice(wanting, max(room, 1))]
        if shown:
            yield _table(_HEADS, shown)
        left = sum(1 for _ in wanting)
        more = f"{left} more did not finish; " if left else ""
        yield f"{more}{summary_line(progress.outcomes())} (--output json has them all)\n"
    elif len(progress):
        yield _table(_HEADS, list(starmap(_cells, progress.states())))


def summary_line(outcomes: Mapping[str, int]) -> str:
    """Return such as ``3 finished, 1 failed``."""
    return ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in outcomes.items()) or "no tasks"


def write_rows(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table: aligned by spaces and without heads in a pipe, where the last column alone may hold spaces."""
    if not rows:
        return
    if is_interactive(sys.stdout):
        write_result(_table(heads, rows))
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    write_pieces(f"{'  '.join(map(str.ljust, row, widths)).rstrip()}\n" for row in rows)


def _lines(progress: Progress) -> Iterator[str]:
    """Yield lines for all tasks, aligned as `write_rows` aligns them, in pieces: there may be a million."""
    # There are few kinds of what stands in the middle.
    middles: dict[tuple[str, str, str], str] = {}
    longest = 0
    for rows in _rows(progress):
        middles.update(dict.fromkeys([kind for _, kind, _, _ in rows], ""))
        longest = max(longest, *[len(resource) for _, _, resource, _ in rows])
        yield ""
    cells = [(outcome, _word(action), region_id) for outcome, action, region_id in middles]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for kind, row in zip(middles, cells, strict=True):
        middles[kind] = "  ".join(map(str.ljust, row, widths))
    # The oldest way to format is the fastest.
    line = f"%-{max(map(len, progress.refs), default=0)}s  %s  %-{longest}s  %s\n"
    for rows in _rows(progress):
        yield "".join([line % (task_id, middles[kind], resource, reason) for task_id, kind, resource, reason in rows])


def _rows(progress: Progress) -> Iterator[list[tuple[str, tuple[str, str, str], str, str]]]:
    """Yield ID, kind, resource and reason of all tasks, some at once."""
    states = progress.states()
    while piece := list(islice(states, _AT_ONCE)):
        rows = []
        for ref, known in piece:
            outcome, task, reason = _parts(known) if isinstance(known, Record) else ("pending", known, "-")
            action, resource = (task.task_action, task.resource_id) if task is not None else ("", "")
            rows.append((ref.task_id, (outcome, action, ref.region_id), resource, reason))
        if not _are_plain([resource for _, _, resource, _ in rows]):
            rows = [(task_id, kind, _word(resource), reason) for task_id, kind, resource, reason in rows]
        yield rows


def _are_plain(words: Sequence[str]) -> bool:
    """Whether none of many needs a change, at the price of one."""
    text = "".join(words)
    return all(words) and text.isascii() and text.isprintable() and " " not in text and max(map(len, words)) <= _SHORT


def _parts(known: Seen | Record | None) -> tuple[str, Task | Seen | None, str]:
    """Outcome, state and reason."""
    if isinstance(known, Record):
        why = known.why
        return known.outcome, known.task, why.shown if why else "-"
    return "pending", known, "-"


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


def _cells(ref: TaskRef, known: Seen | Record | None) -> tuple[str, ...]:
    outcome, task, reason = _parts(known)
    action, resource = (_word(task.task_action), _word(task.resource_id)) if task else ("-", "-")
    return ref.task_id, outcome, action, ref.region_id, resource, reason


def _word(text: str) -> str:
    return text if _are_plain([text]) else printable(text).replace(" ", "_") or "-"
