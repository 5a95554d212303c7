"""Exit codes, and the two ways in which the command itself gives up."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["CommandError", "ExitCode", "MisuseError"]


class ExitCode(IntEnum):
    """What a script is told."""

    FINISHED = 0
    FAILED = 1
    MISUSE = 2
    ERROR = 3
    TIMED_OUT = 124
    INTERRUPTED = 130
    CLOSED_PIPE = 141


class CommandError(Exception):
    """Ends the command with one line on stderr.

    Attributes:
        exit_code: What the process ends with.
    """

    def __init__(self, message: str, exit_code: ExitCode = ExitCode.ERROR) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class MisuseError(CommandError):
    """The command line, or what it names, makes no sense; the message says what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(message, ExitCode.MISUSE)
