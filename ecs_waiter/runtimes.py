"""Checks of the library that runs the calling thread: asyncio, which is required, or trio, gevent or eventlet.

The others are not imported here: one that is not loaded does not run.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["check_may_block", "finished", "running_loop"]

# For each library that patches modules: its name, the module and function that know what is patched, the modules that a
# background loop needs unpatched, and how to run a function in a native thread.
_PATCHING = (
    ("gevent", "gevent.monkey", "is_module_patched", ("threading", "queue", "select", "socket"),
     "gevent.get_hub().threadpool.apply(function)"),
    ("eventlet", "eventlet.patcher", "is_monkey_patched", ("thread", "select", "socket"),
     "eventlet.tpool.execute(function)"),
)  # fmt: skip


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the running event loop.

    Raises:
        RuntimeError: asyncio does not run here. The message names the library that runs instead.
    """
    other = _other_library()
    if other is not None:
        raise RuntimeError(
            f"ecs_waiter needs asyncio, but this task runs under {other}: use `ecs_waiter.blocking` in a thread"
            f"{_in_a_thread(other)}, or start the program with asyncio"
        )
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "no asyncio event loop is running: call this from a coroutine, or use `ecs_waiter.blocking`"
        ) from None


def check_may_block() -> None:
    """Check that the calling thread may block until a background thread is done.

    Raises:
        RuntimeError: An event loop runs in this thread, or threads are monkey-patched. The message says what to do.
    """
    for name, module, is_patched, needed, in_a_thread in _PATCHING:
        loaded: Any = sys.modules.get(module)
        if loaded is not None and any(map(getattr(loaded, is_patched), needed)):
            raise RuntimeError(
                f"ecs_waiter.blocking needs threads, sockets and select as they are, but {name} has monkey-patched "
                "them: call `asyncio.run(ecs_waiter.wait_for_tasks(...))` in a function that a native thread runs "
                f"(`{in_a_thread}`), or wait in another process (`ecs-waiter wait`)"
            )
    other = _other_library()
    if other is not None:
        raise RuntimeError(
            f"{other} runs in this thread, and waiting would block it: use `ecs_waiter.blocking` in another thread"
            f"{_in_a_thread(other)}"
        )
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(
        "an event loop runs in this thread: write `await ecs_waiter.wait_for_tasks(...)` instead of blocking it"
    )


async def finished(task: asyncio.Task[Any]) -> asyncio.CancelledError | None:
    """Wait until a task is done, even if the caller is canceled; return its last cancellation, if any."""
    canceled: asyncio.CancelledError | None = None
    with _shielded():
        while not task.done():
            try:
                await asyncio.wait((task,))
            except asyncio.CancelledError as error:
                canceled = error
    return canceled


def _shielded() -> AbstractContextManager[object]:
    """Delay the cancellation of anyio's scopes, which repeat it in each iteration of the loop, until the block ends."""
    # Without its backend for asyncio, anyio has no scope here.
    anyio: Any = sys.modules.get("anyio") if "anyio._backends._asyncio" in sys.modules else None
    return nullcontext() if anyio is None else anyio.CancelScope(shield=True)


def _other_library() -> str | None:
    """Return the async library that runs the current task, if it is not asyncio."""
    sniffio: Any = sys.modules.get("sniffio")
    if sniffio is None:
        return None
    try:
        library: str = sniffio.current_async_library()
    except sniffio.AsyncLibraryNotFoundError:
        return None
    return None if library == "asyncio" else library


def _in_a_thread(library: str) -> str:
    return " (`await trio.to_thread.run_sync(ecs_waiter.blocking.wait_for_tasks, ids)`)" if library == "trio" else ""
