"""Screens: what the terminal shows, moment by moment, as a session is played on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

import pyte

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.picture.session import Session

__all__ = ["Row", "Run", "Screen", "screens"]

_BLINK = 0.12
_DIM, _BRIGHT_BLACK = 2, 90


@dataclass(frozen=True, slots=True)
class Run:
    """Characters of one look, side by side."""

    column: int
    text: str
    colour: str
    is_bold: bool = False


Row = tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Screen:
    """What is shown from a moment on, in seconds since the start."""

    at: float
    rows: tuple[Row, ...]


class _Terminal(pyte.Screen):
    """One that knows dim text, which pyte does not: it is drawn in bright black, as many terminals do."""

    def select_graphic_rendition(self, *attributes: int) -> None:
        super().select_graphic_rendition(
            *(_BRIGHT_BLACK if attribute == _DIM else attribute for attribute in attributes)
        )


def screens(session: Session) -> Iterator[Screen]:
    """Give each change of the screen, at most one in a blink."""
    terminal = _Terminal(session.columns, session.lines)
    stream = pyte.Stream(terminal)
    shown: tuple[Row, ...] = ()
    for _, events in groupby(session.events, key=lambda event: int(event[0] / _BLINK)):
        at = 0.0
        for at, text in events:  # noqa: B007 - the last one's time is when the screen shows it
            stream.feed(text)
        rows = tuple(_row(terminal, line) for line in range(session.lines))
        if rows != shown:
            yield Screen(at, rows)
        shown = rows


def _row(terminal: pyte.Screen, line: int) -> Row:
    """The runs of one line. Two blanks divide a run, so that columns stay aligned whatever the font."""
    runs: list[Run] = []
    for column in range(terminal.columns):
        cell = terminal.buffer[line][column]
        if runs and _continues(runs[-1], column, cell):
            runs[-1] = replace(runs[-1], text=runs[-1].text + cell.data)
        else:
            runs.append(Run(column, cell.data, cell.fg, cell.bold))
    trimmed = (replace(run, text=run.text.rstrip()) for run in runs)
    return tuple(run for run in trimmed if run.text)


def _continues(run: Run, column: int, cell: pyte.screens.Char) -> bool:
    is_next = run.column + len(run.text) == column and (run.colour, run.is_bold) == (cell.fg, cell.bold)
    return is_next and (cell.data == " " or not run.text.endswith("  "))
