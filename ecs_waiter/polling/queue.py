"""BatchQueue and Calls: the batches that wait for their call, and those whose call is under way."""

from __future__ import annotations

import heapq
import math
from collections import deque
from typing import TYPE_CHECKING

from ecs_waiter.polling.batch import BATCH_SIZE, Batch, Entry

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["BatchQueue", "Calls"]

_NEW_IN_A_ROW = 3
"""Calls in a row that new IDs have before others that are overdue."""


class BatchQueue:
    """Batches that wait for their call: of new IDs, in the order they came, and of others by due time.

    Exclusive batches are kept apart, for no ID of theirs fills up other calls.
    """

    def __init__(self) -> None:
        self._new: deque[Batch] = deque()
        self._ordinary: list[Batch] = []
        self._exclusive: list[Batch] = []
        self._new_in_a_row = 0

    def add_new(self, entries: Iterable[Entry], *, now: float, answered: float) -> None:
        """Add entries to ask before all that is due; `answered` is when they count as answered last."""
        for entry in entries:
            if not self._new or self._new[-1].polls or len(self._new[-1].entries) >= BATCH_SIZE:
                self._new.append(Batch([], due=now, answered=answered))
            self._new[-1].add(entry)

    def ask_first(self, entry: Entry) -> None:
        """Move an entry of a waiting batch before all that is due."""
        if entry.batch is not None:
            self._new.append(entry.batch.part([entry]))
            self._new[-1].trouble = None

    def push(self, batch: Batch) -> None:
        """Add a batch, to be asked when it is due."""
        heapq.heappush(self._exclusive if batch.exclusive else self._ordinary, batch)

    def has_new(self) -> bool:
        """Whether there are entries to ask before all that is due."""
        while self._new and not self._new[0].live:
            self._new.popleft()
        return bool(self._new)

    def due_at(self, *, is_silent: bool = False) -> float:
        """Return when the first batch is due; infinite if there is none."""
        if self.has_new():
            return -math.inf
        first = self._first(is_silent=is_silent)
        return math.inf if first is None else first.due

    def pop(self, now: float, *, is_silent: bool = False) -> Batch | None:
        """Take out the batch to ask next.

        New IDs come first. After three such calls in a row a batch that is overdue has one.
        """
        first = self._first(is_silent=is_silent)
        self._new_in_a_row = self._new_in_a_row + 1 if self.has_new() and first is not None and first.due < now else 0
        if self.has_new() and self._new_in_a_row <= _NEW_IN_A_ROW:
            first = self._new.popleft()
        elif first is not None:
            self._new_in_a_row = 0
            heap = self._exclusive if first.exclusive else self._ordinary
            if first is heap[0]:
                heapq.heappop(heap)
            else:
                heap.remove(first)
                heapq.heapify(heap)
        if first is not None:
            first.drop_left()
        return first

    def pop_next(self, room: int) -> tuple[list[Entry], list[Batch]]:
        """Take out up to `room` entries that are new or due next, and the batches that they came from."""
        entries: list[Entry] = []
        sources: list[Batch] = []
        while len(entries) < room and (self.has_new() or _has_live(self._ordinary)):
            source = self._new.popleft() if self.has_new() else heapq.heappop(self._ordinary)
            source.drop_left()
            sources.append(source)
            left = room - len(entries)
            entries += source.entries[:left]
            if source.live > left:
                rest = source.part(source.entries[left:])
                if rest.polls:
                    self.push(rest)
                else:
                    self._new.appendleft(rest)
        return entries, sources

    def exclusive(self) -> list[Batch]:
        """Return the exclusive batches."""
        return [batch for batch in self._exclusive if batch.live]

    def _first(self, *, is_silent: bool) -> Batch | None:
        """The batch that is due first.

        While the region answers nothing, retries go to one batch and its halves, so that a good ID is found soon: first
        comes the batch with the most faults; IDs that stand alone come last.
        """
        if is_silent and _has_live(self._exclusive):
            return min(self.exclusive(), key=_by_trouble)
        heads = [heap[0] for heap in (self._exclusive, self._ordinary) if _has_live(heap)]
        return min(heads, default=None)


def _by_trouble(batch: Batch) -> tuple[bool, int, float]:
    faults = 0 if batch.trouble is None else batch.trouble.faults
    is_lone = batch.live == 1 and faults > 0
    return is_lone, 0 if is_lone else -faults, batch.due


def _has_live(heap: list[Batch]) -> bool:
    """Whether a heap holds a batch; those whose IDs have all left are dropped from its top."""
    while heap and not heap[0].live:
        heapq.heappop(heap)
    return bool(heap)


class Calls:
    """The batches whose calls are under way, and the entries that left meanwhile."""

    def __init__(self) -> None:
        self._batches: set[Batch] = set()
        self._left: dict[str, Entry] = {}

    def __len__(self) -> int:
        return len(self._batches)

    def begin(self, batch: Batch, now: float) -> None:
        """The call for a batch is made."""
        batch.in_flight = True
        batch.asked_at = now
        self._batches.add(batch)

    def end(self, batch: Batch) -> None:
        """The call is back."""
        if not batch.in_flight:
            return
        batch.in_flight = False
        self._batches.discard(batch)
        for entry in batch.entries if self._left else ():
            if self._left.get(entry.task_id) is entry:
                del self._left[entry.task_id]
                entry.batch = None
        batch.drop_left()

    def oldest(self) -> float:
        """Return when the oldest of the calls was made."""
        return min(batch.asked_at for batch in self._batches)

    def leave(self, entry: Entry) -> None:
        """An entry leaves during its call."""
        self._left[entry.task_id] = entry

    def leave_all(self) -> None:
        """All entries leave. IDs that come back are served by their call, but do not get the old entry's error."""
        self._left = {}
        for batch in self._batches:
            batch.entries = [Entry(entry.task_id, entry.created_at) for entry in batch.entries]
            batch.live = 0
            for entry in batch.entries:
                entry.batch = batch
                self.leave(entry)

    def come_back(self, task_id: str) -> Entry | None:
        """Return the entry of an ID that left during its call, so that the answer serves it; an ID is never in two."""
        entry = self._left.pop(task_id, None)
        if entry is not None and entry.batch is not None:
            entry.batch.live += 1
            entry.forget()
        return entry
