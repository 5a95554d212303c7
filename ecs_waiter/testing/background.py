"""Runs an emulator in a thread of its own, so that a test without an event loop can use it too."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

from ecs_waiter.emulator import EcsEmulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["serve"]


@contextlib.contextmanager
def serve() -> Iterator[EcsEmulator]:
    """Let an emulator listen on loopback within the `with` block."""
    started: Future[tuple[EcsEmulator, Callable[[], object]]] = Future()

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        async with EcsEmulator() as ecs:
            started.set_result((ecs, lambda: loop.call_soon_threadsafe(stop.set)))
            await stop.wait()

    def run() -> None:
        try:
            asyncio.run(main())
        except OSError as error:
            started.set_exception(error)

    thread = threading.Thread(target=run, name="ecs-emulator", daemon=True)
    thread.start()
    ecs, stop = started.result()
    try:
        yield ecs
    finally:
        stop()
        thread.join()
