"""Answers to a PollSchedule's batches."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ecs_waiter.api.tasks import PollAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ecs_waiter.polling.batch import Batch
    from ecs_waiter.polling.schedule import PollResult, PollSchedule

__all__ = ["answered"]

_DATE = 1_700_000_000.0


def answered(
    schedule: PollSchedule,
    batch: Batch,
    task_ids: Sequence[str],
    statuses: Sequence[str],
    *,
    total_count: int | None,
    age_of: Callable[[int], float | None],
    now: float,
) -> PollResult:
    """Have a batch answered by these rows; one with an empty status is unreadable."""
    rows = [
        {"TaskId": task_id, "TaskStatus": status, "CreationTime": _created(age_of(index))}
        for index, (task_id, status) in enumerate(zip(task_ids, statuses, strict=True))
    ]
    return schedule.answer(batch, PollAnswer("cn-hangzhou", rows, total_count=total_count, date=_DATE), now)


def _created(age: float | None) -> str | None:
    return None if age is None else datetime.fromtimestamp(_DATE - age, UTC).isoformat()
