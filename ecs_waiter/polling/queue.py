"""BatchQueue: the batches that wait for their time, and who of them rides along in a call with room."""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING

from ecs_waiter.polling.outage import TICK

if TYPE_CHECKING:
    from ecs_waiter.polling.batch import Batch, Entry

__all__ = ["BatchQueue"]


class BatchQueue:
    """Batches by due time; those that go alone are kept apart, so that nobody looks for riders among them."""

    def __init__(self) -> None:
        self._ordinary: list[Batch] = []
        self._alone: list[Batch] = []

    def push(self, batch: Batch) -> None:
        """Add a batch, to be asked when it is due."""
        heapq.heappush(self._alone if batch.alone else self._ordinary, batch)

    def due_at(self) -> float:
        """When the first batch is due; infinite if there is none."""
        return min((heap[0].due for heap in (self._ordinary, self._alone) if _has_any(heap)), default=math.inf)

    def pop(self, now: float) -> Batch | None:
        """Take out the batch that is due first, if it is due."""
        due = [heap for heap in (self._alone, self._ordinary) if _has_any(heap) and heap[0].due <= now + TICK]
        if not due:
            return None
        batch = heapq.heappop(min(due, key=lambda heap: heap[0].due))
        batch.drop_those_who_left()
        return batch

    def pop_riders(self, room: int) -> tuple[list[Entry], list[Batch]]:
        """Take out up to `room` entries that are due next, and the batches that they came from."""
        riders: list[Entry] = []
        sources: list[Batch] = []
        while len(riders) < room and _has_any(self._ordinary):
            source = self._ordinary[0]
            source.drop_those_who_left()
            sources.append(source)
            left = room - len(riders)
            riders += source.entries[:left]
            if source.live <= left:
                heapq.heappop(self._ordinary)
            else:
                heapq.heapreplace(self._ordinary, source.part(source.entries[left:], due=source.due))
        return riders, sources


def _has_any(heap: list[Batch]) -> bool:
    """Whether a heap holds a batch; those that everybody left are dropped from its top."""
    while heap and not heap[0].live:
        heapq.heappop(heap)
    return bool(heap)
