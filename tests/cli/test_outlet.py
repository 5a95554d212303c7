"""Outlets: streams that accept everything at once and are written by threads."""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING

import pytest

from ecs_waiter.cli import streams
from ecs_waiter.cli.outlet import Outlet

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGE = b"x" * 300_000
"""More than a pipe holds."""


class Pipe:
    """A pipe with an outlet at its writing end."""

    def __init__(self, twin: Outlet | None = None) -> None:
        self.reader, self.writer = os.pipe()
        self.outlet = Outlet(self.writer, twin)

    def read(self, count: int) -> bytes:
        """As many bytes as that."""
        data = b""
        while len(data) < count:
            data += os.read(self.reader, count - len(data))
        return data

    def close(self) -> None:
        """Close what is open."""
        for number in {self.reader, self.writer}:
            os.close(number)


@pytest.fixture
def pipes() -> Iterator[tuple[Pipe, Pipe]]:
    """Two pipes whose outlets are twins."""
    first = Pipe()
    second = Pipe(first.outlet)
    yield first, second
    for pipe in (first, second):
        # Whatever is left goes somewhere, so that no thread stays behind.
        threading.Thread(
            target=lambda reader=pipe.reader: [None for _ in iter(lambda: os.read(reader, 65536), b"")], daemon=True
        ).start()
        assert pipe.outlet.drain(None)
        os.close(pipe.writer)


def test_nothing_is_lost_or_reordered(pipes: tuple[Pipe, Pipe]) -> None:
    """A write returns at once, however much it is, and a reader who comes late gets every byte in order."""
    pipe, _ = pipes
    assert pipe.outlet.write(LARGE) == len(LARGE)
    assert pipe.outlet.write(b"end") == 3
    assert pipe.outlet.backlog > 0
    assert pipe.read(len(LARGE) + 3) == LARGE + b"end"
    assert pipe.outlet.drain(None)
    assert pipe.outlet.backlog == 0


def test_what_is_written_may_change_afterwards(pipes: tuple[Pipe, Pipe]) -> None:
    """The outlet keeps a copy of what it accepts."""
    pipe, _ = pipes
    pipe.outlet.write(LARGE)
    data = bytearray(b"before")
    pipe.outlet.write(data)
    data[:] = b"after!"
    assert pipe.read(len(LARGE) + 6).endswith(b"before")


def test_twins_keep_the_order_of_the_program(pipes: tuple[Pipe, Pipe]) -> None:
    """What goes to a second stream later is written later, as on a terminal that shows both."""
    first, second = pipes
    for _ in range(100):
        first.outlet.write(b"a")
        second.outlet.write(b"b")
        assert second.read(1) == b"b"
        # By then the first one has been written.
        os.set_blocking(first.reader, False)
        assert os.read(first.reader, 2) == b"a"
        os.set_blocking(first.reader, True)


def test_a_stalled_twin_holds_nobody_up(pipes: tuple[Pipe, Pipe]) -> None:
    """A stream whose reader does not read delays the other one only shortly."""
    first, second = pipes
    first.outlet.write(LARGE)
    second.outlet.write(b"still here")
    assert second.read(10) == b"still here"
    assert not first.outlet.drain(0.0)


def test_a_reader_who_is_gone(pipes: tuple[Pipe, Pipe]) -> None:
    """An error is kept, what is left is dropped, and later writes are too."""
    pipe = Pipe()
    os.close(pipe.reader)
    pipe.outlet.write(b"x")
    assert pipe.outlet.drain(None)
    assert isinstance(pipe.outlet.error, BrokenPipeError)
    assert pipe.outlet.write(LARGE) == len(LARGE)
    assert pipe.outlet.backlog == 0
    os.close(pipe.writer)


def test_a_stream_that_others_made_non_blocking(pipes: tuple[Pipe, Pipe]) -> None:
    """A stream that another process made non-blocking is written all the same."""
    pipe, _ = pipes
    os.set_blocking(pipe.writer, False)
    pipe.outlet.write(LARGE)
    assert pipe.read(len(LARGE)) == LARGE


def test_without_threads(pipes: tuple[Pipe, Pipe], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started the data is written at once, and the next write tries again."""
    pipe, _ = pipes

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    pipe.outlet.write(b"first")
    assert pipe.outlet.backlog == 0
    monkeypatch.undo()
    pipe.outlet.write(b"second")
    assert pipe.read(11) == b"firstsecond"


class Behind:
    """An outlet as `streams` sees it, whose reader is as far behind as the test says."""

    backlog = 0
    error = OSError(errno.ENOSPC, "full")


def test_progress_is_dropped_while_nobody_reads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Progress is dropped while stderr is far behind, messages are not; once it is read again, it says how many were."""
    outlet = Behind()
    monkeypatch.setitem(streams._outlets, 2, outlet)
    streams.say_progress("one")
    outlet.backlog = 10_000_000
    streams.say_progress("two")
    streams.say_progress("three")
    streams.say("a message")
    outlet.backlog = 0
    streams.say_progress("four")
    assert capsys.readouterr().err == "one\na message\n(2 lines dropped: stderr was not being read)\nfour\n"
