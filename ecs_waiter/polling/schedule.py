"""PollSchedule: which IDs are due now and when to wake - pure decisions, without clock, asyncio or I/O.

It is told the time and what happened; it answers what to do. IDs live in batches, and a batch is the unit of all
work: one call asks it, one question to the wait strategy paces it, and while nothing in it changes it stays one item.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from ecs_waiter.models import TaskStatus
from ecs_waiter.polling.batch import BATCH_SIZE, Batch, Entry
from ecs_waiter.polling.missing import Missing
from ecs_waiter.polling.outage import TICK, Outage
from ecs_waiter.polling.policy import PollPolicy, ask
from ecs_waiter.polling.queue import BatchQueue
from ecs_waiter.polling.suspicion import Suspicion, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ecs_waiter.errors import ApiError

__all__ = ["Change", "News", "PollSchedule", "is_settled"]

_SETTLED = frozenset(word for word in TaskStatus if word.is_canceled) | {TaskStatus.FINISHED, TaskStatus.FAILED}


_NEW_IN_A_ROW = 3


def is_settled(status: str) -> bool:
    """Whether a task in this status has ended."""
    return status in _SETTLED


Change: TypeAlias = "tuple[Entry, int, bool]"
"""An entry whose state is to be told, the row of the answer that holds it, and whether it is new.

