"""Standard input that stays open: the deadline counts, and signals end it quietly."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING

import pytest

from ecs_waiter.cli import inputs
from ecs_waiter.cli.exit_codes import CommandError
from ecs_waiter.cli.inputs import Stdin, read_within

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecs_waiter.emulator import EcsEmulator

    Spawn = Callable[..., subprocess.Popen[bytes]]

PATIENCE = 60
READING = [("wait", "-"), ("wait", "-", "--timeout", "2h"), ("cancel", "-"), ("run", "ImportImage", "--params", "-")]


def until_taken(process: subprocess.Popen[bytes], data: bytes) -> None:
    """Write to a process's stdin, and wait until it has read that."""
    assert process.stdin is not None
    process.stdin.write(data)
    process.stdin.flush()
    while struct.unpack("i", fcntl.ioctl(process.stdin.fileno(), termios.FIONREAD, b"\0\0\0\0"))[0]:
        assert process.poll() is None


@pytest.mark.parametrize("arguments", [("wait", "-"), ("run", "ImportImage", "--params", "-")], ids=" ".join)
def test_the_deadline_counts_while_stdin_is_open(ecs: EcsEmulator, spawn: Spawn, arguments: tuple[str, ...]) -> None:
    """The deadline ends a command whose stdin stays open: one line, exit code 124, and no call."""
    ecs.requests.clear()
    process = spawn(*arguments, "--timeout", "0.5s", stdin=subprocess.PIPE)
    assert process.wait(PATIENCE) == 124
    assert process.stderr is not None
    assert process.stderr.read() == b"ecs-waiter: timed out after 0.5 s: stdin was not closed\n"
    assert ecs.requests == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_a_signal_while_stdin_is_open(spawn: Spawn, arguments: tuple[str, ...], number: int) -> None:
    """A signal ends a command whose stdin stays open: one line, exit code 130, no traceback."""
    process = spawn(*arguments, stdin=subprocess.PIPE)
    until_taken(process, b"#\n")
    process.send_signal(number)
    assert process.wait(PATIENCE) == 130
    assert process.stderr is not None
    assert process.stderr.read() == b"ecs-waiter: interrupted\n"


def test_one_look_may_read_for_as_long_as_it_takes(ecs: EcsEmulator, spawn: Spawn) -> None:
    """`--timeout 0` is one look at the tasks, and no limit for reading them."""
    ecs.add_task(task_id="t-late")
    process = spawn("wait", "-", "--timeout", "0", "--quiet", stdin=subprocess.PIPE)
    until_taken(process, b"#\n")
    stdout, stderr = process.communicate(b"t-late\n", timeout=PATIENCE)
    assert (process.returncode, stderr) == (0, b"")
    assert stdout.startswith(b"t-late  finished")


@pytest.mark.parametrize(("timeout", "left"), [(None, None), (0.0, 0.0), (7200.0, 7140.0), (60.0, 0.0), (30.0, 0.0)])
def test_what_is_left(monkeypatch: pytest.MonkeyPatch, timeout: float | None, left: float | None) -> None:
    """What reading took is no longer there for the wait."""
    now = 1000.0

    def read(_number: int, _seconds: float | None) -> bytes:
        nonlocal now
        now += 60.0
        return b"t-1"

    monkeypatch.setattr(inputs, "read_within", read)
    monkeypatch.setattr("sys.stdin", sys.__stdin__)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    stdin = Stdin(timeout)
    assert stdin.left() == timeout
    assert stdin.read() == "t-1"
    assert stdin.left() == left


def test_reading_everything() -> None:
    """All pieces are read, until the other end is closed."""
    reader, writer = os.pipe()
    os.write(writer, b"t-1\n")
    os.write(writer, b"t-2\n")
    os.close(writer)
    try:
        assert read_within(reader, 60.0) == b"t-1\nt-2\n"
    finally:
        os.close(reader)


def test_what_cannot_be_read() -> None:
    """A stdin that cannot be read is an error like any other."""
    with pytest.raises(CommandError, match="cannot read stdin: Is a directory"):
        read_within(os.open("/", os.O_RDONLY), None)
