"""Work that a signal stops, and work in the background of other work."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING

from ecs_waiter.cli.streams import end_soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator
    from typing import Any, TypeVar

    T = TypeVar("T")

__all__ = ["Stop", "StoppedError", "in_background"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StoppedError(Exception):
    """The work was stopped before it ended."""


class Stop:
    """Set when the user interrupts the command, or its results cannot be written anymore.

    Attributes:
        is_stdout_lost: Whether the results cannot be written.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.is_stdout_lost = False

    def __bool__(self) -> bool:
        return self._event.is_set()

    async def wait(self) -> None:
        """Wait until it is set."""
        await self._event.wait()

    def set(self) -> None:
        """Stop the work in progress."""
        end_soon()
        self._event.set()

    def lose_stdout(self) -> None:
        """Stop because the results cannot be written."""
        self.is_stdout_lost = True
        self.set()

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Set it at the first signal; a second one ends the process as usual."""
        loop = asyncio.get_running_loop()

        def restore() -> None:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

        def stop() -> None:
            self.set()
            restore()

        try:
            for number in _SIGNALS:
                loop.add_signal_handler(number, stop)
        except NotImplementedError:
            # Windows has no signal handlers on loops; the interpreter's own KeyboardInterrupt ends the command.
            yield
            return
        try:
            yield
        finally:
            restore()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` returns.

        Raises:
            StoppedError: It was stopped before it ended.
        """
        task = asyncio.create_task(work)
        stopped = asyncio.create_task(self.wait())
        try:
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
                if task.cancelled():
                    raise StoppedError
            return task.result()
        finally:
            stopped.cancel()
            task.cancel()


@contextlib.asynccontextmanager
async def in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do some work until the block ends; its errors are raised there."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()
