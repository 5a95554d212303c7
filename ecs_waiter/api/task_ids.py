"""What a task's ID may look like, and how a batch of them goes into a query."""

from __future__ import annotations

from collections.abc import Iterable

from ecs_waiter.printable import is_printable

__all__ = ["MAX_BATCH", "check_each", "check_task_id", "check_task_ids", "several"]

MAX_BATCH = 100
_LONGEST = 256


def _fits(text: str) -> bool:
    """Whether an ID may hold these characters: what can be shown, but for commas, which separate IDs, and spaces."""
    return is_printable(text) and "," not in text and " " not in text


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
    if not _fits(task_id):
        raise ValueError(f"a task ID has neither commas nor white space nor control characters: {task_id!r}")
    return task_id


def check_each(task_ids: list[str]) -> None:
    """Check many IDs at the price of one where all can be IDs, and one by one where one cannot.

    Raises:
        TypeError: One of them is not text.
        ValueError: One of them cannot be a task ID.
    """
    if not _are_task_ids(task_ids):
        for task_id in task_ids:
            check_task_id(task_id)


def _are_task_ids(texts: list[str]) -> bool:
    if set(map(type, texts)) != {str}:
        return False
    lengths = set(map(len, texts))
    return min(lengths) > 0 and max(lengths) <= _LONGEST and _fits("".join(texts))


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
