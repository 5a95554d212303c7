"""Exit codes, and the errors that end the command with one line on stderr."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["CommandError", "ExitCode", "MisuseError"]


class ExitCode(IntEnum):
    """The exit codes of the process."""

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
        exit_code: The exit code of the process.
    """

    def __init__(self, message: str, exit_code: ExitCode = ExitCode.ERROR) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class MisuseError(CommandError):
    """The command line, or something it names, is invalid; the message says what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(message, ExitCode.MISUSE)
