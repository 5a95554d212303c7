"""The arguments of waiting, checked before any call is made. The public functions spell them out for `help()`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ecs_waiter.api.call_policy import check_seconds
from ecs_waiter.models import Task
from ecs_waiter.polling.policy import PollPolicy

if TYPE_CHECKING:
    import aiohttp

    from ecs_waiter.api.credentials import CredentialsProvider
    from ecs_waiter.progress import Progress

__all__ = ["OnProgress", "OnUpdate", "WaitOptions", "WaiterOptions", "checked_policy", "checked_timeout"]

OnUpdate = Callable[[Task], None]
"""Called with each task at first sight and at every change of its status."""

OnProgress = Callable[["Progress"], None]
"""Called after polls with how far the wait is, at most once a second and at least every ten seconds."""

_DEFAULT_POLICY = PollPolicy()
_CALLBACKS = {"on_update": "Task", "on_progress": "Progress"}


@dataclass(frozen=True, slots=True)
class WaitOptions:
    """How to wait for tasks.

    Raises:
        TypeError: The timeout is not a number, or the callback is not a regular function.
        ValueError: The timeout is negative, infinite or NaN, or `fail_fast` came with `return_exceptions`.
    """

    region_id: str | None = None
    timeout: float | None = None
    return_exceptions: bool = False
    on_update: OnUpdate | None = None
    on_progress: OnProgress | None = None
    fail_fast: bool = False

    def __post_init__(self) -> None:
        if self.fail_fast and self.return_exceptions:
            raise ValueError("fail_fast raises at the first failure, return_exceptions never: choose one")
        for name in _CALLBACKS:
            object.__setattr__(self, name, _checked_callback(name, getattr(self, name)))
        object.__setattr__(self, "timeout", checked_timeout(self.timeout))

    def deferred(self, put: Callable[[Callable[[], None]], None]) -> WaitOptions:
        """Return options whose callbacks only `put` the calls of these options' callbacks, for another thread."""

        def defer(callback: Callable[[Any], None] | None) -> Callable[[Any], None] | None:
            return None if callback is None else lambda argument: put(partial(callback, argument))

        return replace(self, on_update=defer(self.on_update), on_progress=defer(self.on_progress))


@dataclass(frozen=True, slots=True)
class WaiterOptions:
    """How to call the service: the arguments of a TaskWaiter."""

    credentials: CredentialsProvider | None
    endpoint: str | None
    policy: PollPolicy | None
    session: aiohttp.ClientSession | None
    trust_env: bool


def checked_policy(policy: PollPolicy | None) -> PollPolicy:
    """Return the policy, or the default; raises TypeError for anything else."""
    if policy is None:
        return _DEFAULT_POLICY
    if not isinstance(policy, PollPolicy):
        raise TypeError(f"policy takes a PollPolicy, not {type(policy).__name__}")
    return policy


def checked_timeout(timeout: float | None) -> float | None:
    """Return the timeout in seconds; raises TypeError or ValueError for anything else."""
    return None if timeout is None else check_seconds("timeout", timeout)


def _checked_callback(name: str, callback: Callable[[Any], None] | None) -> Callable[[Any], None] | None:
    """Return a callback that raises TypeError for an awaitable result, which nobody would await."""
    if callback is None:
        return None
    message = f"{name} takes a regular function of one {_CALLBACKS[name]}; for async work, iterate over `updates`"
    if not callable(callback) or _is_asynchronous(callback):
        raise TypeError(message)

    def notify(argument: Any) -> None:
        result: object = callback(argument)  # its type promises None, its author need not know
        if result is not None and (inspect.isawaitable(result) or inspect.isasyncgen(result)):
            if isinstance(result, Coroutine):
                # Otherwise Python warns that it was never awaited.
                result.close()
            raise TypeError(message)

    return notify


def _is_asynchronous(function: object) -> bool:
    while isinstance(function, partial):
        function = function.func
    methods = (function, type(function).__call__) if callable(function) else (function,)
    return any(map(inspect.iscoroutinefunction, methods)) or any(map(inspect.isasyncgenfunction, methods))
