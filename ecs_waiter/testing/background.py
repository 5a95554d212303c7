"""Runs an emulator in its own thread, for tests without an event loop."""

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
    """Run an emulator that listens on loopback within the `with` block."""
    started: Future[tuple[EcsEmulator, Callable[[], object]]] = Future()

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        async with EcsEmulator() as ecs:
            started.set_result((ecs, lambda: loop.call_soon_threadsafe(stop.set)))
            await stop.wait()

    ended: Future[None] = Future()

    def run() -> None:
        # Raise whatever ends this thread, KeyboardInterrupt and SystemExit included, in the caller.
        try:
            with asyncio.Runner() as runner:
                runner.run(main())
        except BaseException as error:  # noqa: BLE001
            (ended if started.done() else started).set_exception(error)
        else:
            ended.set_result(None)

    thread = threading.Thread(target=run, name="ecs-emulator", daemon=True)
    thread.start()
    ecs, stop = started.result()
    try:
        yield ecs
    finally:
        with contextlib.suppress(RuntimeError):  # the thread has ended by itself and closed its loop
            stop()
        thread.join()
        ended.result()
