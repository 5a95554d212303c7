"""Work in daemon threads: neither the end of an event loop nor the interpreter's waits for it.

The default executor of a loop is not used, because the program uses it too, and because `asyncio.run` waits for it.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["joined", "start_daemon"]

T = TypeVar("T")


def start_daemon(name: str, work: Callable[[], T]) -> Future[T]:
    """Run `work` in a daemon thread of its own and return its result as a future that cannot be canceled.

    Raises:
        RuntimeError: No thread can be started.
    """
    result: Future[T] = Future()
    # A running future cannot be canceled: one caller that gives up takes it from no other.
    result.set_running_or_notify_cancel()

    def run() -> None:
        try:
            value = work()
        except BaseException as error:  # noqa: BLE001 - nobody may wait for a result that never comes
            result.set_exception(error)
        else:
            result.set_result(value)

    threading.Thread(target=run, name=f"ecs_waiter-{name}", daemon=True).start()
    return result


class _Joining(Executor):
    """Lets a loop await a future as a job of its own in a thread, for which virtual time stands still."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Return the future that `fn` returns."""
        future: Future[Any] = fn(*args, **kwargs)
        return future


_JOINING = _Joining()


def joined(future: Future[T]) -> asyncio.Future[T]:
    """Return what the running loop awaits to get the result of a thread's future."""
    awaited = asyncio.get_running_loop().run_in_executor(_JOINING, lambda: future)
    return cast("asyncio.Future[T]", awaited)
