"""PollSchedule: which IDs are due now and when to wake - pure decisions, without clock, asyncio or I/O.

It is told the time and what happened; it answers what to do. IDs live in batches, and a batch is the unit of all
work: one call asks it, one question to the wait strategy paces it, and while nothing in it changes it stays one item.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ecs_waiter.models import TaskStatus
from ecs_waiter.polling.batch import BATCH_SIZE, Batch, Entry, Missing
from ecs_waiter.polling.policy import PollPolicy, ask
from ecs_waiter.polling.suspicion import Suspicion, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ecs_waiter.errors import ApiError

__all__ = ["Change", "News", "PollSchedule", "is_settled"]

_CUTS_BORNE = 3
"""Answers cut short in a row after which the missing IDs are asked in a call of their own."""

_TICK = 1e-6
"""A timer may fire this early by rounding."""

_SETTLED = frozenset(word for word in TaskStatus if word.is_canceled) | {TaskStatus.FINISHED, TaskStatus.FAILED}


def is_settled(status: str) -> bool:
    """Whether a task in this status has ended."""
    return status in _SETTLED


@dataclass(slots=True)
class Change:
    """An entry whose state is to be told: row `index` of the answer holds it.

    `is_new` is False where nothing changed, but somebody who joined late has yet to see it.
    """

    entry: Entry
    index: int
    is_new: bool


@dataclass(slots=True)
class News:
    """What an answer brought; `error` is the wait strategy's, which ends the region's waits."""

    changes: list[Change] = field(default_factory=list)
    gone: list[Entry] = field(default_factory=list)
    error: Exception | None = None


_NO_NEWS = News()


class PollSchedule:
    """Which of one region's IDs to ask about, and when.

    Args:
        policy: The cadence and the grace.
        backoff: Seconds to wait after so many faults in a row.
    """

    def __init__(self, policy: PollPolicy, backoff: Callable[[int], float]) -> None:
        self._policy = policy
        self._backoff = backoff
        self._suspicion = Suspicion(backoff)
        self._entries: dict[str, Entry] = {}
        self._new: dict[str, Entry] = {}
        self._queue: list[Batch] = []
        self._alone: list[Batch] = []
        self._left_in_flight: dict[str, Entry] = {}
        self._shown_next: set[str] = set()
        self._in_flight = 0
        self._faults = 0
        self._failing_since: float | None = None
        self._paused_until = -math.inf
        self._lost = 0.0

    # -- who waits ----------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._entries

    def __repr__(self) -> str:
        return f"PollSchedule({len(self._entries)} IDs, {len(self._new)} new, {self._in_flight} calls in flight)"

    def find(self, task_id: str) -> Entry | None:
        """Return the entry of an ID that is waited for."""
        return self._entries.get(task_id)

    def add(self, task_id: str, now: float) -> Entry:
        """Take an ID up, or find the entry it already has: one poll serves all."""
        entry = self._entries.get(task_id)
        if entry is not None:
            return entry
        if not self._entries and not self._in_flight and self._failing_since is not None:
            # The region failed before and nobody was left: whoever comes now has the whole budget.
            self._failing_since = now
        entry = self._left_in_flight.pop(task_id, None)
        if entry is not None:
            # Its call is still under way, and an ID is never in two: that answer serves the one who came back.
            batch = entry.batch
            assert batch is not None  # noqa: S101 - kept by `remove`
            batch.live += 1
            self.show(entry)
        else:
            entry = self._new[task_id] = Entry(task_id, now)
        self._entries[task_id] = entry
        return entry

    def show(self, entry: Entry) -> None:
        """Have the next answer tell the state of this entry even if it is unchanged."""
        self._shown_next.add(entry.task_id)

    def hurry(self, entry: Entry) -> None:
        """Have an entry asked as if it were new, unless its call is under way already."""
        batch = entry.batch
        if batch is not None and not batch.in_flight:
            batch.live -= 1
            entry.batch = None
            self._new[entry.task_id] = entry

    def remove(self, entry: Entry) -> None:
        """Forget an ID: nobody waits for it any more."""
        del self._entries[entry.task_id]
        self._shown_next.discard(entry.task_id)
        batch = entry.batch
        if batch is None:
            self._new.pop(entry.task_id, None)
            return
        batch.live -= 1
        if batch.in_flight:
            self._left_in_flight[entry.task_id] = entry
        else:
            entry.batch = None

    def clear(self) -> list[Entry]:
        """Forget all IDs, and return them: the region has failed."""
        entries = list(self._entries.values())
        for entry in entries:
            self.remove(entry)
        self._suspicion = Suspicion(self._backoff)
        self._recover(self._failing_since or 0.0)
        self._paused_until = -math.inf
        return entries

    # -- who is asked when --------------------------------------------------------------------------------------------

    def wake_at(self) -> float:
        """When the next call is due; infinite while nothing waits for one."""
        if self._new:
            return self._paused_until
        due = min((heap[0].due for heap in (self._queue, self._alone) if _settle_top(heap)), default=math.inf)
        return max(due, self._paused_until)

    @property
    def outage_ends(self) -> float:
        """When the region's patience ends; infinite while it answers."""
        if self._failing_since is None:
            return math.inf
        return self._failing_since + self._policy.outage_budget

    def is_spent(self, now: float) -> bool:
        """Whether the region has failed for the whole outage budget without one good answer."""
        return now >= self.outage_ends - _TICK

    def take(self, now: float) -> Batch | None:
        """Compose the next call: new IDs first, then those due; room that is left carries those next due."""
        if now < self._paused_until - _TICK:
            return None
        if self._new:
            batch = self._with_riders(self._take_new(), due=now, polls=0, answered=now - self._lost)
        else:
            due = self._pop_due(now)
            if due is None:
                return None
            due.drop_those_who_left()
            batch = due
            if not due.alone and due.live < BATCH_SIZE:
                batch = self._with_riders(due.entries, due=due.due, polls=due.polls, answered=due.answered, whole=due)
        batch.in_flight = True
        self._in_flight += 1
        return batch

    def _take_new(self) -> list[Entry]:
        chosen = [entry for entry, _ in zip(self._new.values(), range(BATCH_SIZE), strict=False)]
        for entry in chosen:
            del self._new[entry.task_id]
        return chosen

    def _pop_due(self, now: float) -> Batch | None:
        heaps = [heap for heap in (self._alone, self._queue) if _settle_top(heap) and heap[0].due <= now + _TICK]
        return heapq.heappop(min(heaps, key=lambda heap: heap[0].due)) if heaps else None

    def _with_riders(
        self, entries: list[Entry], *, due: float, polls: int, answered: float, whole: Batch | None = None
    ) -> Batch:
        """Fill a call up with those who are next due; they ride free, and are paced anew with all the others."""
        riders: list[Entry] = []
        while (room := BATCH_SIZE - len(entries) - len(riders)) and _settle_top(self._queue):
            next_due = self._queue[0]
            next_due.drop_those_who_left()
            riders += next_due.entries[:room]
            polls = min(polls, next_due.polls)
            answered = min(answered, next_due.answered)
            if next_due.live <= room:
                heapq.heappop(self._queue)
            else:
                rest = Batch(
                    next_due.entries[room:], due=next_due.due, polls=next_due.polls, answered=next_due.answered
                )
                heapq.heapreplace(self._queue, rest)
        if whole is not None and not riders:
            return whole
        return Batch(entries + riders, due=due, polls=polls, answered=answered)

    # -- what came of it ----------------------------------------------------------------------------------------------

    def answer(  # noqa: PLR0913 - an answer has these parts, and an object for them would be made on every poll
        self,
        batch: Batch,
        task_ids: list[str],
        statuses: list[str],
        *,
        total_count: int | None,
        age_of: Callable[[int], float | None],
        now: float,
    ) -> News:
        """Take in a good answer and put the batch back.

        Args:
            batch: The batch that was asked.
            task_ids: The rows' IDs.
            statuses: The rows' statuses, "" for one that could not be read.
            total_count: How many tasks the service says there are: above the rows' number, the answer is cut short.
            age_of: The age in seconds of the task in a row of that index; None if the row does not say.
            now: The time.

        Returns:
            The changes to tell, the IDs whose grace is over, and the wait strategy's error if it raised one.
        """
        self._land(batch)
        self._recover(now)
        self._suspicion.answered()
        news = _NO_NEWS if self._is_unchanged(batch, task_ids, statuses) else News()
        try:
            if news is _NO_NEWS:
                self._put_back(batch, now)
            else:
                self._sort_out(news, batch, task_ids, statuses, total_count, age_of, now)
        except Exception as error:  # noqa: BLE001 - the strategy is the user's code; what the answer brought stays true
            return News(news.changes, news.gone, error)
        return news

    def _is_unchanged(self, batch: Batch, task_ids: list[str], statuses: list[str]) -> bool:
        if batch.seen is None or batch.live < len(batch.entries):
            return False
        if self._shown_next and not self._shown_next.isdisjoint(task_ids):
            return False
        ids_before, statuses_before = batch.seen
        return statuses == statuses_before and task_ids == ids_before

    def _sort_out(  # noqa: PLR0913, PLR0917 - see `answer`
        self,
        news: News,
        batch: Batch,
        task_ids: list[str],
        statuses: list[str],
        total_count: int | None,
        age_of: Callable[[int], float | None],
        now: float,
    ) -> None:
        batch.seen = batch.youngest = None
        index_of = _rows_by_id(task_ids, statuses)
        cut_short = total_count is not None and total_count > len(index_of)
        staying: list[Entry] = []
        missing: list[Entry] = []
        for entry in batch.entries:
            if entry.batch is not batch:
                continue
            index = index_of.get(entry.task_id)
            if index is None:
                if self._is_gone(entry, batch, cut_short=cut_short, now=now):
                    news.gone.append(entry)
                else:
                    missing.append(entry)
                continue
            entry.missing = None
            status = statuses[index]
            if entry.status is None and (age := age_of(index)) is not None:
                entry.born = now - age
            changed = status != entry.status
            if changed or entry.task_id in self._shown_next:
                self._shown_next.discard(entry.task_id)
                entry.status = status
                news.changes.append(Change(entry, index, is_new=changed))
            if is_settled(status):
                self._forget_landed(entry)
            else:
                staying.append(entry)
        for entry in news.gone:
            self._forget_landed(entry)
        self._regroup(batch, staying, missing, now)
        if not missing and batch.live == len(batch.entries) == len(task_ids):
            entries = {entry.task_id: entry for entry in batch.entries}
            batch.seen = ([entries[task_id].task_id for task_id in task_ids if task_id in entries], list(statuses))

    def _is_gone(self, entry: Entry, batch: Batch, *, cut_short: bool, now: float) -> bool:
        """Whether a missing ID's grace is over. Only time between whole answers that lack it counts."""
        missing = entry.missing = entry.missing or Missing()
        healthy = now - self._lost
        uncounted = healthy - batch.answered
        if cut_short and not (batch.alone and batch.live == 1):
            missing.cuts += 1
            if missing.since is not None:
                missing.since += uncounted
            return False
        missing.cuts = 0
        if missing.since is None:
            missing.since = healthy
            return False
        if batch.trail:
            missing.since += uncounted
        return healthy - missing.since >= self._policy.not_found_grace - _TICK

    def _regroup(self, batch: Batch, staying: list[Entry], missing: list[Entry], now: float) -> None:
        """Put those who still wait back, in batches of one pace; the same batch again if nobody left it."""
        own_call = [entry for entry in missing if batch.alone or (entry.missing and entry.missing.cuts >= _CUTS_BORNE)]
        if own_call:
            missing = [entry for entry in missing if entry.missing and entry.missing.cuts < _CUTS_BORNE]
            missing = [] if batch.alone else missing
            self._ask_on_their_own(batch, own_call, progress=bool(staying), now=now)
        groups = [staying + missing] if len(self._entries) <= BATCH_SIZE else [*_by_pace(staying, now), missing]
        for group in filter(None, groups):
            if len(group) == len(batch.entries):
                batch.alone = False
                self._put_back(batch, now)
            else:
                again = Batch(group, due=now, polls=batch.polls)
                self._put_back(again, now)

    def _ask_on_their_own(self, batch: Batch, entries: list[Entry], *, progress: bool, now: float) -> None:
        cut = any(entry.missing is not None and entry.missing.cuts for entry in entries)
        halves = [entries]
        if batch.alone and cut and not progress and len(entries) > 1:
            middle = len(entries) // 2
            halves = [entries[:middle], entries[middle:]]
        for half in halves:
            own = Batch(half, due=now, polls=batch.polls)
            own.alone = True
            if cut:
                own.answered = now - self._lost
                heapq.heappush(self._alone, own)
            else:
                self._put_back(own, now)

    def _put_back(self, batch: Batch, now: float) -> None:
        """Pace a batch that was answered: the strategy is asked once, for its youngest."""
        batch.faults = batch.trail = 0
        batch.polls += 1
        batch.answered = now - self._lost
        if batch.youngest is None:
            batch.youngest = max(entry.born for entry in batch.entries)
        batch.due = now + ask(self._policy.wait, polls=batch.polls, age=max(0.0, now - batch.youngest))
        if batch.seen is None or len(batch.seen[0]) != len(batch.entries):
            for entry in batch.entries:
                if entry.missing is not None and entry.missing.since is not None:
                    grace_ends = entry.missing.since + self._lost + self._policy.not_found_grace
                    batch.due = min(batch.due, max(grace_ends, now))
        heapq.heappush(self._alone if batch.alone else self._queue, batch)

    # -- faults -------------------------------------------------------------------------------------------------------

    def throttled(self, batch: Batch, *, asked_at: float, retry_after: float | None, now: float) -> None:
        """The service wants fewer calls: the whole region pauses; no ID is to blame."""
        self._land(batch)
        self._fail(asked_at)
        self._pause(now, retry_after or 0.0)
        self._return(batch, now)

    def fault(self, batch: Batch, *, asked_at: float, now: float) -> Verdict:
        """A passing fault: the batch comes again later, in halves if it keeps failing; if all fails, all pause."""
        self._land(batch)
        self._fail(asked_at)
        if self._faults > 1:
            self._pause(now, 0.0)
        if batch.live == 0:
            return Verdict()
        batch.drop_those_who_left()
        return self._carry_out(self._suspicion.fault(batch, now), now)

    def rejected(self, batch: Batch, error: ApiError, now: float) -> Verdict:
        """The service refused the batch: the one bad ID is hunted down, unless the refusal is about the region."""
        self._land(batch)
        if batch.live == 0:
            return Verdict()
        batch.drop_those_who_left()
        return self._carry_out(self._suspicion.rejected(batch, error, now, only=len(self._entries) == batch.live), now)

    def _carry_out(self, verdict: Verdict, now: float) -> Verdict:
        for part in verdict.again:
            part.alone = True
            part.due = min(part.due, max(self.outage_ends, now))
            heapq.heappush(self._alone, part)
        for entry in verdict.guilty:
            self._forget_landed(entry)
        return verdict

    def _fail(self, asked_at: float) -> None:
        if self._failing_since is None:
            self._failing_since = asked_at
        self._faults += 1

    def _recover(self, now: float) -> None:
        if self._failing_since is None:
            return
        # An outage does not use up anybody's grace: the clock of the graces stood still.
        self._lost += max(0.0, now - self._failing_since)
        self._failing_since = None
        if self._faults > 1:
            self._paused_until = -math.inf
        self._faults = 0

    def _pause(self, now: float, at_least: float) -> None:
        until = now + max(at_least, self._backoff(self._faults))
        self._paused_until = max(self._paused_until, min(until, max(self.outage_ends, now)))

    def _return(self, batch: Batch, now: float) -> None:
        batch.drop_those_who_left()
        if batch.live:
            batch.due = now
            heapq.heappush(self._alone if batch.alone else self._queue, batch)

    def returned(self, batch: Batch, now: float) -> None:
        """The call came to nothing that says anything of its IDs: ask again."""
        self._land(batch)
        self._return(batch, now)

    def abandon(self, batch: Batch) -> None:
        """The call is over, whatever came of it."""
        self._land(batch)

    @property
    def in_flight(self) -> int:
        """Calls under way."""
        return self._in_flight

    def _land(self, batch: Batch) -> None:
        if not batch.in_flight:
            return
        batch.in_flight = False
        self._in_flight -= 1
        if self._left_in_flight:
            for entry in batch.entries:
                if self._left_in_flight.get(entry.task_id) is entry:
                    del self._left_in_flight[entry.task_id]
                    entry.batch = None

    def _forget_landed(self, entry: Entry) -> None:
        del self._entries[entry.task_id]
        self._shown_next.discard(entry.task_id)
        if entry.batch is not None:
            entry.batch.live -= 1
            entry.batch = None


def _settle_top(heap: list[Batch]) -> bool:
    """Drop the batches that everybody has left from the top of a heap; whether any batch is there."""
    while heap and not heap[0].live:
        heapq.heappop(heap)
    return bool(heap)


def _rows_by_id(task_ids: Sequence[str], statuses: Sequence[str]) -> dict[str, int]:
    """The row of each ID. Of rows that contradict each other the one that says the task has ended is right."""
    index_of = {task_id: index for index, task_id in enumerate(task_ids)}
    if len(index_of) < len(task_ids):
        for index in range(len(task_ids) - 1, -1, -1):
            if is_settled(statuses[index]):
                index_of[task_ids[index]] = index
    return index_of


def _by_pace(entries: Sequence[Entry], now: float) -> list[list[Entry]]:
    """Group by age, so that an old task is not asked at the pace of a young one that happened to share its call."""
    groups: dict[int, list[Entry]] = {}
    for entry in entries:
        age = max(0.0, now - entry.born)
        groups.setdefault(int(3 * math.log2(age + 30)), []).append(entry)
    return list(groups.values())
