"""The arguments of waiting, checked before any call is made. The public functions spell them out for `help()`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ecs_waiter.api.call_policy import check_seconds
from ecs_waiter.models import Task
from ecs_waiter.polling.policy import PollPolicy

if TYPE_CHECKING:
    import aiohttp

    from ecs_waiter.api.credentials import CredentialsProvider

__all__ = ["OnUpdate", "WaitOptions", "WaiterOptions", "checked_policy", "checked_timeout"]

OnUpdate = Callable[[Task], None]
"""Called with each task at first sight and at every change of its status."""

_DEFAULT_POLICY = PollPolicy()
_PLAIN_FUNCTION = "on_update takes a regular function of one Task; for async work, iterate over `updates`"


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
    fail_fast: bool = False

    def __post_init__(self) -> None:
        if self.fail_fast and self.return_exceptions:
            raise ValueError("fail_fast raises at the first failure, return_exceptions never: choose one")
        object.__setattr__(self, "on_update", _checked_callback(self.on_update))
        object.__setattr__(self, "timeout", checked_timeout(self.timeout))


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


def _checked_callback(on_update: OnUpdate | None) -> OnUpdate | None:
    """Return a callback that raises TypeError for an awaitable result, which nobody would await."""
    if on_update is None:
        return None
    if not callable(on_update) or _is_asynchronous(on_update):
        raise TypeError(_PLAIN_FUNCTION)

    def notify(task: Task) -> None:
        result: object = on_update(task)  # its type promises None, its author need not know
        if result is not None and (inspect.isawaitable(result) or inspect.isasyncgen(result)):
            if isinstance(result, Coroutine):
                # Otherwise Python warns that it was never awaited.
                result.close()
            raise TypeError(_PLAIN_FUNCTION)

    return notify


def _is_asynchronous(function: object) -> bool:
    while isinstance(function, partial):
        function = function.func
    methods = (function, type(function).__call__) if callable(function) else (function,)
    return any(map(inspect.iscoroutinefunction, methods)) or any(map(inspect.isasyncgenfunction, methods))