It is not where nothing changed, but somebody who joined late has yet to see it.
"""


class News:
    """What an answer brought.

    Attributes:
        changes: Entries whose state is to be reported.
        gone: Entries whose grace is over.
        unlisted: Entries that the service has counted but not listed for the whole outage budget.
        error: The wait strategy's, which ends the region's waits.
    """

    __slots__ = ("changes", "error", "gone", "unlisted")

    def __init__(self, error: Exception | None = None) -> None:
        self.changes: list[Change] = []
        self.gone: list[Entry] = []
        self.unlisted: list[Entry] = []
        self.error = error


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
        # First come, first asked. Those who left since are skipped: `_entries` no longer holds them.
        self._new: deque[Entry] = deque()
        self._new_count = 0
        self._new_in_a_row = 0
        self._queue = BatchQueue()
        self._left_in_flight: dict[str, Entry] = {}
        self._shown_next: set[str] = set()
        self._hurried: set[str] = set()
        # Of hurried IDs: how often they were polled, and when they were answered last.
        self._history: dict[str, tuple[int, float]] = {}
        self._flying: set[Batch] = set()
        self._outage = Outage(policy.outage_budget, backoff)

    # -- who waits ----------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._entries

    def __repr__(self) -> str:
        return f"PollSchedule({len(self._entries)} IDs, {self._new_count} new, {len(self._flying)} calls in flight)"

    def find(self, task_id: str) -> Entry | None:
        """Return the entry of an ID that is waited for."""
        return self._entries.get(task_id)

    def add(self, task_ids: Iterable[str], now: float) -> list[Entry]:
        """Take IDs up, or find the entries they already have: one poll serves all."""
        if not self._entries and not self._flying:
            self._outage.start_anew(now)
        known = self._entries
        entries: list[Entry] = []
        new: list[Entry] = []
        for task_id in task_ids:
            entry = known.get(task_id)
            if entry is None:
                entry = self._come_back(task_id) if self._left_in_flight else None
                if entry is None:
                    entry = Entry(task_id, now)
                    new.append(entry)
                known[task_id] = entry
            entries.append(entry)
        self._put_first(new)
        return entries

    def _come_back(self, task_id: str) -> Entry | None:
        entry = self._left_in_flight.pop(task_id, None)
        if entry is not None:
            # Its call is still under way, and an ID is never in two: that answer serves the one who came back.
            batch = entry.batch
            assert batch is not None  # noqa: S101 - kept by `remove`
            batch.live += 1
            entry.seen = entry.missing = None
            self.show(entry)
        return entry

    def _put_first(self, entries: Sequence[Entry]) -> None:
        """Have entries asked in the next calls with room, before all that is due."""
        self._new.extend(entries)
        self._new_count += len(entries)

    def _is_waited_for(self, entry: Entry) -> bool:
        return self._entries.get(entry.task_id) is entry

    def show(self, entry: Entry) -> None:
        """Have the next answer tell the state of this entry even if it is unchanged."""
        self._shown_next.add(entry.task_id)

    def is_hunted(self, entry: Entry) -> bool:
        """Whether the entry was refused in its last call, with others or alone, and is to be asked again for that."""
        return entry.batch is not None and entry.batch.is_refused

    def hurry(self, entry: Entry) -> None:
        """Have an entry asked as if it were new; one whose call is under way, once that is back."""
        batch = entry.batch
        if batch is None:
            return
        if batch.in_flight:
            self._hurried.add(entry.task_id)
        else:
            batch.live -= 1
            entry.batch = None
            self._history[entry.task_id] = batch.polls, batch.answered
            self._put_first((entry,))

    def remove(self, entry: Entry) -> None:
        """Forget an ID: nobody waits for it any more."""
        del self._entries[entry.task_id]
        self._shown_next.discard(entry.task_id)
        self._hurried.discard(entry.task_id)
        self._history.pop(entry.task_id, None)
        batch = entry.batch
        if batch is None:
            self._new_count -= 1
            if not self._new_count or len(self._new) > 2 * self._new_count + BATCH_SIZE:
                self._new = deque(filter(self._is_waited_for, self._new))
            return
        batch.live -= 1
        if batch.in_flight:
            self._left_in_flight[entry.task_id] = entry
        else:
            entry.batch = None

    def clear(self) -> dict[str, Entry]:
        """Forget all IDs, and return their entries: the region has failed. Costs what is in flight, not what waits."""
        entries, self._entries = self._entries, {}
        self._new, self._new_count = deque(), 0
        self._queue = BatchQueue()
        self._left_in_flight, self._shown_next, self._hurried, self._history = {}, set(), set(), {}
        for batch in self._flying:
            # New entries: who comes back meanwhile is served by the call under way, but not by the old entry's error.
            batch.entries = [Entry(entry.task_id, entry.born) for entry in batch.entries]
            batch.live = 0
            for entry in batch.entries:
                entry.batch = batch
                self._left_in_flight[entry.task_id] = entry
        self._suspicion = Suspicion(self._backoff)
        self._outage = Outage(self._policy.outage_budget, self._backoff)
        return entries

    # -- who is asked when --------------------------------------------------------------------------------------------

    def wake_at(self) -> float:
        """When the next call is due; infinite while nothing waits for one."""
        # An outage ends with a last try, whoever is due then.
        due = -math.inf if self._new_count else self._queue.due_at()
        if due < math.inf:
            due = min(due, self._outage.ends)
        return max(due, self._outage.paused_until)

    @property
    def outage_ends(self) -> float:
        """When the region's patience ends; infinite while it answers."""
        return self._outage.ends

    def is_spent(self, now: float) -> bool:
        """Whether the region has failed for the whole outage budget without one good answer."""
        return self._outage.is_spent(now)

    def take(self, now: float) -> Batch | None:
        """Compose the next call: new IDs first, then those due; room that is left carries those next due."""
        if now < self._outage.paused_until - TICK:
            return None
        by = math.inf if self._outage.is_spent(now) else now
        batch = self._batch_of_new(now) if self._comes_new_first(now) else self._queue.pop(by)
        if batch is None:
            return None
        if not batch.alone and batch.live < BATCH_SIZE:
            batch = self._with_riders(batch)
        batch.in_flight = True
        batch.asked_at = now
        self._flying.add(batch)
        return batch

    def _comes_new_first(self, now: float) -> bool:
        """Whether new IDs have the next call. After three such calls in a row others that are overdue have one."""
        is_first = self._new_count > 0
        if is_first and self._queue.due_at() < now:
            self._new_in_a_row += 1
            is_first = self._new_in_a_row <= _NEW_IN_A_ROW
        if not is_first:
            self._new_in_a_row = 0
        return is_first

    def _batch_of_new(self, now: float) -> Batch:
        # It would raise at the end, which `_new_count` keeps it from.
        in_turn = iter(self._new.popleft, None)
        waiting = in_turn if len(self._new) == self._new_count else filter(self._is_waited_for, in_turn)
        chosen = list(islice(waiting, min(BATCH_SIZE, self._new_count)))
        self._new_count -= len(chosen)
        # IDs that were polled before are not new to the strategy, nor to the clock of their grace.
        history = [self._history.pop(entry.task_id) for entry in chosen if entry.task_id in self._history]
        return Batch(
            chosen,
            due=now,
            polls=min(polls for polls, _ in history) if len(history) == len(chosen) else 0,
            answered=min((answered for _, answered in history), default=self._outage.healthy(now)),
        )

    def _with_riders(self, batch: Batch) -> Batch:
        """Fill a call up with those who are next due; they ride free, and are paced anew with all the others."""
        riders, sources = self._queue.pop_riders(BATCH_SIZE - batch.live)
        if not riders:
            return batch
        return Batch(
            batch.entries + riders,
            due=batch.due,
            polls=min(source.polls for source in (batch, *sources)),
            answered=min(source.answered for source in (batch, *sources)),
        )

    # -- what came of it ----------------------------------------------------------------------------------------------

    def knows(self, batch: Batch, fingerprint: int) -> bool:
        """Whether an answer of this fingerprint tells nothing that anybody has yet to hear."""
        if batch.fingerprint != fingerprint:
            return False
        return not self._shown_next or self._shown_next.isdisjoint(batch.task_ids)

    def same_answer(self, batch: Batch, now: float) -> News:
        """Take in an answer that `knows` has told of, and put the batch back."""
        self._answered(batch, now)
        if not batch.live:
            return News()
        batch.alone = False
        try:
            self._put_back(batch, now)
        except Exception as error:  # noqa: BLE001 - the strategy is the user's code
            return News(error=error)
        return _NO_NEWS

    def answer(  # noqa: PLR0913 - an answer has these parts, and an object for them would be made on every poll
        self,
        batch: Batch,
        task_ids: list[str],
        statuses: list[str],
        *,
        total_count: int | None,
        unread: int = 0,
        fingerprint: int | None,
        age_of: Callable[[int], float | None],
        now: float,
    ) -> News:
        """Take in a good answer and put the batch back.

        Args:
            batch: The batch that was asked.
            task_ids: The rows' IDs.
            statuses: The rows' statuses, "" for one that could not be read.
            total_count: How many tasks the service says there are. An ID is absent only from an answer whose count is
                that of its rows.
            unread: Rows that could not be read: any missing ID may be in one of them.
            fingerprint: What the same answer would have again.
            age_of: The age in seconds of the task in a row of that index; None if the row does not say.
            now: The time.

        Returns:
            The changes to report, the IDs whose wait is over, and the wait strategy's error if it raised one.
        """
        asked = set(batch.task_ids)
        self._answered(batch, now)
        news = News()
        index_of = _rows_by_id(task_ids, statuses)
        # With rows unread, or for other IDs, or not as many as the service counts, a missing ID may exist. An answer
        # without a count is believed when it is about one ID.
        is_counted = len(asked) == 1 if total_count is None else total_count in {len(index_of), len(task_ids)}
        is_cut = unread > 0 or not is_counted or not asked.issuperset(index_of)
        try:
            is_whole = self._sort_out(news, batch, index_of, statuses, age_of, now, is_cut=is_cut)
        except Exception as error:  # noqa: BLE001 - the strategy is the user's code; what the answer brought stays true
            news.error = error
        else:
            batch.fingerprint = fingerprint if is_whole else None
        return news

    def _answered(self, batch: Batch, now: float) -> None:
        self._land(batch)
        self._outage.answered(now)
        self._suspicion.answered()

    def _sort_out(  # noqa: PLR0913, PLR0917 - see `answer`
        self,
        news: News,
        batch: Batch,
        index_of: Mapping[str, int],
        statuses: list[str],
        age_of: Callable[[int], float | None],
        now: float,
        *,
        is_cut: bool,
    ) -> bool:
        """Returns whether the answer held all of the batch, and the batch stays as it was."""
        batch.fingerprint = batch.youngest = None
        shown_next = self._shown_next
        changes = news.changes
        settled: list[Entry] = []
        staying: list[Entry] = []
        missing: list[Entry] = []
        # Those of one age share their time of birth: a number each would be a fifth of what a waiting task costs.
        born: dict[float, float] = {}
        for entry in batch.entries:
            task_id = entry.task_id
            index = index_of.get(task_id)
            if index is None:
                if not self._is_over(entry, batch, is_cut=is_cut):
                    missing.append(entry)
                elif is_cut:
                    news.unlisted.append(entry)
                else:
                    news.gone.append(entry)
                continue
            entry.missing = None
            status = statuses[index]
            is_new = status != entry.status
            if is_new or (shown_next and task_id in shown_next):
                changes.append((entry, index, is_new))
            if status in _SETTLED:
                settled.append(entry)
                continue
            shown_next.discard(task_id)
            staying.append(entry)
            if is_new:
                if entry.status is None and (age := age_of(index)) is not None:
                    entry.born = born.setdefault(age, now - age)
                entry.see(status)
        self._forget_landed(settled)
        self._forget_landed([*news.gone, *news.unlisted])
        self._regroup(batch, staying, missing, now)
        return not missing and batch.live == len(batch.entries)

    def _is_over(self, entry: Entry, batch: Batch, *, is_cut: bool) -> bool:
        """Whether the wait for a missing ID is over: absent for the grace, or counted but unlisted for the budget.

        Only time between answers counts. An answer, however late it comes, shows the time when it was asked for.
        """
        is_first = entry.missing is None or entry.missing.since is None
        missing = entry.missing = entry.missing or Missing()
        asked_at = self._outage.healthy(batch.asked_at)
        since_last = asked_at - batch.answered
        if is_cut:
            missing.from_cut_answer(asked_at, since_last)
            # Among others an ID may have been cut off; asked alone, it would have been listed.
            may_end = batch.live == 1
        else:
            missing.from_whole_answer(asked_at, since_last if batch.trail else 0.0)
            may_end = not is_first
        return may_end and asked_at >= missing.ends(self._policy.not_found_grace, self._policy.outage_budget) - TICK

    def _regroup(self, batch: Batch, staying: list[Entry], missing: list[Entry], now: float) -> None:
        """Put those who still wait back, in batches of one pace; the same batch again if nobody left it."""
        apart: list[Entry] = []
        together: list[Entry] = []
        for entry in missing:
            needs_own_call = batch.alone or (entry.missing is not None and entry.missing.needs_own_call)
            (apart if needs_own_call else together).append(entry)
        if apart:
            self._ask_on_their_own(batch, apart, progress=bool(staying), now=now)
        groups = [staying + together] if len(self._entries) <= BATCH_SIZE else [*_by_pace(staying, now), together]
        for group in filter(None, groups):
            if len(group) == len(batch.entries):
                batch.alone = False
                self._put_back(batch, now)
            else:
                self._put_back(Batch(group, due=now, polls=batch.polls), now)

    def _ask_on_their_own(self, batch: Batch, entries: list[Entry], *, progress: bool, now: float) -> None:
        own = Batch(entries, due=now, polls=batch.polls, answered=self._outage.healthy(now))
        is_cut = any(entry.missing is not None and entry.missing.cuts for entry in entries)
        if not is_cut or len(batch.entries) == 1:
            own.alone = True
            self._put_back(own, now)
            return
        # Where fewer at once did not help, still fewer may.
        stuck = batch.alone and not progress and len(entries) > 1
        for part in own.halves(due=now) if stuck else [own]:
            part.alone = True
            self._queue.push(part)

    def _put_back(self, batch: Batch, now: float) -> None:
        """Pace a batch that was answered: the strategy is asked once, for its youngest."""
        batch.faults = batch.trail = 0
        batch.is_refused = False
        batch.polls += 1
        batch.answered = self._outage.healthy(now)
        if batch.youngest is None:
            batch.youngest = max(entry.born for entry in batch.entries)
        batch.due = now + ask(self._policy.wait, polls=batch.polls, age=max(0.0, now - batch.youngest))
        if batch.fingerprint is None:
            for entry in batch.entries:
                if entry.missing is not None:
                    ends = entry.missing.ends(self._policy.not_found_grace, self._policy.outage_budget)
                    batch.due = min(batch.due, now + max(ends - batch.answered, 0.0))
        self._queue.push(batch)

    # -- faults -------------------------------------------------------------------------------------------------------

    def throttled(self, batch: Batch, *, asked_at: float, retry_after: float | None, now: float) -> None:
        """The service wants fewer calls: the whole region pauses; no ID is to blame."""
        self._outage.throttled(asked_at, now, retry_after or 0.0)
        self.returned(batch, now)

    def fault(self, batch: Batch, *, asked_at: float, now: float, retry_after: float | None = None) -> Verdict:
        """A passing fault: the batch comes again later, in halves if it keeps failing; if all fails, all pause."""
        self._land(batch)
        self._outage.failed(asked_at, now, retry_after or 0.0)
        if not batch.live:
            return Verdict()
        return self._carry_out(self._suspicion.fault(batch, now, only=self._is_all(batch)), now)

    def rejected(self, batch: Batch, error: ApiError, now: float) -> Verdict:
        """The service refused the batch: the one bad ID is hunted down, unless the refusal is about the region."""
        asked = len(batch.entries)
        self._land(batch)
        if batch.live < asked:
            # The bad one may have left meanwhile.
            self._ask_again(batch, now)
            return Verdict()
        verdict = self._suspicion.rejected(batch, error, now, only=self._is_all(batch))
        for part in verdict.again:
            part.is_refused = True
        try:
            for part in verdict.unknown:
                verdict.gone += self._not_known(part, now)
        except Exception as failure:  # noqa: BLE001 - the strategy is the user's code
            verdict.error = failure
        return self._carry_out(verdict, now)

    def _not_known(self, batch: Batch, now: float) -> list[Entry]:
        """The service says that it does not know the batch's only ID: an absence. Returns the entry if it is gone."""
        self._outage.answered(now)
        (entry,) = batch.entries
        if self._is_over(entry, batch, is_cut=False):
            self._forget_landed([entry])
            return [entry]
        batch.alone = True
        self._put_back(batch, now)
        return []

    def _is_all(self, batch: Batch) -> bool:
        return batch.live == len(self._entries)

    def _carry_out(self, verdict: Verdict, now: float) -> Verdict:
        for part in verdict.again:
            part.alone = True
            part.due = self._outage.retry_by(part.due, now)
            self._queue.push(part)
        self._forget_landed(verdict.guilty)
        return verdict

    def returned(self, batch: Batch, now: float) -> None:
        """The call came to nothing that says anything of its IDs: ask again."""
        self._land(batch)
        self._ask_again(batch, now)

    def _ask_again(self, batch: Batch, now: float) -> None:
        if batch.live:
            batch.due = now
            self._queue.push(batch)

    def abandon(self, batch: Batch) -> None:
        """The call is over, whatever came of it."""
        self._land(batch)
        if self._hurried:
            for entry in batch.entries:
                if entry.task_id in self._hurried:
                    self._hurried.discard(entry.task_id)
                    if self._entries.get(entry.task_id) is entry:
                        self.hurry(entry)

    def oldest_call(self) -> float:
        """When the oldest of the calls under way was made."""
        return min(batch.asked_at for batch in self._flying)

    @property
    def in_flight(self) -> int:
        """Calls under way."""
        return len(self._flying)

    def _land(self, batch: Batch) -> None:
        if not batch.in_flight:
            return
        batch.in_flight = False
        self._flying.discard(batch)
        if self._left_in_flight:
            for entry in batch.entries:
                if self._left_in_flight.get(entry.task_id) is entry:
                    del self._left_in_flight[entry.task_id]
                    entry.batch = None
        batch.drop_those_who_left()

    def _forget_landed(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            del self._entries[entry.task_id]
            if self._shown_next:
                self._shown_next.discard(entry.task_id)
            if entry.batch is not None:
                entry.batch.live -= 1
                entry.batch = None


def _rows_by_id(task_ids: Sequence[str], statuses: Sequence[str]) -> dict[str, int]:
    """The row of each ID. Of rows that contradict each other the one that says the task has ended is right."""
    index_of = dict(zip(task_ids, range(len(task_ids)), strict=True))
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
        groups.setdefault(int(8 * math.log2(age + 30)), []).append(entry)
    return list(groups.values())
