"""The standard streams: always usable, and a reader that is slow or gone never blocks the program."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import select
import sys
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO, cast

from ecs_waiter.cli.exit_codes import CommandError
from ecs_waiter.cli.outlet import Outlet
from ecs_waiter.escaping import escape_control

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import BinaryIO

__all__ = [
    "ClosedPipeError",
    "UnreadError",
    "UnwritableError",
    "check_stdout",
    "discard_results",
    "end_soon",
    "finish_messages",
    "finish_results",
    "has_stderr_backlog",
    "is_interactive",
    "is_stderr_behind",
    "messages_to",
    "open_streams",
    "results_written",
    "say",
    "say_progress",
    "show_logs",
    "write_result",
]

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_PATIENCE = 1.5
"""Seconds without progress of a reader after which the program, once it has to end, ends without it."""
_LONGEST = 1.7
"""Seconds after a signal or the deadline for which the program waits for a slow reader."""
_FAST = 1_000_000
"""Bytes per second from which on a reader is not slow: the program is the one that is still writing."""
_LAST_PATIENCE = 0.3
"""The same as `_PATIENCE` for stderr, if stdout's reader has already used that up."""
_MOST_PROGRESS = 1 << 20
"""Bytes waiting for stderr's reader above which progress is dropped."""
_CHECK_EVERY = 0.001
_CHECK_AT_LEAST_EVERY = 0.1
# The command reports outages itself, with advice.
_REPORTED_BY_COMMAND = ("%s is not responding", "%s is responding again", "no credentials for")

_writers: list[Callable[[str], None]] = []
_outlets: dict[int, Outlet] = {}


@dataclass
class _State:
    """The state of the open streams.

    Attributes:
        ending_since: When a signal came or the deadline passed; None before.
        taken_before: Bytes that stdout's reader had taken then.
        dropped: Lines of progress that were dropped and not reported yet.
        is_stdout_lost: Whether results are discarded, because they cannot be written.
    """

    ending_since: float | None = None
    taken_before: int = 0
    dropped: int = 0
    is_stdout_lost: bool = False


_state = _State()


