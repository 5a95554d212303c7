"""The arguments that the ways of waiting share, checked before any call is made."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from ecs_waiter.api.policy import check_seconds
from ecs_waiter.models import Task
from ecs_waiter.polling.policy import PollPolicy

__all__ = ["OnUpdate", "check_callback", "checked_policy", "checked_timeout"]

OnUpdate = Callable[[Task], None]
"""Called with each task at first sight and at every change of its status."""

_DEFAULT_POLICY = PollPolicy()


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


def check_callback(on_update: object) -> None:
    """Raise TypeError for what cannot be called, and for what would have to be awaited."""
    if on_update is None:
        return
    if not callable(on_update) or any(map(inspect.iscoroutinefunction, (on_update, on_update.__call__))):
        raise TypeError("on_update takes a plain function of one Task; for async work iterate over `updates` instead")
