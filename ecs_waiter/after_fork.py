"""Callbacks in forked children, where the parent's threads do not exist and nobody releases the locks they hold."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["after_fork"]


def after_fork(forget: Callable[[], None]) -> None:
    """Call `forget` in every child that this process forks. Some systems, such as Windows, do not fork."""
    register = getattr(os, "register_at_fork", None)
    if register is not None:
        register(after_in_child=forget)
