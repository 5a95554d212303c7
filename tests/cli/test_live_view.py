"""The live view, on a pseudo-terminal whose screen is read back."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from typing import TYPE_CHECKING

import pyte
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ecs_waiter.emulator import EcsEmulator

LINES = 24


@pytest.fixture(scope="module", autouse=True)
def tasks(ecs: EcsEmulator) -> None:
    """What the service knows."""
    ecs.add_task(task_id="t-slow", duration=36_000)
    ecs.add_task(task_id="t-done", region_id="us-west-1")
    ecs.add_task(task_id="t-failed", outcome="Failed", error=("ImageFormatMismatch", "[red]no\x1b[2J qcow2[/red] " * 3))
    ecs.add_task(task_id="t-export", duration=36_000, task_action="ExportImage")
    for _ in range(20):
        ecs.add_task(task_action="ExportImage")
    for number in range(60):
        ecs.add_task(task_id=f"t-many{number}", region_id="eu-central-1")


class Terminal:
    """One process on a terminal of its own."""

    def __init__(self, environment: dict[str, str], columns: int, words: tuple[str, ...]) -> None:
        self.screen = pyte.HistoryScreen(columns, LINES)
        self.raw = b""
        self._stream = pyte.ByteStream(self.screen)
        self._master, child = pty.openpty()
        self.resize(columns)
        self.process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, *words],
            stdin=child,
            stdout=child,
            stderr=child,
            env={"TERM": "xterm-256color", **environment},
            start_new_session=True,
        )
        os.close(child)

    def resize(self, columns: int) -> None:
        """Make it as wide as that."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))
        self.screen.resize(LINES, columns)

    def read(self) -> bool:
        """Show the next piece of what is written; False at the end."""
        try:
            data = os.read(self._master, 65_536)
        except OSError:
            return False
        self.raw += data
        self._stream.feed(data)
        return bool(data)

    def read_until(self, shows: Callable[[str], bool]) -> str:
        """Read on until the screen shows something; returns the screen."""
        while not shows(self.text):
            if not self.read():
                pytest.fail(f"it ended before it showed that:\n{self.text}")
        return self.text

    def end(self) -> int:
        """Read all, and return the exit code."""
        while self.read():
            pass
        return self.process.wait(timeout=30)

    @property
    def text(self) -> str:
        """The screen."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        os.close(self._master)


@pytest.fixture
def terminal(environment: dict[str, str]) -> Iterator[Callable[..., Terminal]]:
    """Run the command on a terminal; its first word may be ``-c`` for code instead."""
    opened: list[Terminal] = []

    def open_terminal(*arguments: str, columns: int = 100, **variables: str) -> Terminal:
        words = arguments if arguments[0] == "-c" else ("-m", "ecs_waiter.cli", *arguments)
        opened.append(Terminal({**environment, **variables}, columns, words))
        return opened[-1]

    yield open_terminal
    for one in opened:
        one.close()


@pytest.mark.parametrize("columns", [60, 120])
def test_what_is_shown(terminal: Callable[..., Terminal], columns: int) -> None:
    """Bar, counts, regions, calls and the running task with its percentage; the failure stays, in the service's words."""
    shown = terminal("wait", "t-slow", "t-failed", "us-west-1:t-done", columns=columns)
    text = shown.read_until(lambda text: "0%" in text and "1 failed" in text)
    flat = " ".join(text.split())
    assert "✗ task t-failed (ImportImage, cn-hangzhou) failed: ImageFormatMismatch: [red]no\\x1b[2J qcow2[/red]" in flat
    assert " 2/3 " in flat
    assert "1 finished" in flat
    assert "cn-hangzhou 1/2 · us-west-1 1/1" in flat
    assert " calls" in flat
    (line,) = (line for line in text.splitlines() if line.startswith("t-slow"))
    assert line.split()[1:3] == ["0%", "processing"]
    assert len(text.splitlines()) <= LINES


def test_the_time_left(terminal: Callable[..., Terminal]) -> None:
    """From the account's past: how long each task and all of them still take."""
    shown = terminal("wait", "t-export", columns=120)
    text = shown.read_until(lambda text: text.count("left") > 1)
    assert re.search(r"━ 0/1 \d+s · ~\d+ (s|min|h) left \(\d+–\d+\)", text)  # noqa: RUF001 - a dash between numbers
    (line,) = (line for line in text.splitlines() if line.startswith("t-export"))
    assert re.search(r"processing +\d+s +~\d+ (s|min|h) left \(\d+–\d+\) +ExportImage", line)  # noqa: RUF001


def test_resizing(terminal: Callable[..., Terminal]) -> None:
    """A narrower terminal gets a narrower view, whose lines stay whole."""
    shown = terminal("wait", "t-slow", "us-west-1:t-done", columns=120)
    shown.read_until(lambda text: "t-slow" in text and "1/2" in text)
    shown.resize(60)
    mark = len(shown.raw)
    while len(shown.raw) < mark + 2_000:
        shown.read()
    line = next(line for line in reversed(shown.screen.display) if "1/2" in line)
    assert line.startswith("━")


def test_interrupt(terminal: Callable[..., Terminal]) -> None:
    """Ctrl-C leaves what has settled, the command that goes on, and a sound terminal with a cursor."""
    shown = terminal("wait", "t-slow", "us-west-1:t-done")
    shown.read_until(lambda text: "1/2" in text)
    shown.process.send_signal(signal.SIGINT)
    assert shown.end() == 130
    assert "━" not in shown.text
    flat = " ".join(shown.text.split())
    assert "t-done finished" in flat
    assert "wait --region cn-hangzhou t-slow" in flat
    assert shown.raw.rstrip().rfind(b"\x1b[?25h") > shown.raw.rfind(b"\x1b[?25l")


def test_summary_of_more_than_a_screenful(terminal: Callable[..., Terminal]) -> None:
    """More tasks than lines end in a short summary, with what did not finish."""
    asked = [f"eu-central-1:t-many{number}" for number in range(60)]
    shown = terminal("wait", "t-failed", *asked)
    assert shown.end() == 1
    assert "60 finished, 1 failed" in shown.text
    assert "t-failed  failed" in shown.text
    assert "t-many1 " not in shown.text


def test_no_color(terminal: Callable[..., Terminal]) -> None:
    """With `NO_COLOR` the view lives, without colours."""
    shown = terminal("wait", "t-slow", "t-failed", NO_COLOR="1")
    shown.read_until(lambda text: "1/2" in text and "1 failed" in text)
    assert b"\x1b[?25l" in shown.raw
    assert not any(f"\x1b[{colour}m".encode() in shown.raw for colour in range(30, 38))


def test_dumb_terminal(terminal: Callable[..., Terminal]) -> None:
    """A terminal that can only print gets plain lines."""
    shown = terminal("wait", "us-west-1:t-done", TERM="dumb")
    assert shown.end() == 0
    assert b"\x1b" not in shown.raw
    assert "t-done (us-west-1): finished" in shown.text


def test_demo(terminal: Callable[..., Terminal]) -> None:
    """The demo shows the live view, and tells what it took."""
    shown = terminal("-c", "from ecs_waiter.cli import demo; demo._LONGEST = 1.2; raise SystemExit(demo.main())")
    shown.read_until(lambda text: "━" in text and "/250" in text)
    assert shown.end() == 0
    assert "244 finished, 6 failed" in shown.text
    assert "times as many" in shown.text
