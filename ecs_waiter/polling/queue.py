"""BatchQueue and Calls: the batches that wait for their call, and those whose call is under way."""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from operator import attrgetter
from typing import TYPE_CHECKING

from ecs_waiter.polling.batch import BATCH_SIZE, Batch, Entry
from ecs_waiter.polling.outage import TICK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ecs_waiter.polling.company import Company

__all__ = ["BatchQueue", "Calls"]

_FIRST = -math.inf
"""The rank of new IDs."""

_NEW_IN_A_ROW = 3
"""Calls in a row that new IDs have before others that are overdue."""

_by_rank = attrgetter("rank")


class BatchQueue:
    """Batches that wait for their call, in the order of their ranks; new IDs rank first.

    Exclusive batches are kept apart, for no ID of theirs fills up other calls.

    Args:
        company: Paces the batches together; None if each has a due time of its own.
    """

    def __init__(self, company: Company | None) -> None:
        self._company = company
        self._ordinary: list[Batch] = []
        self._exclusive: list[Batch] = []
        self._in_a_row = 0

    def push(self, batch: Batch) -> None:
        """Add a batch."""
        insort(self._exclusive if batch.exclusive else self._ordinary, batch)

    def add_new(self, entries: Iterable[Entry], *, now: float, answered: float, is_only: bool) -> None:
        """Add new entries.

        Args:
            entries: The entries.
            now: The time.
            answered: When they count as answered last.
            is_only: Whether nothing that was polled before still waits.
        """
        for entry in entries:
            place = self._new_batches()
            last = self._ordinary[place - 1] if place else None
            if last is None or last.polls or len(last.entries) >= BATCH_SIZE:
                last = Batch([], due=_FIRST, answered=answered)
                if self._company is None or is_only:
                    last.by = _FIRST
                else:
                    self._company.pace_new(last, now)
                self._ordinary.insert(place, last)
            last.add(entry)

    def ask_first(self, entry: Entry) -> None:
        """Ask an entry of a waiting batch as soon as possible."""
        if entry.batch is not None:
            part = entry.batch.part([entry])
            part.due = part.rank = part.by = _FIRST
            part.trouble = None
            self.push(part)

    def has_polled(self) -> bool:
        """Whether any batch was polled before."""
        while self._ordinary and not self._ordinary[-1].live:
            self._ordinary.pop()
        return bool(self.exclusive()) or (bool(self._ordinary) and self._ordinary[-1].rank > _FIRST)

    def due_at(self, waiting: int, *, is_silent: bool) -> float:
        """Return when the next call is due; infinite if there is none.

        Args:
            waiting: IDs that wait in the region.
            is_silent: Whether the region answers nothing.
        """
        exclusive = self._first_exclusive(is_silent=is_silent)
        return min(math.inf if exclusive is None else exclusive.due, self._ordinary_due(waiting))

    def pop(self, now: float, waiting: int, *, is_silent: bool) -> Batch | None:
        """Take out the batch to ask next: the one that is due first.

        New IDs have up to three calls in a row before others that are due. While the region answers nothing, retries
        and other batches take turns.
        """
        exclusive = self._first_exclusive(is_silent=is_silent)
        due = self._ordinary_due(waiting)
        place = self._new_batches()
        while place < len(self._ordinary) and not self._ordinary[place].live:
            self._ordinary.pop(place)
        is_overdue = 0 < place < len(self._ordinary) and self._ordinary[place].rank < now
        is_retry_due = exclusive is not None and exclusive.due <= now + TICK
        if due <= now + TICK and ((place and is_overdue) or (is_retry_due and (place or is_silent))):
            self._in_a_row += 1
            if self._in_a_row > (1 if is_silent and is_retry_due else _NEW_IN_A_ROW):
                self._in_a_row = 0
                return self._taken_retry(exclusive) if is_retry_due else self._taken(place)
            return self._taken(0)
        self._in_a_row = 0
        if exclusive is not None and (not self._ordinary or exclusive.due <= due):
            return self._taken_retry(exclusive)
        return self._taken(0) if self._ordinary else None

    def _taken_retry(self, batch: Batch | None) -> Batch | None:
        if batch is not None:
            self._exclusive.remove(batch)
            batch.drop_left()
        return batch

    def _taken(self, place: int) -> Batch:
        batch = self._ordinary.pop(place)
        batch.drop_left()
        return batch

    def pop_next(self, room: int) -> tuple[list[Entry], list[Batch]]:
        """Take out up to `room` entries that come next, and the batches that they came from."""
        entries: list[Entry] = []
        sources: list[Batch] = []
        while len(entries) < room and _drop_dead(self._ordinary):
            source = self._ordinary.pop(0)
            source.drop_left()
            sources.append(source)
            left = room - len(entries)
            entries += source.entries[:left]
            if source.live > left:
                self._ordinary.insert(0, source.part(source.entries[left:]))
        return entries, sources

    def __len__(self) -> int:
        return sum(batch.live for batch in (*self._ordinary, *self._exclusive))

    def exclusive(self) -> list[Batch]:
        """Return the exclusive batches."""
        return [batch for batch in self._exclusive if batch.live]

    def ask_any(self) -> None:
        """Ask any ordinary batch as soon as possible."""
        if _drop_dead(self._ordinary):
            self._ordinary[0].due = self._ordinary[0].rank = self._ordinary[0].by = _FIRST

    def _new_batches(self) -> int:
        return bisect_right(self._ordinary, _FIRST, key=_by_rank)

    def _ordinary_due(self, waiting: int) -> float:
        if not _drop_dead(self._ordinary):
            return math.inf
        return self._ordinary[0].due if self._company is None else self._company.next_call(self._ordinary, waiting)

    def _first_exclusive(self, *, is_silent: bool) -> Batch | None:
        """The exclusive batch to ask next.

        While the region answers nothing, retries go to the batch with the most faults and its halves, so that a good ID
        is found soon.
        """
        if not _drop_dead(self._exclusive):
            return None
        failing = [each for each in self.exclusive() if each.live > 1 and each.trouble is not None] if is_silent else []
        return min(failing, key=_by_faults) if failing else self._exclusive[0]


def _by_faults(batch: Batch) -> tuple[int, float]:
    return -batch.trouble.faults if batch.trouble is not None else 0, batch.due


def _drop_dead(batches: list[Batch]) -> bool:
    """Drop batches whose IDs have all left from the front; return whether any is left."""
    while batches and not batches[0].live:
        batches.pop(0)
    return bool(batches)


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

    def has_polled(self) -> bool:
        """Whether any of the batches was polled before."""
        return any(batch.polls for batch in self._batches)

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
