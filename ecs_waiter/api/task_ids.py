"""What a task's ID may look like, and how a batch of them goes into a query."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["MAX_BATCH", "check_task_id", "check_task_ids", "several"]

MAX_BATCH = 100
_LONGEST = 256
# A comma separates IDs on the wire; what cannot be seen, or not be sent, is no part of an ID.
_MISFIT = re.compile(r"[,\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff]")


def check_task_id(task_id: object) -> str:
    """Return `task_id` if it can be one.

    Raises:
        TypeError: It is no text.
        ValueError: It is empty, too long, or holds a comma, white space or a control character.
    """
    if not isinstance(task_id, str):
        raise TypeError(f"a task ID is text, not {type(task_id).__name__}")
    if not task_id:
        raise ValueError("a task ID is empty")
    if len(task_id) > _LONGEST:
        raise ValueError(f"a task ID has {_LONGEST} characters at most, not {len(task_id)}")
    if _MISFIT.search(task_id):
        raise ValueError(f"a task ID has neither commas nor white space nor control characters: {task_id!r}")
    return task_id


def several(name: str, values: object) -> Iterable[object]:
    """Return `values` if it is a list of things or the like.

    Raises:
        TypeError: It is a single text, or no iterable at all.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise TypeError(f"{name} takes several IDs, not {type(values).__name__}: put a single one into a list")
    return values


def check_task_ids(task_ids: Iterable[str]) -> list[str]:
    """Return the IDs of one call: sorted, each once.

    Raises:
        TypeError: It is one text instead of several, or holds what is no text.
        ValueError: There are none or more than 100, or one of them cannot be a task ID.
    """
    checked = sorted({check_task_id(task_id) for task_id in several("task_ids", task_ids)})
    if not 1 <= len(checked) <= MAX_BATCH:
        raise ValueError(f"one call takes 1 to {MAX_BATCH} task IDs, not {len(checked)}")
    return checked
