"""Attempts: what is known of the attempts at one call, also if the call is cut off by a deadline or a cancellation."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ecs_waiter.errors import ApiError

__all__ = ["CURRENT", "Attempts"]


class Attempts:
    """The attempts at one call so far.

    Attributes:
        may_have_arrived: Whether the service may have received one of them and acted on it.
        fault: The last fault; None if there was none.
    """

    __slots__ = ("fault", "may_have_arrived")

    def __init__(self) -> None:
        self.may_have_arrived = False
        self.fault: ApiError | None = None


CURRENT: ContextVar[Attempts | None] = ContextVar("ecs_waiter_attempts", default=None)
"""The attempts at the call that the running task makes."""
