"""The same face for callers without an event loop: all threads share one background loop, and so share polls."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from ecs_waiter import waiter
from ecs_waiter.arguments import checked_callback
from ecs_waiter.forking import in_forked_child
from ecs_waiter.ids import listed
from ecs_waiter.printable import printable
from ecs_waiter.runtimes import check_may_block

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from ecs_waiter.api.credentials import CredentialsProvider
    from ecs_waiter.arguments import OnUpdate
    from ecs_waiter.errors import EcsWaiterError
    from ecs_waiter.ids import TaskIds
    from ecs_waiter.models import Task
    from ecs_waiter.polling.policy import PollPolicy

__all__ = ["wait_for_task", "wait_for_tasks"]

T = TypeVar("T")

_ENDED = object()


@overload
def wait_for_tasks(
    task_ids: TaskIds,
    *,
    region_id: str | None = None,
    timeout: float | None = None,
    return_exceptions: Literal[False] = False,
    on_update: OnUpdate | None = None,
    fail_fast: bool = False,
    credentials: CredentialsProvider | None = None,
    endpoint: str | None = None,
    policy: PollPolicy | None = None,
    trust_env: bool = False,
) -> dict[str, Task]: ...


@overload
def wait_for_tasks(
    task_ids: TaskIds,
    *,
    region_id: str | None = None,
    timeout: float | None = None,
    return_exceptions: bool,
    on_update: OnUpdate | None = None,
    fail_fast: bool = False,
    credentials: CredentialsProvider | None = None,
    endpoint: str | None = None,
    policy: PollPolicy | None = None,
    trust_env: bool = False,
) -> dict[str, Task | EcsWaiterError]: ...


def wait_for_tasks(  # noqa: PLR0913 - the public API
    task_ids: TaskIds,
    *,
    region_id: str | None = None,
    timeout: float | None = None,
    return_exceptions: bool = False,
    on_update: OnUpdate | None = None,
    fail_fast: bool = False,
    credentials: CredentialsProvider | None = None,
    endpoint: str | None = None,
    policy: PollPolicy | None = None,
    trust_env: bool = False,
) -> dict[str, Task] | dict[str, Task | EcsWaiterError]:
    """Wait until all tasks have ended, and return ID -> Task in the order asked.

    Arguments and errors are those of `ecs_waiter.wait_for_tasks`; `on_update` is called in the calling thread.

    Raises:
        RuntimeError: An event loop (of asyncio or trio) runs in this thread, which must not be blocked, or gevent or
            eventlet has monkey-patched threads, or the background thread cannot be started (the next call tries
            again).
    """
    check_may_block()
    # Read here: the caller's iterable may belong to this thread, and may be slow.
    ids = listed(task_ids)
    return _run(
        lambda told: waiter.wait_for_tasks(
            ids,
            region_id=region_id,
            timeout=timeout,
            return_exceptions=return_exceptions,
            on_update=told,
            fail_fast=fail_fast,
            credentials=credentials,
            endpoint=endpoint,
            policy=policy,
            trust_env=trust_env,
        ),
        on_update,
    )


def wait_for_task(  # noqa: PLR0913 - the public API
    task_id: str,
    *,
    region_id: str | None = None,
    timeout: float | None = None,
    on_update: OnUpdate | None = None,
    fail_fast: bool = False,
    credentials: CredentialsProvider | None = None,
    endpoint: str | None = None,
    policy: PollPolicy | None = None,
    trust_env: bool = False,
) -> Task:
    """Wait until one task has ended, and return it.

    Arguments and errors are those of `ecs_waiter.wait_for_task`; `on_update` is called in the calling thread.

    Raises:
        RuntimeError: An event loop (of asyncio or trio) runs in this thread, which must not be blocked, or gevent or
            eventlet has monkey-patched threads, or the background thread cannot be started (the next call tries
            again).
    """
    check_may_block()
    return _run(
        lambda told: waiter.wait_for_task(
            task_id,
            region_id=region_id,
            timeout=timeout,
            on_update=told,
            fail_fast=fail_fast,
            credentials=credentials,
            endpoint=endpoint,
            policy=policy,
            trust_env=trust_env,
        ),
        on_update,
    )


class _Background:
    """One event loop in a daemon thread, made at the first wait, and again in a forked process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        in_forked_child(self._forget)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._loop = None

    def loop(self) -> asyncio.AbstractEventLoop:
        """Return the running loop.

        Raises:
            RuntimeError: It cannot be started now. The next call tries again.
        """
        with self._lock:
            if self._loop is None:
                self._loop = _started_loop()
            return self._loop


def _started_loop() -> asyncio.AbstractEventLoop:
    loop: asyncio.AbstractEventLoop | None = None
    try:
        loop = asyncio.new_event_loop()
        threading.Thread(target=_run_for_ever, args=(loop,), name="ecs_waiter", daemon=True).start()
    except (RuntimeError, MemoryError, OSError) as error:
        # No thread can be started, memory or file descriptors are used up, or the interpreter is shutting down.
        if loop is not None:
            loop.close()
        reason = printable(str(error)) or type(error).__name__
        raise RuntimeError(
            f"ecs_waiter.blocking cannot start its background thread ({reason}), "
            "so nothing was waited for: free some threads, memory or file descriptors and call again; while the "
            "interpreter shuts down (atexit), no thread can be started any more: wait before the main thread ends"
        ) from error
    return loop


def _run_for_ever(loop: asyncio.AbstractEventLoop) -> None:
    while not loop.is_closed():
        # A SystemExit in one wait leaves the loop as well as the wait: it is that caller's, and all others go on.
        with contextlib.suppress(BaseException):
            loop.run_forever()


_background = _Background()


def _run(work: Callable[[OnUpdate | None], Coroutine[Any, Any, T]], on_update: OnUpdate | None) -> T:
    notify = checked_callback(on_update)
    events: SimpleQueue[Any] = SimpleQueue()
    told = events.put if notify is not None else None
    loop = _background.loop()
    future = asyncio.run_coroutine_threadsafe(work(told), loop)
    future.add_done_callback(lambda _: events.put(_ENDED))
    try:
        while (event := events.get()) is not _ENDED:
            if notify is not None:
                notify(event)
    except BaseException:
        # Ctrl-C, or the caller's own callback: this wait ends here, and no one else's.
        future.cancel()
        raise
    return future.result()