class ClosedPipeError(Exception):
    """Nobody reads the results anymore."""


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
    """Make every standard stream usable until the block ends, even if the shell closed it.

    In the block stdout and stderr accept everything immediately; `finish_results` and `finish_messages` wait for their
    readers.
    """
    replaced = sys.stdout, sys.stderr
    for number in (_STDIN, _STDOUT, _STDERR):
        try:
            os.fstat(number)
        except OSError:
            # A free number would go to the next socket, which messages would then be written to.
            os.open(os.devnull, os.O_RDWR)
    if sys.stdin is None:
        sys.stdin = os.fdopen(os.dup(_STDIN), encoding="utf-8")
    _state.ending_since, _state.dropped, _state.is_stdout_lost = None, 0, False
    stdout = _outlets[_STDOUT] = Outlet(_STDOUT)
    _outlets[_STDERR] = Outlet(_STDERR, stdout)
    sys.stdout, sys.stderr = _text(_STDOUT, sys.stdout), _text(_STDERR, sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = replaced
        _outlets.clear()


def _text(number: int, replaced: TextIO | None) -> TextIO:
    if replaced is not None and sys.platform == "win32" and replaced.isatty():
        # A console takes text, not bytes.
        return replaced
    return io.TextIOWrapper(
        cast("BinaryIO", _outlets[number]),
        encoding=(replaced and replaced.encoding) or "utf-8",
        errors="backslashreplace",
        write_through=True,
    )


def is_interactive(stream: TextIO, environment: Mapping[str, str] | None = None) -> bool:
    """Whether a stream is a terminal with control codes."""
    term = (os.environ if environment is None else environment).get("TERM", "")
    return stream.isatty() and term not in {"", "dumb", "unknown"}


# -- messages ---------------------------------------------------------------------------------------------------------


def say(message: str) -> None:
    """Write a line to stderr; a failure to write it is ignored."""
    if _writers:
        _writers[-1](message)
        return
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{message}\n")
        sys.stderr.flush()


def say_progress(message: str) -> None:
    """Write a line of progress to stderr, or drop it while stderr's reader is far behind."""
    if is_stderr_behind():
        _state.dropped += 1
        return
    if _state.dropped:
        say(f"({_state.dropped} lines dropped: stderr was not being read)")
        _state.dropped = 0
    say(message)


def is_stderr_behind() -> bool:
    """Whether stderr's reader is so far behind that progress is dropped."""
    return _STDERR in _outlets and _outlets[_STDERR].backlog > _MOST_PROGRESS


def has_stderr_backlog() -> bool:
    """Whether stderr's reader has not taken everything yet."""
    return _STDERR in _outlets and _outlets[_STDERR].backlog > 0


@contextlib.contextmanager
def messages_to(writer: Callable[[str], None]) -> Iterator[None]:
    """Send messages to `writer`, which controls the terminal, until the block ends."""
    _writers.append(writer)
    try:
        yield
    finally:
        _writers.remove(writer)


def show_logs(*, is_verbose: bool, is_debugging: bool) -> None:
    """Show the library's warnings on stderr; with `is_verbose` each call, with `is_debugging` tracebacks too."""
    handler = _StderrHandler(is_debugging=is_debugging)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    if is_verbose or is_debugging:
        logging.getLogger("ecs_waiter").setLevel(logging.DEBUG)
    else:
        handler.addFilter(lambda record: not str(record.msg).startswith(_REPORTED_BY_COMMAND))


class _StderrHandler(logging.Handler):
    def __init__(self, *, is_debugging: bool) -> None:
        super().__init__()
        self._is_debugging = is_debugging

    def emit(self, record: logging.LogRecord) -> None:
        say_progress(f"{record.levelname.lower()}: {escape_control(record.getMessage())}")
        if self._is_debugging and record.exc_info:
            say_progress("".join(traceback.format_exception(*record.exc_info)).rstrip())


# -- results ----------------------------------------------------------------------------------------------------------


def write_result(text: str) -> None:
    """Write to stdout.

    Raises:
        ClosedPipeError: Its reader is gone.
        UnwritableError: It cannot be written for another reason, as on a full disk.
    """
    _raise_error()
    if not _state.is_stdout_lost:
        sys.stdout.write(text)
        sys.stdout.flush()


async def results_written(most_left: int = 0) -> None:
    """Wait until stdout's reader has taken the results, but for `most_left` bytes.

    Raises:
        ClosedPipeError: It is gone.
        UnwritableError: The results cannot be written.
        UnreadError: The program has to end, and the reader does not read.
    """
    import asyncio  # noqa: PLC0415 - slow to import, and --help does not need it

    pause = _CHECK_EVERY
    while _STDOUT in _outlets and not _state.is_stdout_lost and _outlets[_STDOUT].backlog > most_left:
        _check_reader()
        await asyncio.sleep(pause)
        pause = min(2 * pause, _CHECK_AT_LEAST_EVERY)
    _raise_error()


def check_stdout() -> None:
    """Check that results can be written; a closed pipe is noticed even if nothing was written since.

    Raises:
        ClosedPipeError: The reader is gone.
        UnwritableError: The results cannot be written.
    """
    _raise_error()
    if hasattr(select, "poll"):
        poller = select.poll()
        poller.register(sys.stdout.fileno(), 0)
        if any(events & (select.POLLERR | select.POLLNVAL) for _, events in poller.poll(0)):
            raise ClosedPipeError


def _raise_error() -> None:
    error = _outlets[_STDOUT].error if _STDOUT in _outlets else None
    if error is None or _state.is_stdout_lost:
        return
    raise ClosedPipeError if isinstance(error, BrokenPipeError) else UnwritableError(error)


def _check_reader() -> None:
    """Raise `UnreadError` if the program has to end and stdout's reader has stalled or is too slow."""
    stdout = _outlets[_STDOUT]
    if _state.ending_since is None or not stdout.backlog:
        return
    elapsed = time.monotonic() - _state.ending_since
    is_slow = elapsed >= _LONGEST and stdout.taken - _state.taken_before < _FAST * elapsed
    if is_slow or stdout.stalled_for(_state.ending_since) >= _PATIENCE:
        raise UnreadError(stdout.backlog)


def discard_results() -> None:
    """Discard all further results and what is not written yet, after an error of stdout was handled."""
    _state.is_stdout_lost = True


# -- the end ----------------------------------------------------------------------------------------------------------


def end_soon() -> None:
    """From now on, don't wait for a reader that does not read: a signal or the deadline ends the program."""
    if _state.ending_since is None:
        _state.ending_since = time.monotonic()
        _state.taken_before = _outlets[_STDOUT].taken if _STDOUT in _outlets else 0


def finish_results(code: int) -> int:
    """Wait for stdout's reader: without a limit, or after `end_soon` as long as it reads; returns the exit code.

    It raises as `results_written` does.
    """
    while not _state.is_stdout_lost and not _outlets[_STDOUT].drain(_CHECK_EVERY):
        _check_reader()
    _raise_error()
    return code


def finish_messages() -> None:
    """Wait for stderr's reader as long as it reads, or after `end_soon` briefly."""
    if _state.ending_since is None:
        _outlets[_STDERR].drain(_LAST_PATIENCE if _state.is_stdout_lost else _PATIENCE)
        return
    left = _LONGEST - (time.monotonic() - _state.ending_since)
    _outlets[_STDERR].drain(_PATIENCE, within=max(left, _LAST_PATIENCE))
