"""The rows of an answer, as columns: one pass over what every poll needs of them, without a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["columns"]


def columns(rows: Sequence[Any]) -> tuple[Sequence[Any], list[str], list[str]]:
    """The rows that name a task, their IDs and their statuses. One unreadable row harms that row."""
    try:
        task_ids = [row["TaskId"] for row in rows]
        statuses = [row["TaskStatus"] for row in rows]
    except (KeyError, TypeError, IndexError):
        pass
    else:
        if set(map(type, task_ids)) | set(map(type, statuses)) <= {str}:
            return rows, task_ids, statuses
    readable = [row for row in rows if isinstance(row, dict) and isinstance(row.get("TaskId"), str)]
    words = [row.get("TaskStatus") for row in readable]
    return readable, [row["TaskId"] for row in readable], [word if isinstance(word, str) else "" for word in words]
