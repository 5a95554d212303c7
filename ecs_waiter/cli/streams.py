"""The standard streams: present, never a source of errors, and gone without a word when their reader is."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from typing import TYPE_CHECKING, TextIO

from ecs_waiter.cli.failure import CommandError, MisuseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = [
    "ClosedPipeError",
    "is_interactive",
    "is_reader_gone",
    "prepare",
    "read_stdin",
    "say",
    "spoken_by",
    "write_result",
]

_speakers: list[Callable[[str], None]] = []
_STREAMS = ("stdin", "stdout", "stderr")


class ClosedPipeError(Exception):
    """Nobody reads the results any more."""


def prepare() -> None:
    """Make every standard stream usable, in whatever state and encoding the shell left it."""
    for number, name in enumerate(_STREAMS):
        try:
            os.fstat(number)
        except OSError:
            # Else the next socket would become the standard stream.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, os.fdopen(os.dup(number), mode, encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal's encoding lacks is shown as its number.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def is_interactive(stream: TextIO, environment: Mapping[str, str] | None = None) -> bool:
    """Whether a stream is a terminal that can do more than print."""
    term = (os.environ if environment is None else environment).get("TERM", "")
    return stream.isatty() and term not in {"", "dumb", "unknown"}


def say(message: str) -> None:
    """Write a line to stderr; that nobody can read it is no reason to stop."""
    if _speakers:
        _speakers[-1](message)
        return
    with contextlib.suppress(OSError):
        _write(sys.stderr, f"{message}\n")


@contextlib.contextmanager
def spoken_by(speaker: Callable[[str], None]) -> Iterator[None]:
    """Let something else, which has stderr for itself, write what is said within the block."""
    _speakers.append(speaker)
    try:
        yield
    finally:
        _speakers.remove(speaker)


def write_result(text: str) -> None:
    """Write to stdout.

    Raises:
        ClosedPipeError: Its reader is gone.
        CommandError: It cannot be written for another reason, as on a full disk.
    """
    try:
        _write(sys.stdout, text)
    except BrokenPipeError:
        raise ClosedPipeError from None
    except OSError as error:
        raise CommandError(f"the results cannot be written: {error.strerror}") from None


def is_reader_gone() -> bool:
    """Whether stdout is a pipe that nobody reads any more; where that cannot be told, it is not."""
    if not hasattr(select, "poll"):
        return False
    poller = select.poll()
    poller.register(sys.stdout.fileno(), 0)
    return any(events & (select.POLLERR | select.POLLNVAL) for _, events in poller.poll(0))


def read_stdin() -> str:
    """Return all of stdin.

    Raises:
        MisuseError: It is no text.
    """
    if sys.stdin.isatty():
        say("reading task IDs from the terminal, one a line; Ctrl-D ends the list")
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise MisuseError("stdin is no text in UTF-8") from None


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except OSError:
        # What is left in the buffer would be written, and fail, once more when the interpreter ends.
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, stream.fileno())
        os.close(silent)
        raise
