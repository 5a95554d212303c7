"""Results on stdout: JSON for scripts, lines for pipes, a table for people."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from ecs_waiter.cli.messages import explain
from ecs_waiter.cli.outcomes import COLOURS, reason_of, summary
from ecs_waiter.cli.streams import is_interactive, write_result
from ecs_waiter.errors import TaskCanceledError, TaskFailedError, TaskNotFoundError
from ecs_waiter.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ecs_waiter.cli.outcomes import Record

__all__ = ["FORMATS", "summary_line", "write_json", "write_json_line", "write_rows", "write_wait"]

FORMATS = ("text", "json", "jsonl")

_AROUND_TABLE = 6
_GAP = 2
_LEAST = 3
# Columns that the last one has at least, to be broken into lines there.
_ROOM = 24
_HEADS = ("TASK", "OUTCOME", "ACTION", "REGION", "RESOURCE", "REASON")


def write_json(records: Sequence[Record], more: Mapping[str, Mapping[str, Any]] | None = None) -> None:
    """Write all as one document.

    Args:
        records: The tasks.
        more: Further fields by task ID.
    """
    extra = more or {}
    tasks = [record.as_json() | dict(extra.get(record.ref.task_id, {})) for record in records]
    document = {"tasks": tasks, "summary": summary(records)}
    write_result(f"{json.dumps(document, indent=2)}\n")


def write_json_line(record: Record, more: Mapping[str, Any] | None = None) -> None:
    """Write one task as a line of JSON."""
    write_result(f"{json.dumps(record.as_json() | dict(more or {}))}\n")


def write_wait(records: Sequence[Record]) -> None:
    """Write what became of the tasks: in a pipe a line for each; on a terminal a table, if it fits on the screen."""
    if not is_interactive(sys.stdout):
        write_rows(_HEADS, [_cells(record) for record in records])
        return
    import shutil  # noqa: PLC0415 - a terminal's business only

    room = shutil.get_terminal_size().lines - _AROUND_TABLE
    if len(records) > room:
        wanting = [record for record in records if record.outcome != "finished"]
        write_rows(_HEADS, [_cells(record) for record in wanting[: max(room, 1)]])
        more = f"{len(wanting) - room} more did not finish; " if len(wanting) > room else ""
        write_result(f"{more}{summary_line(records)} (--output json has them all)\n")
    else:
        write_rows(_HEADS, [_cells(record) for record in records])


def summary_line(records: Sequence[Record]) -> str:
    """Return such as ``3 finished, 1 failed``."""
    return (
        ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in summary(records).items()) or "no tasks"
    )


def write_rows(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table: aligned by spaces and without heads in a pipe, where the last column alone may hold spaces."""
    if not rows:
        return
    if is_interactive(sys.stdout):
        _write_table(heads, rows)
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    write_result("".join(f"{line}\n" for line in lines))


def _write_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
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
    write_result(drawn.get())


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
    task = record.task
    return (
        record.ref.task_id,
        record.outcome,
        _word(task.task_action if task else ""),
        record.ref.region_id,
        _word(task.resource_id if task else ""),
        _reason(record),
    )


def _word(text: str) -> str:
    return printable(text).replace(" ", "_") or "-"


def _reason(record: Record) -> str:
    error = record.error
    if error is None:
        return "-"
    if isinstance(error, TaskFailedError):
        told = ": ".join(filter(None, reason_of(error.detail)))
        return printable(told) or "the service gave no reason"
    if isinstance(error, TaskCanceledError):
        return f"status {printable(record.task.task_status)}" if record.task else "-"
    return "the region lists no such task" if isinstance(error, TaskNotFoundError) else explain(error)
