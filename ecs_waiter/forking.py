"""What a forked child must forget: its parent's threads do not exist in it, nor does anybody release their locks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["in_forked_child"]


def in_forked_child(forget: Callable[[], None]) -> None:
    """Have `forget` called in every child that this process forks; where there is no fork, as on Windows, never."""
    register = getattr(os, "register_at_fork", None)
    if register is not None:
        register(after_in_child=forget)
