"""Session: what a real command wrote to a terminal and when, kept as an asciicast file (version 2)."""

from __future__ import annotations

import codecs
import fcntl
import json
import os
import pty
import struct
import subprocess
import termios
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["Session", "record"]

_PROMPT = "\x1b[32m$\x1b[0m "
_KEYSTROKE = 0.06
_PAUSE = 0.6


@dataclass(frozen=True, slots=True)
class Session:
    """What was written, in order: (seconds since the start, text)."""

    columns: int
    lines: int
    events: tuple[tuple[float, str], ...]

    def save(self, path: Path) -> None:
        """Write it to a file, which `asciinema play` shows too."""
        header = {"version": 2, "width": self.columns, "height": self.lines}
        rows = [header, *([at, "o", text] for at, text in self.events)]
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Session:
        """Read it from a file."""
        header, *events = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        return cls(header["width"], header["height"], tuple((at, text) for at, _, text in events))


def record(line: str, environment: Mapping[str, str], folder: Path, *, columns: int, lines: int) -> Session:
    """Run a shell command on a terminal of its own, and keep all that it writes.

    The prompt and the typing are put before it; from the new line on, every byte is the command's.

    Args:
        line: The command.
        environment: All of its environment.
        folder: Where it runs.
        columns: The terminal's width.
        lines: The terminal's height.
    """
    typing = [(round(_PAUSE + _KEYSTROKE * number, 3), key) for number, key in enumerate(line)]
    entered = round(typing[-1][0] + _PAUSE, 3)
    written = _run(line, environment, folder, struct.pack("HHHH", lines, columns, 0, 0))
    output = [(round(entered + seconds, 3), text) for seconds, text in written]
    return Session(columns, lines, ((0.0, _PROMPT), *typing, (entered, "\r\n"), *output))


def _run(line: str, environment: Mapping[str, str], folder: Path, size: bytes) -> Iterator[tuple[float, str]]:
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)
    process = subprocess.Popen(  # noqa: S602 - the picture shows a line that a shell reads
        line,
        shell=True,
        cwd=folder,
        env={"TERM": "xterm-256color", **environment},
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    began = time.monotonic()
    # A character may be cut in two between reads.
    decoder = codecs.getincrementaldecoder("utf-8")()
    while data := _read(master):
        yield time.monotonic() - began, decoder.decode(data)
    os.close(master)
    process.wait()


def _read(master: int) -> bytes:
    try:
        return os.read(master, 65_536)
    except OSError:  # how Linux tells that nobody writes any more
        return b""
