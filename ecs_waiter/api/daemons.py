"""Blocking calls in daemon threads, so that neither the end of an event loop nor of the interpreter waits for them.

The default executor of the loop is not used, because the program uses it too, and because `asyncio.run` waits for it.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = ["DaemonCalls"]

T = TypeVar("T")


class DaemonCalls(Generic[T]):
    """Makes blocking calls, each in a thread of its own. Callers on any event loop with equal keys share one call."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.reset()

    def reset(self) -> None:
        """Forget all calls, as a forked child has to: its parent's threads do not exist there."""
        self._lock = threading.Lock()
        self._running: dict[Hashable, Future[T]] = {}

    def join(self, key: Hashable, call: Callable[[], T]) -> asyncio.Future[T]:
        """Return the result of the call that runs for this key, or start it; canceling it does not stop the call.

        Raises:
            RuntimeError, MemoryError: No thread can be started.
        """
        with self._lock:
            result = self._running.get(key)
            if result is None:
                result = Future()
                result.set_running_or_notify_cancel()  # a running future ignores its cancellation
                name = f"ecs_waiter-{self._name}"
                threading.Thread(target=self._run, args=(key, call, result), name=name, daemon=True).start()
                self._running[key] = result
        # Not `asyncio.wrap_future`, because virtual time stands still only for what runs in an executor.
        awaited = asyncio.get_running_loop().run_in_executor(_AS_EXECUTOR, lambda: result)
        return cast("asyncio.Future[T]", awaited)

    def _run(self, key: Hashable, call: Callable[[], T], result: Future[T]) -> None:
        try:
            value = call()
        except BaseException as error:  # noqa: BLE001 - otherwise the callers would wait forever
            self._forget(key)
            result.set_exception(error)
        else:
            self._forget(key)
            result.set_result(value)

    def _forget(self, key: Hashable) -> None:
        with self._lock:
            del self._running[key]


class _AsExecutor(Executor):
    """Submits by calling: what is called returns the future itself."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = fn(*args, **kwargs)
        return future


_AS_EXECUTOR = _AsExecutor()
