"""Company: when the next call goes out for tasks that `wait_adaptive` paces together.

Each task has a pause of its own. One call asks for up to 100 tasks, and asking for one more costs nothing, so the call
waits until all of them together are worth it: until the squares of the times for which they have rested, each in units
of its own pause, add up to their number to the power of `crowd`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

from ecs_waiter.polling.batch import BATCH_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ecs_waiter.polling.batch import Batch, Entry
    from ecs_waiter.polling.policy import wait_adaptive

__all__ = ["Company", "Learned", "grouped"]

Learned: TypeAlias = "Callable[[str, float, float, float], float]"
"""Operation, age, plain pause and time -> the pause in seconds, by what was learned of such tasks."""

_SHORTEST, _LONGEST = 1e-3, 1e9
"""Seconds between which pauses are counted: a pause of zero has no inverse, nor has one without end."""


class Company:
    """Paces the batches of one region.

    Args:
        strategy: Its rule and limits.
        learned: Returns the pause of a task, given its operation, its age, its plain pause and the time.
    """

    def __init__(self, strategy: wait_adaptive, learned: Learned | None = None) -> None:
        self._strategy = strategy
        self._learned = learned
        self._last_call = -math.inf
        self._spread = strategy.spread()

    def called(self, now: float) -> None:
        """A call for tasks in company goes out."""
        self._last_call = now
        self._spread = self._strategy.spread()

    def pace_new(self, batch: Batch, now: float) -> None:
        """Begin the pause before the first poll of a batch: as that of a task of age 0, and not longer than `first`."""
        batch.paced_at = now
        batch.weight = min(max(self._strategy.pause(0.0), _SHORTEST), _LONGEST) ** -2
        batch.due = now + self._strategy.first

    def pace(self, batch: Batch, now: float) -> None:
        """Begin the pauses of a batch that was answered."""
        rule, learned = self._strategy, self._learned
        weights = []
        for entry in batch.entries:
            age = now - entry.created_at
            pause = rule.pause(age)
            if learned is not None:
                pause = learned(entry.action, age, pause, now)
            weights.append(min(max(pause, _SHORTEST), _LONGEST) ** -2)
        batch.paced_at = now
        batch.weight = sum(weights) / len(weights)
        if batch.exclusive:
            pause = math.sqrt(len(weights) ** (rule.crowd - 1) / batch.weight) * rule.spread()
            batch.due = batch.rank = now + min(max(pause, rule.min), rule.max)
        else:
            batch.due = now + rule.max
            # When a full batch of such tasks would be due; with the default `crowd`, after about half of their pause.
            share = BATCH_SIZE ** ((rule.crowd - 1) / 2)
            batch.rank = min(now + share * batch.weight**-0.5, batch.by - rule.max)

    def group(self, age: float) -> int:
        """Return what is equal for tasks whose pauses differ by a fifth at most."""
        return int(4 * math.log2(max(self._strategy.pause(age), _SHORTEST)))

    def next_call(self, batches: Iterable[Batch], waiting: int) -> float:
        """Return when the next call is due for batches, given in the order in which they are asked.

        Args:
            batches: The batches.
            waiting: IDs that wait in the region.
        """
        riders, latest, by = 0, math.inf, math.inf
        first: float | None = None
        weight = linear = square = 0.0
        for batch in batches:
            count = min(batch.live, BATCH_SIZE - riders)
            # A batch that is asked again after a call that said nothing has no pause.
            if count and batch.weight:
                first = batch.paced_at if first is None else first
                # From the first one's time on: exact at any time of the loop's clock.
                rested = batch.paced_at - first
                weight += count * batch.weight
                linear += count * batch.weight * rested
                square += count * batch.weight * rested**2
            latest, by = min(latest, batch.due), min(by, batch.by)
            riders += count
            if riders >= BATCH_SIZE:
                break
        if first is not None:
            # The sum of weight·(t - rested)² reaches the threshold at this time t.
            threshold = riders**self._strategy.crowd * self._spread**2
            middle = linear / weight
            due = first + middle + math.sqrt(max((threshold - square) / weight + middle**2, 0.0))
            latest = min(latest, due)
        calls = max(math.ceil(waiting / BATCH_SIZE), 1)
        return min(max(latest, self._last_call + self._strategy.min / calls), by)


def grouped(entries: Iterable[Entry], now: float, company: Company | None) -> list[list[Entry]]:
    """Group entries of one pace, so that an old task is not asked at the pace of a young one that shared its call."""
    groups: dict[int, list[Entry]] = {}
    for entry in entries:
        age = max(0.0, now - entry.created_at)
        key = int(8 * math.log2(age + 30)) if company is None else company.group(age)
        groups.setdefault(key, []).append(entry)
    return list(groups.values())
