"""The standard streams: present, never a source of errors, and never a reason for the program to stand still."""

from __future__ import annotations

import contextlib
import io
import os
import select
import signal
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO, cast

from ecs_waiter.cli.failure import CommandError, ExitCode, MisuseError
from ecs_waiter.cli.outlet import Outlet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import BinaryIO

__all__ = [
    "ClosedPipeError",
    "Stdin",
    "UnreadError",
    "finish",
    "finish_messages",
    "has_backlog",
    "hurry",
    "is_behind",
    "is_interactive",
    "is_reader_gone",
    "mention",
    "open_streams",
    "read_stdin",
    "read_within",
    "results_room",
    "results_written",
    "say",
    "spoken_by",
    "write_result",
]

_STREAMS = ("stdin", "stdout", "stderr")
_STDOUT, _STDERR = 1, 2
_PATIENCE = 1.5
"""Seconds for which a reader may take nothing before the program ends without it."""
_LAST_PATIENCE = 0.3
"""The same for the last word on stderr, after stdout's reader has used up the other."""
_MOST_PROGRESS = 1 << 20
"""Bytes that wait for stderr's reader before progress is dropped."""
_MOST_RESULTS = 1 << 20
"""Bytes that wait for stdout's reader before more results are made."""
_LOOK_EVERY = 0.01
_LOOK_AT_LEAST_EVERY = 0.5

_speakers: list[Callable[[str], None]] = []
_outlets: dict[int, Outlet] = {}


@dataclass
class _State:
    """What is known of the streams that are open.

    Attributes:
        hurried_at: Since when the program is to end; None if it is not.
        dropped: Lines of progress that were dropped and not reported yet.
        has_lost_stdout: Whether it was reported already that stdout takes no more.
    """

    hurried_at: float | None = None
    dropped: int = 0
    has_lost_stdout: bool = False


_state = _State()


class ClosedPipeError(Exception):
    """Nobody reads the results any more."""


class UnreadError(CommandError):
    """The program has to end, and stdout's reader does not read."""

    def __init__(self, count: int) -> None:
        super().__init__(f"stdout is not being read: {count} bytes of the results were not written")


