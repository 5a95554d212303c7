"""The library's log on stderr, as the command's other messages are: without tracebacks unless they are asked for."""

from __future__ import annotations

import logging
import traceback

from ecs_waiter.cli.streams import mention
from ecs_waiter.printable import printable

__all__ = ["show_logs"]

# The command watches for outages itself, and says what to do about them.
_TOLD_ALREADY = ("%s is not responding", "%s is responding again", "no credentials for")


def show_logs(*, is_verbose: bool, is_debugging: bool) -> None:
    """Show warnings; each call too if verbose; all of it, with tracebacks, to debug."""
    handler = _SayHandler(is_debugging=is_debugging)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    if is_verbose or is_debugging:
        logging.getLogger("ecs_waiter").setLevel(logging.DEBUG)
    else:
        handler.addFilter(lambda record: not str(record.msg).startswith(_TOLD_ALREADY))


class _SayHandler(logging.Handler):
    def __init__(self, *, is_debugging: bool) -> None:
        super().__init__()
        self._is_debugging = is_debugging

    def emit(self, record: logging.LogRecord) -> None:
        mention(f"{record.levelname.lower()}: {printable(record.getMessage())}")
        if self._is_debugging and record.exc_info:
            mention("".join(traceback.format_exception(*record.exc_info)).rstrip())
