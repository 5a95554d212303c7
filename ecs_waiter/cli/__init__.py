"""The command ``ecs-waiter``."""

from __future__ import annotations

import sys

__all__ = ["main"]

_INSTALL = "ecs-waiter: the command needs the extra `cli`: pip install 'ecs-waiter[cli]'\n"
_REQUIRED = frozenset({"click", "rich"})
_MISUSE = 2
_INTERRUPTED = 130


def main() -> int:
    """Run the command with the arguments of the process; returns the exit code."""
    try:
        try:
            from ecs_waiter.cli.app import run  # noqa: PLC0415 - fails without the extra
        except ModuleNotFoundError as error:
            if error.name not in _REQUIRED:
                raise
            sys.stderr.write(_INSTALL)
            return _MISUSE
        return run(sys.argv[1:])
    except KeyboardInterrupt:
        return _INTERRUPTED
