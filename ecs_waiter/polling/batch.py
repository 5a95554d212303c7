"""Entry and Batch: an ID that somebody waits for, and the group of IDs that share a call."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from ecs_waiter.ids import MAX_BATCH

if TYPE_CHECKING:
    from ecs_waiter.polling.outage import Absence

__all__ = ["BATCH_SIZE", "Batch", "Entry", "Trouble"]

_by_id = attrgetter("task_id")

BATCH_SIZE = MAX_BATCH
"""IDs in a DescribeTasks call, at most."""


_NOT_SEEN: tuple[None, str] = (None, "")


@lru_cache(maxsize=1024)
def _shared(status: str, action: str) -> tuple[str, str]:
    """One pair for all tasks that are alike, so that each entry holds only a reference."""
    return status, action


class Entry:
    """An ID that somebody waits for.

    Attributes:
        task_id: The ID.
        subscribers: Who waits for it; the schedule does not look at them.
        seen: The status and the operation last seen; (None, "") before the task was seen.
        created_at: When the task was created, on the schedule's clock; when the ID was added until it is seen.
        absence: Set while the answers lack the ID.
        batch: The batch that holds the ID, in the queue or in flight; None if the ID has left.
    """

    __slots__ = ("absence", "batch", "created_at", "seen", "subscribers", "task_id")

    def __init__(self, task_id: str, created_at: float) -> None:
        self.task_id = task_id
        self.subscribers: Any = None
        self.seen: tuple[str | None, str] = _NOT_SEEN
        self.created_at = created_at
        self.absence: Absence | None = None
        self.batch: Batch | None = None

    @property
    def status(self) -> str | None:
        """The status last seen; None before the task was seen."""
        return self.seen[0]

    @property
    def action(self) -> str:
        """The operation that started the task; empty before the task was seen."""
        return self.seen[1]

    def see(self, status: str, action: str | None = None) -> None:
        """Note a status, and the operation where it is known."""
        self.seen = _shared(status, self.action if action is None else action)

    def forget(self) -> None:
        """Forget what was seen."""
        self.seen, self.absence = _NOT_SEEN, None

    def __repr__(self) -> str:
        return f"Entry({self.task_id!r}, {self.status or ('absent' if self.absence else 'unseen')})"


@dataclass(slots=True)
class Trouble:
    """What went wrong with a batch since its last good answer. Halves inherit it.

    Attributes:
        since: When the first call that failed was made.
        answers: Good answers of the region when that call came back.
        answers_at_fault: The same when the last call came back.
        faults: Faults in a row.
        rejections: Rejections in a row.
        rejections_alone: Those of them when it was a single ID.
    """

    since: float
    answers: int
    answers_at_fault: int
    faults: int = 0
    rejections: int = 0
    rejections_alone: int = 0


class Batch:
    """IDs that are asked together. While no ID leaves or joins it stays one item of the schedule, poll after poll.

    Attributes:
        entries: Its IDs, sorted, so that requests are deterministic; those that left since are still among them.
        live: How many have not left.
        due: When to ask; the latest time if the batch is paced in company.
        by: When to ask at the latest, whatever the pace: at once, or when a grace ends.
        rank: The order in which batches of the queue are asked.
        weight: The mean of 1/pause² over its tasks, if they are paced in company.
        asked_at: When it was asked the last time.
        paced_at: When the pause of its tasks began.
        polls: How often it was asked.
        answered: When it last had a good answer, on the clock that stops during outages.
        youngest: When its youngest task was created; None until that is computed again.
        exclusive: Whether it takes no further IDs along: it is in trouble, or its IDs were missing among others.
        in_flight: Whether its call is under way.
        trouble: What went wrong since its last good answer; None if nothing did.
    """

    __slots__ = ("answered", "asked_at", "by", "due", "entries", "exclusive", "in_flight", "live", "paced_at", "polls",
                 "rank", "trouble", "weight", "youngest")  # fmt: skip

    def __init__(self, entries: list[Entry], *, due: float, polls: int = 0, answered: float = -math.inf) -> None:
        self.entries = sorted(entries, key=_by_id)
        self.live = len(entries)
        self.due = self.rank = self.asked_at = self.paced_at = due
        self.by = math.inf
        self.weight = 0.0
        self.polls = polls
        self.answered = answered
        self.youngest: float | None = None
        self.exclusive = False
        self.in_flight = False
        self.trouble: Trouble | None = None
        for entry in entries:
            entry.batch = self

    @classmethod
    def merged(cls, entries: list[Entry], sources: list[Batch], *, due: float) -> Batch:
        """Return a batch of entries that were in several batches before."""
        polls, answered = min(each.polls for each in sources), min(each.answered for each in sources)
        return cls(entries, due=due, polls=polls, answered=answered)

    @property
    def was_asked(self) -> bool:
        """Whether a call has asked for it, or is under way."""
        return self.in_flight or self.polls > 0 or self.trouble is not None

    @property
    def task_ids(self) -> list[str]:
        """Its IDs, sorted."""
        return [entry.task_id for entry in self.entries]

    def add(self, entry: Entry) -> None:
        """Add an entry; `drop_left` sorts it in."""
        self.entries.append(entry)
        self.live += 1
        entry.batch = self

    def drop_left(self) -> None:
        """Forget the IDs that have left, and the trouble, which may have been theirs."""
        if self.live < len(self.entries):
            self.entries = [entry for entry in self.entries if entry.batch is self]
            self.youngest = self.trouble = None
        if not self.polls:
            self.entries.sort(key=_by_id)

    def part(self, entries: list[Entry]) -> Batch:
        """Move some of its entries to a batch of their own, with the same history."""
        part = Batch(entries, due=self.due, polls=self.polls, answered=self.answered)
        part.asked_at, part.paced_at = self.asked_at, self.paced_at
        part.rank, part.weight, part.by = self.rank, self.weight, self.by
        part.trouble = None if self.trouble is None else replace(self.trouble)
        self.live -= len(entries)
        return part

    def halves(self) -> list[Batch]:
        """Move its entries to two batches."""
        middle = len(self.entries) // 2
        return [self.part(self.entries[:middle]), self.part(self.entries[middle:])]

    def __lt__(self, other: Batch) -> bool:
        return self.rank < other.rank

    def __repr__(self) -> str:
        kind = "exclusive, " if self.exclusive else ""
        return f"Batch({self.live} IDs, {kind}due={self.due:g}, polls={self.polls})"
