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
    "UnwritableError",
    "finish",
    "finish_messages",
    "has_backlog",
    "hurry",
    "is_behind",
    "is_interactive",
    "is_reader_gone",
    "lose_results",
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

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_PATIENCE = 1.5
"""Seconds for which a reader may take nothing before the program ends without it."""
_LONGEST = 1.7
"""Seconds after a signal or the deadline for which the program waits for a slow reader."""
_BUSY = 1_000_000
"""Bytes a second from which on a reader is not slow: the program is still writing, not waiting."""
_LAST_PATIENCE = 0.3
"""The same for the last word on stderr, after stdout's reader has used up the other."""
_MOST_PROGRESS = 1 << 20
"""Bytes that wait for stderr's reader before progress is dropped."""
_MOST_RESULTS = 1 << 20
"""Bytes that wait for stdout's reader before more results are made."""
_LOOK_EVERY = 0.001
_LOOK_AT_LEAST_EVERY = 0.1

_speakers: list[Callable[[str], None]] = []
_outlets: dict[int, Outlet] = {}


@dataclass
class _State:
    """What is known of the streams that are open.

    Attributes:
        hurried_at: Since when the program is to end; None if it is not.
        taken_before: Bytes that stdout's reader had taken then.
        dropped: Lines of progress that were dropped and not reported yet.
        is_stdout_lost: Whether it is dealt with that stdout takes no more.
    """

    hurried_at: float | None = None
    taken_before: int = 0
    dropped: int = 0
    is_stdout_lost: bool = False


_state = _State()


class ClosedPipeError(Exception):
    """Nobody reads the results any more."""


class UnwritableError(CommandError):
    """The results cannot be written, as on a full disk."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"cannot write to stdout: {error.strerror}")


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
    for number in (_STDIN, _STDOUT, _STDERR):
        try:
            os.fstat(number)
        except OSError:
            # Else the next socket would become the standard stream.
            os.open(os.devnull, os.O_RDWR)
    if sys.stdin is None:
        sys.stdin = os.fdopen(os.dup(_STDIN), encoding="utf-8")
    _state.hurried_at, _state.dropped, _state.is_stdout_lost = None, 0, False
    stdout = _outlets[_STDOUT] = Outlet(_STDOUT)
    _outlets[_STDERR] = Outlet(_STDERR, stdout)
    sys.stdout, sys.stderr = _text(_STDOUT, sys.stdout), _text(_STDERR, sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = kept
        _outlets.clear()


def _text(number: int, replaced: TextIO | None) -> TextIO:
    if replaced is not None and sys.platform == "win32" and replaced.isatty():
        # A console takes text, not bytes.
        return replaced
    # A character that the terminal's encoding lacks is shown as its number.
    return io.TextIOWrapper(
        cast("BinaryIO", _outlets[number]),
        encoding=(replaced and replaced.encoding) or "utf-8",
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
        UnwritableError: It cannot be written for another reason, as on a full disk.
    """
    _check_stdout()
    if not _state.is_stdout_lost:
        sys.stdout.write(text)
        sys.stdout.flush()


async def results_room() -> None:
    """Wait until stdout's reader has taken most of what was written.

    Raises:
        ClosedPipeError: It is gone.
        UnwritableError: The results cannot be written.
        UnreadError: The program has to end, and the reader does not read.
    """
    await _until_backlog(_MOST_RESULTS)


async def results_written() -> None:
    """Wait until stdout's reader has taken everything; raises as `results_room` does."""
    await _until_backlog(0)


async def _until_backlog(most: int) -> None:
    import asyncio  # noqa: PLC0415 - not for help

    pause = _LOOK_EVERY
    while _STDOUT in _outlets and not _state.is_stdout_lost and _outlets[_STDOUT].backlog > most:
        _give_up_unread()
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LOOK_AT_LEAST_EVERY)
    _check_stdout()


def _check_stdout() -> None:
    error = _outlets[_STDOUT].error if _STDOUT in _outlets else None
    if error is None or _state.is_stdout_lost:
        return
    if isinstance(error, BrokenPipeError):
        raise ClosedPipeError
    raise UnwritableError(error)


def _give_up_unread() -> None:
    stdout = _outlets[_STDOUT]
    if _state.hurried_at is None or not stdout.backlog:
        return
    elapsed = time.monotonic() - _state.hurried_at
    is_slow = elapsed >= _LONGEST and stdout.taken - _state.taken_before < _BUSY * elapsed
    if is_slow or stdout.stalled_for(_state.hurried_at) >= _PATIENCE:
        raise UnreadError(stdout.backlog)


def lose_results() -> None:
    """Write no more results, and wait for nobody to read them: that is dealt with."""
    _state.is_stdout_lost = True


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
        _state.taken_before = _outlets[_STDOUT].taken if _STDOUT in _outlets else 0


def finish(code: int) -> int:
    """Wait for stdout's reader: as long as it takes, or, once the program has to end, while it reads.

    Returns:
        The exit code, as it came.

    Raises:
        ClosedPipeError: It is gone.
        UnwritableError: The results cannot be written.
        UnreadError: The program has to end, and the reader does not read.
    """
    while not _state.is_stdout_lost and not _outlets[_STDOUT].drain(_LOOK_EVERY):
        _give_up_unread()
    _check_stdout()
    return code


def finish_messages() -> None:
    """Wait for stderr's reader: while it reads, or, once the program has to end, for a moment."""
    if _state.hurried_at is None:
        _outlets[_STDERR].drain(_LAST_PATIENCE if _state.is_stdout_lost else _PATIENCE)
        return
    left = _LONGEST - (time.monotonic() - _state.hurried_at)
    _outlets[_STDERR].drain(_PATIENCE, within=max(left, _LAST_PATIENCE))


# -- stdin ------------------------------------------------------------------------------------------------------------


class Stdin:
    """Reads stdin within a deadline.

    Args:
        timeout: Seconds that reading and what comes after it may take together; None means no limit, and 0 none for
            reading.
    """

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._began: float | None = None

    def read(self) -> str:
        """Return all of stdin; raises as `read_stdin` does."""
        self._began = time.monotonic()
        return read_stdin(self._timeout or None)

    def left(self) -> float | None:
        """Return the seconds that are left, now that what was read has been made use of."""
        if self._timeout is None or self._began is None:
            return self._timeout
        return max(0.0, self._timeout - (time.monotonic() - self._began))


def read_stdin(seconds: float | None = None) -> str:
    """Return all of stdin.

    Args:
        seconds: How long that may take; None means no limit.

    Raises:
        CommandError: It cannot be read, or is not closed in time.
        KeyboardInterrupt: SIGINT or SIGTERM came.
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
        CommandError: It cannot be read, or that takes longer than `seconds`.
        KeyboardInterrupt: SIGINT or SIGTERM came.
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

    with _sigterm_interrupts():
        try:
            threading.Thread(target=read, name=f"ecs-waiter-fd{number}", daemon=True).start()
        except RuntimeError:
            # No more threads: better without a deadline than not at all.
            read()
        if not _is_set_within(is_read, seconds):
            raise CommandError(f"timed out after {seconds:g} s: stdin was not closed", ExitCode.TIMED_OUT)
    if errors:
        raise CommandError(f"cannot read stdin: {errors[0].strerror}")
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
