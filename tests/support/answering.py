"""Answers to a PollSchedule's batches, taken in as the poller takes them in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ecs_waiter.polling.batch import Batch
    from ecs_waiter.polling.schedule import News, PollSchedule

__all__ = ["answered"]


def answered(
    schedule: PollSchedule,
    batch: Batch,
    task_ids: Sequence[str],
    statuses: Sequence[str],
    *,
    total_count: int | None,
    age_of: Callable[[int], float | None],
    now: float,
) -> News:
    """Have a batch answered by these rows; the same rows as the last time are not even looked at."""
    fingerprint = hash((tuple(task_ids), tuple(statuses), total_count))
    if schedule.knows(batch, fingerprint):
        return schedule.same_answer(batch, now)
    return schedule.answer(
        batch,
        list(task_ids),
        list(statuses),
        total_count=total_count,
        fingerprint=fingerprint,
        age_of=age_of,
        now=now,
    )
