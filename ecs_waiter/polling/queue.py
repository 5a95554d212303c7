"""What waits to be asked, and what is being asked: new IDs, batches by due time, and calls under way."""

from __future__ import annotations

import heapq
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from ecs_waiter.polling.batch import BATCH_SIZE, Batch, Entry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["BatchQueue", "Calls", "NewEntries"]


class NewEntries:
    """Entries to ask before all that is due, in the order they came.

    Args:
        waiting: All entries that wait. An entry that has left is skipped when its turn comes.
    """

    def __init__(self, waiting: Mapping[str, Entry]) -> None:
        self._waiting = waiting
        self._line: deque[Entry] = deque()
        self._count = 0
        # Of IDs that were polled before: how often, and when they were answered last.
        self._history: dict[str, tuple[int, float]] = {}

    def __len__(self) -> int:
        return self._count

    def extend(self, entries: Sequence[Entry]) -> None:
        """Add entries."""
        self._line.extend(entries)
        self._count += len(entries)

    def add_again(self, entry: Entry, batch: Batch) -> None:
        """Add an entry that was in a batch before."""
        self._history[entry.task_id] = batch.polls, batch.answered
        self.extend((entry,))

    def remove(self, entry: Entry) -> None:
        """Note that an entry of the line has left."""
        self._count -= 1
        self._history.pop(entry.task_id, None)
        if not self._count or len(self._line) > 2 * self._count + BATCH_SIZE:
            self._line = deque(filter(self._is_waiting, self._line))

    def pop(self, now: float, answered: float) -> Batch:
        """Take out a batch; `answered` is when new IDs count as answered last."""
        # `popleft` would raise at the end, which `_count` keeps it from.
        in_turn = iter(self._line.popleft, None)
        waiting = in_turn if len(self._line) == self._count else filter(self._is_waiting, in_turn)
        entries = list(islice(waiting, min(BATCH_SIZE, self._count)))
        self._count -= len(entries)
        # IDs that were polled before are not new to the strategy, nor to the clock of their grace.
        history = [self._history.pop(entry.task_id) for entry in entries if entry.task_id in self._history]
        polls = min(polls for polls, _ in history) if len(history) == len(entries) else 0
        return Batch(entries, due=now, polls=polls, answered=min((at for _, at in history), default=answered))

    def _is_waiting(self, entry: Entry) -> bool:
        return self._waiting.get(entry.task_id) is entry


class BatchQueue:
    """Batches by due time. Exclusive ones are kept apart, for no ID of theirs fills up other calls."""

    def __init__(self) -> None:
        self._ordinary: list[Batch] = []
        self._exclusive: list[Batch] = []

    def push(self, batch: Batch) -> None:
        """Add a batch, to be asked when it is due."""
        heapq.heappush(self._exclusive if batch.exclusive else self._ordinary, batch)

    def first(self, *, is_silent: bool = False) -> Batch | None:
        """Return the batch to ask next: the one that is due first.

        While the region answers nothing, retries go to one batch and its halves, so that a good ID is found soon: first
        comes the batch with the most faults; IDs that stand alone come last.
        """
        if is_silent and _has_live(self._exclusive):
            return min((batch for batch in self._exclusive if batch.live), key=_by_trouble)
        heads = [heap[0] for heap in (self._exclusive, self._ordinary) if _has_live(heap)]
        return min(heads, default=None)

    def pop(self, *, is_silent: bool = False) -> Batch | None:
        """Take out the batch to ask next."""
        batch = self.first(is_silent=is_silent)
        if batch is None:
            return None
        heap = self._exclusive if batch.exclusive else self._ordinary
        if batch is heap[0]:
            heapq.heappop(heap)
        else:
            heap.remove(batch)
            heapq.heapify(heap)
        batch.drop_left()
        return batch

    def pop_next(self, room: int) -> tuple[list[Entry], list[Batch]]:
        """Take out up to `room` entries that are due next, and the batches that they came from."""
        entries: list[Entry] = []
        sources: list[Batch] = []
        while len(entries) < room and _has_live(self._ordinary):
            source = self._ordinary[0]
            source.drop_left()
            sources.append(source)
            left = room - len(entries)
            entries += source.entries[:left]
            if source.live <= left:
                heapq.heappop(self._ordinary)
            else:
                heapq.heapreplace(self._ordinary, source.part(source.entries[left:]))
        return entries, sources

    def exclusive(self) -> list[Batch]:
        """Return the exclusive batches."""
        return [batch for batch in self._exclusive if batch.live]


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
