"""Ctrl-C and SIGTERM, taken as a wish to stop and not as an error."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING

from ecs_waiter.cli.streams import hurry

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from typing import Any, TypeVar

    T = TypeVar("T")

__all__ = ["InterruptedByUserError", "Stop"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class InterruptedByUserError(Exception):
    """The user wants to stop."""


class Stop:
    """Set when the user wants to stop, or nobody reads the results any more."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.is_pipe_closed = False

    def __bool__(self) -> bool:
        return self._event.is_set()

    def set(self) -> None:
        """Stop what is under way."""
        hurry()
        self._event.set()

    def close_pipe(self) -> None:
        """Nobody reads the results any more."""
        self.is_pipe_closed = True
        self.set()

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Listen to signals; a second one ends the process as if nobody listened."""
        loop = asyncio.get_running_loop()

        def stop() -> None:
            self.set()
            forget()

        def forget() -> None:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

        try:
            for number in _SIGNALS:
                loop.add_signal_handler(number, stop)
        except NotImplementedError:
            # Windows: the interpreter's own KeyboardInterrupt has to do.
            yield
            return
        try:
            yield
        finally:
            forget()

    async def stops(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` returns.

        Raises:
            InterruptedByUserError: It was stopped before its end.
        """
        task = asyncio.create_task(work)
        wish = asyncio.create_task(self._event.wait())
        try:
            await asyncio.wait({task, wish}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
                if task.cancelled():
                    raise InterruptedByUserError
            return task.result()
        finally:
            wish.cancel()
            task.cancel()
