"""The same functions for callers without an event loop. All threads share one background loop, and so share polls.

They raise RuntimeError if an event loop (of asyncio or trio) runs in the calling thread, which must not be blocked, if
gevent or eventlet has monkey-patched threads, or if the background thread cannot be started (the next call tries
again). `session` is missing: an aiohttp session belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from ecs_waiter import functions
from ecs_waiter.after_fork import after_fork
from ecs_waiter.arguments import WaiterOptions, WaitOptions
from ecs_waiter.escaping import escape_control
from ecs_waiter.ids import Targets, check_task_id, listed
from ecs_waiter.runtimes import check_may_block
from ecs_waiter.starting import Start

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping

    from ecs_waiter.api.credentials import CredentialsProvider
    from ecs_waiter.arguments import OnProgress, OnUpdate
    from ecs_waiter.errors import EcsWaiterError
    from ecs_waiter.ids import TaskIds
    from ecs_waiter.models import Task
    from ecs_waiter.polling.policy import PollPolicy
    from ecs_waiter.starting import AlwaysStartsTask, StartedTask
    from ecs_waiter.wait import WaitEvent
    from ecs_waiter.waiter import TaskWaiter

__all__ = [
    "as_completed",
    "cancel_task",
    "events",
    "run",
    "start",
    "updates",
    "wait_for_task",
    "wait_for_tasks",
]

T = TypeVar("T")


@overload
def wait_for_tasks(
    task_ids: TaskIds,
    *,
    region_id: str | None = None,
    timeout: float | None = None,
    return_exceptions: Literal[False] = False,
    on_update: OnUpdate | None = None,
    on_progress: OnProgress | None = None,
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
    on_progress: OnProgress | None = None,
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
    on_progress: OnProgress | None = None,
    fail_fast: bool = False,
    credentials: CredentialsProvider | None = None,
    endpoint: str | None = None,
    policy: PollPolicy | None = None,
    trust_env: bool = False,
) -> dict[str, Task] | dict[str, Task | EcsWaiterError]:
    """Wait until all tasks have ended, and return ID -> Task in the order asked.

    Arguments and errors are those of `ecs_waiter.wait_for_tasks`; the callbacks are called in the calling thread.

    Raises:
        RuntimeError: An event loop (of asyncio or trio) runs in this thread, which must not be blocked, or gevent or
            eventlet has monkey-patched threads, or the background thread cannot be started (the next call tries
            again).
    """
    options = WaitOptions(region_id, timeout, return_exceptions, on_update, on_progress, fail_fast)
    check_may_block()
    # Read here: the caller's iterable may belong to this thread, and may be slow.
    ids = listed(task_ids)
    waiter_options = WaiterOptions(credentials, endpoint, policy, None, trust_env)
    results: dict[str, Task]
    results = _run(waiter_options, lambda waiter, wait: waiter.pollers.wait(Targets(ids, region_id), wait), options)
    return results


def wait_for_task(  # noqa: PLR0913 - the public API
    task_id: str,
    *,
    region_id: str | None = None,
    timeout: float | None = None,
    on_update: OnUpdate | None = None,
    on_progress: OnProgress | None = None,
    fail_fast: bool = False,
    credentials: CredentialsProvider | None = None,
    endpoint: str | None = None,
    policy: PollPolicy | None = None,
    trust_env: bool = False,
) -> Task:
    """Wait until one task has ended, and return it.

    Arguments and errors are those of `ecs_waiter.wait_for_task`; the callbacks are called in the calling thread.
    """
    check_may_block()
    options = WaitOptions(region_id, timeout, on_update=on_update, on_progress=on_progress, fail_fast=fail_fast)
    waiter_options = WaiterOptions(credentials, endpoint, policy, None, trust_env)
    targets = Targets([check_task_id(task_id)], region_id)
    results = _run(waiter_options, lambda waiter, wait: waiter.pollers.wait(targets, wait), options)
    task: Task = results[task_id]
    return task


def events(  # noqa: PLR0913 - the public API
    task_ids: TaskIds,
    *,
    region_id: str | None = None,
    timeout: float | None = None,
    credentials: CredentialsProvider | None = None,
    endpoint: str | None = None,
    policy: PollPolicy | None = None,
    trust_env: bool = False,
) -> Generator[WaitEvent, None, None]:
    """Iterate over everything that happens to the tasks, until all have ended.

    Arguments and errors are those of `ecs_waiter.events`. An iteration that is left early ends when it is closed.
    """
    options = WaiterOptions(credentials, endpoint, policy, None, trust_env)
    return _iterate(functions.events, task_ids, region_id, timeout, options)


def as_completed(  # noqa: PLR0913 - the public API
    task_ids: TaskIds,
    *,
    region_id: str | None = None,
    timeout: float | None = None,
    credentials: CredentialsProvider | None = None,
    endpoint: str | None = None,
    policy: PollPolicy | None = None,
    trust_env: bool = False,
) -> Generator[Task | EcsWaiterError, None, None]:
    """Iterate over the outcomes as they come: each a Task, or an error.

    Arguments and errors are those of `ecs_waiter.as_completed`. An iteration that is left early ends when it is closed.
    """
    options = WaiterOptions(credentials, endpoint, policy, None, trust_env)
    return _iterate(functions.as_completed, task_ids, region_id, timeout, options)


def updates(  # noqa: PLR0913 - the public API
    task_ids: TaskIds,
    *,
    region_id: str | None = None,
    timeout: float | None = None,
    credentials: CredentialsProvider | None = None,
    endpoint: str | None = None,
    policy: PollPolicy | None = None,
    trust_env: bool = False,
) -> Generator[Task, None, None]:
    """Iterate over the tasks at first sight and at every change of status.

    Arguments and errors are those of `ecs_waiter.updates`. An iteration that is left early ends when it is closed.
    """
    options = WaiterOptions(credentials, endpoint, policy, None, trust_env)
    return _iterate(functions.updates, task_ids, region_id, timeout, options)


def start(  # noqa: PLR0913 - the public API
    operation: str,
    *,
    region_id: str | None = None,
    params: Mapping[str, Any] | None = None,
    timeout: float | None = None,
    credentials: CredentialsProvider | None = None,
    endpoint: str | None = None,
    policy: PollPolicy | None = None,
    trust_env: bool = False,
) -> StartedTask:
    """Start a task and return its ID at once. Arguments and errors are those of `ecs_waiter.start`."""
    options = WaiterOptions(credentials, endpoint, policy, None, trust_env)
    return _run(options, lambda waiter, _: waiter.start(operation, region_id=region_id, params=params, timeout=timeout))


@overload
def run(
    operation: AlwaysStartsTask,
    *,
    region_id: str | None = None,
    params: Mapping[str, Any] | None = None,
    timeout: float | None = None,
    on_update: OnUpdate | None = None,
    on_progress: OnProgress | None = None,
    credentials: CredentialsProvider | None = None,
    endpoint: str | None = None,
    policy: PollPolicy | None = None,
    trust_env: bool = False,
) -> Task: ...


@overload
def run(
    operation: str,
    *,
    region_id: str | None = None,
    params: Mapping[str, Any] | None = None,
    timeout: float | None = None,
    on_update: OnUpdate | None = None,
    on_progress: OnProgress | None = None,
    credentials: CredentialsProvider | None = None,
    endpoint: str | None = None,
    policy: PollPolicy | None = None,
    trust_env: bool = False,
) -> Task | None: ...


def run(  # noqa: PLR0913 - the public API
    operation: str,
    *,
    region_id: str | None = None,
    params: Mapping[str, Any] | None = None,
    timeout: float | None = None,
    on_update: OnUpdate | None = None,
    on_progress: OnProgress | None = None,
    credentials: CredentialsProvider | None = None,
    endpoint: str | None = None,
    policy: PollPolicy | None = None,
    trust_env: bool = False,
) -> Task | None:
    """Start a task and wait for it.

    Arguments and errors are those of `ecs_waiter.run`; the callbacks are called in the calling thread.
    """
    options = WaiterOptions(credentials, endpoint, policy, None, trust_env)
    wait = WaitOptions(timeout=timeout, on_update=on_update, on_progress=on_progress)
    return _run(options, lambda waiter, wait: waiter.pollers.run(Start(operation, region_id, params), wait), wait)


def cancel_task(  # noqa: PLR0913 - the public API
    task_id: str,
    *,
    region_id: str | None = None,
    credentials: CredentialsProvider | None = None,
    endpoint: str | None = None,
    policy: PollPolicy | None = None,
    trust_env: bool = False,
) -> bool:
    """Cancel a task. Arguments and errors are those of `ecs_waiter.cancel_task`."""
    options = WaiterOptions(credentials, endpoint, policy, None, trust_env)
    return _run(options, lambda waiter, _: waiter.cancel_task(task_id, region_id=region_id))


class _Background:
    """One event loop in a daemon thread, made at the first wait, and again in a forked process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        after_fork(self._forget)

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
        reason = escape_control(str(error)) or type(error).__name__
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