@contextlib.contextmanager
def open_streams() -> Iterator[None]:
    """Make every standard stream usable, in whatever state and encoding the shell left it, until the block ends.

    Within the block stdout and stderr accept everything at once; `finish` waits for their readers.
    """
    kept = sys.stdout, sys.stderr
    for number, name in enumerate(_STREAMS):
        try:
            os.fstat(number)
        except OSError:
            # Else the next socket would become the standard stream.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, os.fdopen(os.dup(number), mode, encoding="utf-8"))
    _state.hurried_at, _state.dropped, _state.has_lost_stdout = None, 0, False
    stdout = _outlets[_STDOUT] = Outlet(_STDOUT)
    _outlets[_STDERR] = Outlet(_STDERR, stdout)
    sys.stdout, sys.stderr = _text(_STDOUT, sys.stdout), _text(_STDERR, sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = kept
        _outlets.clear()


def _text(number: int, replaced: TextIO) -> TextIO:
    # A character that the terminal's encoding lacks is shown as its number.
    return io.TextIOWrapper(
        cast("BinaryIO", _outlets[number]),
        encoding=replaced.encoding or "utf-8",
        errors="backslashreplace",
        write_through=True,
    )


def is_interactive(stream: TextIO, environment: Mapping[str, str] | None = None) -> bool:
    """Whether a stream is a terminal that can do more than print."""
    term = (os.environ if environment is None else environment).get("TERM", "")
    return stream.isatty() and term not in {"", "dumb", "unknown"}


# -- messages ---------------------------------------------------------------------------------------------------------


def say(message: str) -> None:
    """Write a line to stderr; that nobody can read it is no reason to stop."""
    if _speakers:
        _speakers[-1](message)
        return
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{message}\n")
        sys.stderr.flush()


def mention(message: str) -> None:
    """Write a line of progress to stderr, or drop it while stderr's reader is far behind."""
    if is_behind():
        _state.dropped += 1
        return
    if _state.dropped:
        say(f"({_state.dropped} lines dropped: stderr was not being read)")
        _state.dropped = 0
    say(message)


def is_behind() -> bool:
    """Whether so much waits for stderr's reader that progress is not worth adding."""
    return _STDERR in _outlets and _outlets[_STDERR].backlog > _MOST_PROGRESS


def has_backlog() -> bool:
    """Whether anything at all waits for stderr's reader."""
    return _STDERR in _outlets and _outlets[_STDERR].backlog > 0


@contextlib.contextmanager
def spoken_by(speaker: Callable[[str], None]) -> Iterator[None]:
    """Let something else, which has stderr for itself, write what is said within the block."""
    _speakers.append(speaker)
    try:
        yield
    finally:
        _speakers.remove(speaker)


# -- results ----------------------------------------------------------------------------------------------------------


def write_result(text: str) -> None:
    """Write to stdout, in the background where the streams are open.

    Raises:
        ClosedPipeError: Its reader is gone.
        CommandError: It cannot be written for another reason, as on a full disk.
    """
    _check_stdout()
    if not _state.has_lost_stdout:
        sys.stdout.write(text)
        sys.stdout.flush()


async def results_room() -> None:
    """Wait until stdout's reader has taken most of what was written.

    Raises:
        ClosedPipeError: It is gone.
        CommandError: The results cannot be written.
        UnreadError: The program has to end, and the reader does not read.
    """
    await _until_backlog(_MOST_RESULTS)


async def results_written() -> None:
    """Wait until stdout's reader has taken everything; raises as `results_room` does."""
    await _until_backlog(0)


async def _until_backlog(most: int) -> None:
    import asyncio  # noqa: PLC0415 - not for help

    while _STDOUT in _outlets and not _state.has_lost_stdout and _outlets[_STDOUT].backlog > most:
        _give_up_unread()
        await asyncio.sleep(_LOOK_EVERY)
    _check_stdout()


def _check_stdout() -> None:
    """Raise once if stdout takes no more."""
    error = _outlets[_STDOUT].error if _STDOUT in _outlets else None
    if error is None or _state.has_lost_stdout:
        return
    _state.has_lost_stdout = True
    if isinstance(error, BrokenPipeError):
        raise ClosedPipeError
    raise CommandError(f"cannot write to stdout: {error.strerror}")


def _give_up_unread() -> None:
    stdout = _outlets[_STDOUT]
    if _state.hurried_at is not None and stdout.stalled_for(_state.hurried_at) >= _PATIENCE:
        _state.has_lost_stdout = True
        raise UnreadError(stdout.backlog)


def is_reader_gone() -> bool:
    """Whether stdout is a pipe that nobody reads any more; where that cannot be told, it is not."""
    if not hasattr(select, "poll"):
        return False
    poller = select.poll()
    poller.register(sys.stdout.fileno(), 0)
    return any(events & (select.POLLERR | select.POLLNVAL) for _, events in poller.poll(0))


# -- the end ----------------------------------------------------------------------------------------------------------


def hurry() -> None:
    """The program is to end, at a signal or its deadline: readers that do not read are not waited for any longer."""
    if _state.hurried_at is None:
        _state.hurried_at = time.monotonic()


def finish(code: int) -> int:
    """Wait for stdout's reader: as long as it takes, or, once the program has to end, while it reads.

    Returns:
        The exit code, as it came.

    Raises:
        ClosedPipeError: It is gone.
        CommandError: The results cannot be written.
        UnreadError: The program has to end, and the reader does not read.
    """
    while not _state.has_lost_stdout and not _outlets[_STDOUT].drain(_LOOK_EVERY):
        _give_up_unread()
    _check_stdout()
    return code


def finish_messages() -> None:
    """Wait for stderr's reader while it reads."""
    _outlets[_STDERR].drain(_LAST_PATIENCE if _state.has_lost_stdout else _PATIENCE)


# -- stdin ------------------------------------------------------------------------------------------------------------


class Stdin:
    """Reads stdin within a deadline.

    Args:
        timeout: Seconds that reading and what comes after it may take together; None is no limit, and 0 is none for
            reading.

    Attributes:
        spent: Seconds that reading took.
    """

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        self.spent = 0.0

    @property
    def left(self) -> float | None:
        """Seconds that are left for what comes after."""
        return None if self._timeout is None else max(0.0, self._timeout - self.spent)

    def read(self) -> str:
        """Return all of stdin; raises as `read_stdin` does."""
        began = time.monotonic()
        text = read_stdin(self._timeout or None)
        self.spent += time.monotonic() - began
        return text


def read_stdin(seconds: float | None = None) -> str:
    """Return all of stdin.

    Args:
        seconds: How long that may take; None is no limit.

    Raises:
        CommandError: It is not closed in time, or a signal came.
        MisuseError: It is no text.
    """
    if sys.stdin.isatty():
        say("reading task IDs from the terminal, one a line; Ctrl-D ends the list")
    try:
        return read_within(sys.stdin.fileno(), seconds).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise MisuseError("stdin is no text in UTF-8") from None


def read_within(number: int, seconds: float | None) -> bytes:
    """Return everything that a file descriptor gives until it is closed.

    Raises:
        CommandError: That takes longer than `seconds`, or a signal came.
        OSError: It cannot be read.
    """
    pieces: list[bytes] = []
    errors: list[OSError] = []
    is_read = threading.Event()

    def read() -> None:
        # Not through sys.stdin, whose lock the interpreter needs when it ends.
        try:
            while piece := os.read(number, 1 << 16):
                pieces.append(piece)
        except OSError as error:
            errors.append(error)
        is_read.set()

    try:
        threading.Thread(target=read, name=f"ecs-waiter-fd{number}", daemon=True).start()
    except RuntimeError:
        # No more threads: better without a deadline than not at all.
        read()
    try:
        with _sigterm_interrupts():
            if not _is_set_within(is_read, seconds):
                hurry()
                raise CommandError(f"timed out after {seconds:g} s: stdin was not closed", ExitCode.TIMED_OUT)
    except KeyboardInterrupt:
        hurry()
        raise CommandError("interrupted", ExitCode.INTERRUPTED) from None
    if errors:
        raise errors[0]
    return b"".join(pieces)


def _is_set_within(event: threading.Event, seconds: float | None) -> bool:
    ends = None if seconds is None else time.monotonic() + seconds
    left = _LOOK_AT_LEAST_EVERY if seconds is None else min(_LOOK_AT_LEAST_EVERY, seconds)
    # In steps, for on Windows Ctrl-C does not interrupt a step.
    while not event.wait(max(0.0, left)):
        left = _LOOK_AT_LEAST_EVERY if ends is None else min(_LOOK_AT_LEAST_EVERY, ends - time.monotonic())
        if left <= 0:
            return False
    return True


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Take SIGTERM for Ctrl-C within the block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, kept)
