"""The arguments that the ways of waiting share, checked before any call is made."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from functools import partial

from ecs_waiter.api.call_policy import check_seconds
from ecs_waiter.models import Task
from ecs_waiter.polling.policy import PollPolicy

__all__ = ["OnUpdate", "checked_callback", "checked_policy", "checked_timeout"]

OnUpdate = Callable[[Task], None]
"""Called with each task at first sight and at every change of its status."""

_DEFAULT_POLICY = PollPolicy()
_PLAIN_FUNCTION = "on_update takes a regular function of one Task; for async work, iterate over `updates`"


def checked_policy(policy: PollPolicy | None) -> PollPolicy:
    """Return the policy, or the default; raises TypeError for anything else."""
    if policy is None:
        return _DEFAULT_POLICY
    if not isinstance(policy, PollPolicy):
        raise TypeError(f"policy takes a PollPolicy, not {type(policy).__name__}")
    return policy


def checked_timeout(timeout: float | None) -> float | None:
    """Return the timeout in seconds; raises TypeError or ValueError for what is no time."""
    return None if timeout is None else check_seconds("timeout", timeout)


def checked_callback(on_update: OnUpdate | None) -> OnUpdate | None:
    """Return a callback that raises TypeError for a result that would have to be awaited: nobody would await it.

    Raises:
        TypeError: It cannot be called, or is known to return something to be awaited.
    """
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