def _run(
    options: WaiterOptions,
    work: Callable[[TaskWaiter, WaitOptions], Coroutine[Any, Any, T]],
    wait: WaitOptions | None = None,
) -> T:
    """Return what `work` returns in the background; the callbacks of the wait's options are called in this thread."""
    check_may_block()
    calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
    deferred = (wait or WaitOptions()).deferred(calls.put)

    async def in_background() -> T:
        async with functions.shared_waiter(options) as waiter:
            return await work(waiter, deferred)

    return _result(in_background, calls)


def _iterate(
    function: Callable[..., AsyncGenerator[T, None]],
    task_ids: TaskIds,
    region_id: str | None,
    timeout: float | None,
    options: WaiterOptions,
) -> Generator[T, None, None]:
    check_may_block()
    ids = listed(task_ids)

    async def begin() -> AsyncGenerator[T, None]:
        return function(
            ids,
            region_id=region_id,
            timeout=timeout,
            credentials=options.credentials,
            endpoint=options.endpoint,
            policy=options.policy,
            trust_env=options.trust_env,
        )

    return _each(_result(begin))


def _each(items: AsyncGenerator[T, None]) -> Generator[T, None, None]:
    async def following() -> T:
        return await anext(items)

    try:
        while True:
            try:
                item = _result(following)
            except StopAsyncIteration:
                return
            yield item
    finally:
        # Not awaited: while the interpreter shuts down, the background thread does not run any more.
        asyncio.run_coroutine_threadsafe(_closed(items), _background.loop())


async def _closed(items: AsyncGenerator[T, None]) -> None:
    await items.aclose()


def _result(
    work: Callable[[], Coroutine[Any, Any, T]], calls: SimpleQueue[Callable[[], None] | None] | None = None
) -> T:
    """Return what `work` returns in the background; meanwhile make the calls here that it puts into the queue."""
    loop = _background.loop()
    queue: SimpleQueue[Callable[[], None] | None] = calls or SimpleQueue()
    future = asyncio.run_coroutine_threadsafe(work(), loop)
    future.add_done_callback(lambda _: queue.put(None))
    try:
        while (call := queue.get()) is not None:
            call()
    except BaseException:
        # Ctrl-C, or an exception in the caller's callback: only this wait ends.
        future.cancel()
        raise
    return future.result()
