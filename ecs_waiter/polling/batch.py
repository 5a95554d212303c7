"""Entry and Batch: what the schedule holds, an ID that somebody waits for and the group of IDs that share a call."""

from __future__ import annotations

import math
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from ecs_waiter.ids import MAX_BATCH

if TYPE_CHECKING:
    from ecs_waiter.polling.missing import Missing

__all__ = ["BATCH_SIZE", "Batch", "Entry"]

_by_id = attrgetter("task_id")

BATCH_SIZE = MAX_BATCH
"""IDs to a DescribeTasks call, at most."""


@lru_cache(maxsize=1024)
def _shared(status: str, action: str) -> tuple[str, str]:
    """One pair for all tasks that are alike: in a crowd each entry holds a reference to it."""
    return status, action


class Entry:
    """An ID that somebody waits for.

    Attributes:
        task_id: The ID.
        subscribers: Who waits: the poller's business, the schedule does not look.
        seen: The status and the action last seen; None before the task was seen.
        born: When the task was created, on the clock that the schedule is told; when the ID was added until it is seen.
        missing: Set while the answers lack the ID.
        batch: The batch that holds the ID, in the queue or in flight; None if it is new or has left.
    """

    __slots__ = ("batch", "born", "missing", "seen", "subscribers", "task_id")

    def __init__(self, task_id: str, born: float) -> None:
        self.task_id = task_id
        self.subscribers: Any = None
        self.seen: tuple[str, str] | None = None
        self.born = born
        self.missing: Missing | None = None
        self.batch: Batch | None = None

    @property
    def status(self) -> str | None:
        """The status last seen; None before the task was seen."""
        return None if self.seen is None else self.seen[0]

    @property
    def action(self) -> str:
        """The operation that started the task; empty before the task was seen."""
        return "" if self.seen is None else self.seen[1]

    def see(self, status: str, action: str | None = None) -> None:
        """Note a status, and the action where it is known."""
        self.seen = _shared(status, self.action if action is None else action)

    def __repr__(self) -> str:
        return f"Entry({self.task_id!r}, {self.status or ('missing' if self.missing else 'unseen')})"


class Batch:
    """IDs that are asked together. One that nothing leaves or joins stays one item of the schedule, poll after poll.

    Attributes:
        entries: Its IDs, sorted; some may have left since (`live` counts those that have not).
        due: When to ask.
        asked_at: When it was taken to be asked the last time.
        polls: How often it was asked.
        alone: Whether it takes no riders: it is under suspicion, or its IDs go missing among others.
        in_flight: Whether its call is under way.
        is_refused: Whether the service refused it, or the batch that it is a part of, and has not answered since.
        prepared: What the client made of its IDs, kept while they stay the same.
        fingerprint: That of the last answer, if it held every entry: the same answer again tells nothing new.
        answered: When it last had a good answer, on the clock that outages stop.
        faults: Faults in a row of this very batch.
        trail: Faults in a row of this batch and those it was halved from.
        youngest: When its youngest task was created; None until that is worked out anew.
        heard: Good answers of the region when the last fault came.
        heard_first: The same when the first fault of the trail came.
        failed_first: Faults of the region before that one.
    """

    __slots__ = (
        "alone",
        "answered",
        "asked_at",
        "due",
        "entries",
        "failed_first",
        "faults",
        "fingerprint",
        "heard",
        "heard_first",
        "in_flight",
        "is_refused",
        "live",
        "polls",
        "prepared",
        "trail",
        "youngest",
    )

    def __init__(self, entries: list[Entry], *, due: float, polls: int = 0, answered: float = -math.inf) -> None:
        self.entries = sorted(entries, key=_by_id)
        self.live = len(entries)
        self.due = self.asked_at = due
        self.polls = polls
        self.answered = answered
        self.alone = False
        self.in_flight = False
        self.is_refused = False
        self.prepared: Any = None
        self.fingerprint: int | None = None
        self.faults = 0
        self.trail = 0
        self.heard = self.heard_first = self.failed_first = 0
        self.youngest: float | None = None
        for entry in entries:
            entry.batch = self

    @property
    def task_ids(self) -> list[str]:
        """Its IDs, sorted: requests are deterministic."""
        return [entry.task_id for entry in self.entries]

    def drop_those_who_left(self) -> None:
        """Forget those who have left, what was prepared for them, and the faults, which may have been theirs."""
        if self.live < len(self.entries):
            self.entries = [entry for entry in self.entries if entry.batch is self]
            self.prepared = self.fingerprint = self.youngest = None
            self.faults = self.trail = 0

    def part(self, entries: list[Entry], *, due: float) -> Batch:
        """Some of its entries as a batch of their own, with the same history."""
        part = Batch(entries, due=due, polls=self.polls, answered=self.answered)
        part.asked_at = self.asked_at
        part.trail, part.heard = self.trail, self.heard
        part.heard_first, part.failed_first = self.heard_first, self.failed_first
        return part

    def halves(self, *, due: float) -> list[Batch]:
        """Its entries in two batches."""
        middle = len(self.entries) // 2
        return [self.part(self.entries[:middle], due=due), self.part(self.entries[middle:], due=due)]

    def __lt__(self, other: Batch) -> bool:
        return self.due < other.due

    def __repr__(self) -> str:
        kind = "alone, " if self.alone else ""
        return f"Batch({self.live} IDs, {kind}due={self.due:g}, polls={self.polls})"
