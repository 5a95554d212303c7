"""PollSchedule: which IDs are due now and when to wake - pure decisions, without clock, asyncio or I/O.

It gets the time and what happened, and returns what to do. IDs are grouped in batches: one call asks a batch, and the
wait strategy is asked once for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ecs_waiter.api.tasks import FINAL_STATUSES
from ecs_waiter.polling.batch import BATCH_SIZE, Batch, Entry
from ecs_waiter.polling.company import Company, grouped
from ecs_waiter.polling.isolation import Decision, Isolation
from ecs_waiter.polling.outage import TICK, Absence, Outage
from ecs_waiter.polling.policy import PollPolicy, ask, wait_adaptive
from ecs_waiter.polling.queue import BatchQueue, Calls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ecs_waiter.api.tasks import PollAnswer
    from ecs_waiter.errors import ApiError
    from ecs_waiter.polling.company import Learned

__all__ = ["PollResult", "PollSchedule"]

_LONGEST_ACTION = 100
_SLOW_PROBE = 5.0
"""Seconds after which a call under way no longer keeps a silent region from being asked again."""


@dataclass(slots=True)
class PollResult:
    """What an answer changes.

    Attributes:
        changes: Entries whose state is to be reported, each with whether it is new; one that is not new is reported to
            subscribers that joined late.
        gone: Entries whose grace is over.
        unlisted: Entries that the service has counted but not listed for the whole outage budget.
        error: The wait strategy's error, which ends the region's waits.
        last_answer: When the batch was answered the time before, or its IDs were added; minus infinity if an outage has
            ended since.
    """

    changes: list[tuple[Entry, bool]] = field(default_factory=list)
    gone: list[Entry] = field(default_factory=list)
    unlisted: list[Entry] = field(default_factory=list)
    error: Exception | None = None
    last_answer: float = -math.inf


class PollSchedule:
    """Which of one region's IDs to ask about, and when.

    Args:
        policy: The cadence and the grace.
        backoff: Seconds to wait after that many faults in a row.
        learned: The pause of a task by what was learned of such tasks.

    Attributes:
        calls: The calls under way.
    """

    def __init__(self, policy: PollPolicy, backoff: Callable[[int], float], learned: Learned | None = None) -> None:
        self._policy = policy
        self._learned = learned
        self._backoff = backoff
        self.calls = Calls()
        self._start_over()

    def _start_over(self) -> None:
        self._entries: dict[str, Entry] = {}
        rule = self._policy.wait
        self._company = Company(rule, self._learned) if type(rule) is wait_adaptive else None
        self._queue = BatchQueue(self._company)
        self._renotify: set[str] = set()
        self._poll_again: set[str] = set()
        self._outage = Outage(self._policy.outage_budget, self._backoff)
        self._isolation = Isolation(self._policy.outage_budget, self._backoff)

    # -- who waits ----------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._entries

    def __repr__(self) -> str:
        return f"PollSchedule({len(self._entries)} IDs, {len(self.calls)} calls under way)"

    def find(self, task_id: str) -> Entry | None:
        """Return the entry of an ID that is waited for."""
        return self._entries.get(task_id)

    def add(self, task_ids: Iterable[str], now: float, *, is_started: bool = False) -> list[Entry]:
        """Add IDs, and return their entries: those they already have, or new ones.

        In company, tasks that were started right now need no first look.
        """
        if not self._entries and not self.calls:
            self._outage.restart(now)
        known = self._entries
        entries: list[Entry] = []
        new: list[Entry] = []
        for task_id in task_ids:
            entry = known.get(task_id)
            if entry is None:
                entry = self.calls.come_back(task_id)
                if entry is None:
                    entry = Entry(task_id, now)
                    new.append(entry)
                else:
                    self.renotify(entry)
                known[task_id] = entry
            entries.append(entry)
        if new:
            answered = self._outage.healthy_time(now)
            if is_started and self._company is not None:
                started = Batch(new, due=now, answered=answered)
                self._company.pace(started, now)
                self._queue.push(started)
            else:
                is_only = not self._queue.has_polled() and not self.calls.has_polled()
                self._queue.add_new(new, now=now, answered=answered, is_only=is_only)
        return entries

    def renotify(self, entry: Entry) -> None:
        """Have the next answer report the state of this entry even if it is unchanged."""
        self._renotify.add(entry.task_id)

    def is_isolating(self, entry: Entry) -> bool:
        """Whether the entry's last call was rejected, so that it is asked again with fewer others."""
        trouble = None if entry.batch is None else entry.batch.trouble
        return trouble is not None and trouble.rejections > 0

    def poll_now(self, entry: Entry) -> None:
        """Have an entry asked as if it were new; one whose call is under way is asked again after that."""
        if entry.batch is not None and entry.batch.in_flight:
            self._poll_again.add(entry.task_id)
        else:
            self._queue.ask_first(entry)

    def remove(self, entry: Entry) -> None:
        """Forget an ID: nobody waits for it any more."""
        del self._entries[entry.task_id]
        self._renotify.discard(entry.task_id)
        self._poll_again.discard(entry.task_id)
        if entry.batch is None:
            return
        entry.batch.live -= 1
        if entry.batch.in_flight:
            self.calls.leave(entry)
        else:
            entry.batch = None

    def clear(self) -> dict[str, Entry]:
        """Forget all IDs, and return their entries: the region has failed. Costs what is in flight, not what waits."""
        entries = self._entries
        self._start_over()
        self.calls.leave_all()
        return entries

    # -- who is asked when --------------------------------------------------------------------------------------------

    def wake_at(self) -> float:
        """When the next call is due; infinite while nothing waits for one."""
        due = self._queue.due_at(len(self._entries), is_silent=self._outage.is_silent)
        if due == math.inf:
            return due
        # An outage ends with a last try, no matter what is due then.
        due = max(min(due, self._outage.ends), self._outage.paused_until)
        if self._outage.is_silent and self.calls:
            # One call at a time, unless it takes long, can show whether the region answers again.
            due = max(due, self.calls.oldest() + _SLOW_PROBE)
        return due

    @property
    def outage_ends(self) -> float:
        """When the region is given up; infinite while it answers."""
        return self._outage.ends

    def is_spent(self, now: float) -> bool:
        """Whether the region has failed for the whole outage budget without one good answer."""
        return self._outage.is_spent(now)

    def take(self, now: float) -> Batch | None:
        """Compose the next call: new IDs first, then those due; room that is left carries those next due."""
        if self.wake_at() > now + TICK:
            return None
        batch = self._queue.pop(now, len(self._entries), is_silent=self._outage.is_silent)
        if batch is None:
            return None
        if not batch.exclusive and batch.live < BATCH_SIZE:
            # Further IDs cost no call; their pause begins again.
            entries, sources = self._queue.pop_next(BATCH_SIZE - batch.live)
            batch = Batch.merged(batch.entries + entries, [batch, *sources], due=batch.due) if entries else batch
        if self._company is not None and not batch.exclusive:
            self._company.called(now)
        self.calls.begin(batch, now)
        return batch

    # -- answers ------------------------------------------------------------------------------------------------------

    def answer(self, batch: Batch, answer: PollAnswer, now: float) -> PollResult:
        """Apply a good answer and put the batch back."""
        result = PollResult(last_answer=self._last_answer(batch, now))
        self._answered(batch, now)
        statuses = answer.statuses
        staying: list[Entry] = []
        changed: list[Entry] = []
        missing: list[Entry] = []
        for entry in batch.entries:
            status = statuses.get(entry.task_id, "")
            is_same = status == entry.seen[0] and entry.absence is None
            (staying if is_same else changed if status else missing).append(entry)
        if self._renotify:
            result.changes += [(entry, False) for entry in staying if entry.task_id in self._renotify]
        if changed:
            staying += self._apply_changes(result, changed, answer, now)
            batch.youngest = None
        if missing:
            missing = self._apply_absences(result, batch, missing, answer)
        self._renotify.difference_update(statuses)
        try:
            self._regroup(batch, staying, missing, now)
        except Exception as error:  # noqa: BLE001 - the strategy is the user's code; what the answer brought stays true
            result.error = error
        return result

    def _apply_changes(self, result: PollResult, changed: list[Entry], answer: PollAnswer, now: float) -> list[Entry]:
        """Note new statuses; return the entries that go on."""
        timestamps: dict[float, float] = {}
        going_on: list[Entry] = []
        for entry in changed:
            status = answer.statuses[entry.task_id]
            is_new = status != entry.status
            if is_new or entry.task_id in self._renotify:
                result.changes.append((entry, is_new))
            entry.absence = None
            if status in FINAL_STATUSES:
                continue
            going_on.append(entry)
            if entry.status is None and (age := answer.age_of(entry.task_id)) is not None:
                # Share equal timestamps: a float for each task would add 20 % memory.
                entry.created_at = min(timestamps.setdefault(age, now - age), entry.created_at)
            entry.see(status, answer.task(entry.task_id).task_action[:_LONGEST_ACTION])
        self._drop(entry for entry in changed if answer.statuses[entry.task_id] in FINAL_STATUSES)
        return going_on

    def _apply_absences(
        self, result: PollResult, batch: Batch, missing: list[Entry], answer: PollAnswer
    ) -> list[Entry]:
        """Note which IDs an answer lacks; return the entries whose wait goes on."""
        is_complete = answer.is_complete(set(batch.task_ids))
        over = [entry for entry in missing if self._is_over(entry, batch, is_complete=is_complete)]
        if not over:
            return missing
        (result.gone if is_complete else result.unlisted).extend(over)
        self._drop(over)
        return [entry for entry in missing if entry.batch is not None]

    def _answered(self, batch: Batch, now: float) -> None:
        self.calls.end(batch)
        was_silent = self._outage.is_silent
        self._outage.answered(now)
        self._isolation.answered()
        if was_silent:
            for merged in self._isolation.merge_halves(self._queue.exclusive(), now):
                self._queue.push(merged)

    def _is_over(self, entry: Entry, batch: Batch, *, is_complete: bool) -> bool:
        """Whether the wait for a missing ID is over: absent for the grace, or counted but unlisted for the budget."""
        entry.absence = entry.absence or Absence(self._policy.not_found_grace, self._policy.outage_budget)
        # Only time between answers counts. An answer, however late it comes, shows the time when it was asked for.
        asked_at = self._outage.healthy_time(batch.asked_at)
        since_last = asked_at - batch.answered
        if not is_complete:
            return entry.absence.in_truncated_answer(asked_at, since_last, is_alone=batch.live == 1)
        has_failed = batch.trouble is not None and batch.trouble.faults > 0
        return entry.absence.in_complete_answer(asked_at, since_last if has_failed else 0.0)

    def _regroup(self, batch: Batch, staying: list[Entry], missing: list[Entry], now: float) -> None:
        """Put the IDs that still wait back, in batches of one pace; the same batch again if no ID left it."""
        apart: list[Entry] = []
        together: list[Entry] = []
        for entry in missing:
            needs_own_call = batch.exclusive or (entry.absence is not None and entry.absence.needs_own_call)
            (apart if needs_own_call else together).append(entry)
        if apart:
            self._ask_apart(batch, apart, has_listed=bool(staying), now=now)
        is_one = len(self._entries) <= BATCH_SIZE
        groups = [staying + together] if is_one else [*grouped(staying, now, self._company), together]
        for group in filter(None, groups):
            if len(group) == len(batch.entries):
                batch.exclusive = False
                self._put_back(batch, now)
            else:
                self._put_back(Batch(group, due=now, polls=batch.polls), now)

    def _ask_apart(self, batch: Batch, entries: list[Entry], *, has_listed: bool, now: float) -> None:
        """Ask missing IDs in a call of their own; halve that call if it lists none of them either."""
        own = Batch(entries, due=now, polls=batch.polls, answered=self._outage.healthy_time(now))
        is_truncated = any(entry.absence is not None and entry.absence.truncated for entry in entries)
        if not is_truncated or len(batch.entries) == 1:
            own.exclusive = True
            self._put_back(own, now)
            return
        is_stuck = batch.exclusive and not has_listed and len(entries) > 1
        for part in own.halves() if is_stuck else [own]:
            part.exclusive = True
            self._queue.push(part)

    def _put_back(self, batch: Batch, now: float) -> None:
        """Pace a batch that was answered: the strategy is asked once, for its youngest task."""
        batch.trouble = None
        batch.polls += 1
        batch.answered = self._outage.healthy_time(now)
        ends = min((entry.absence.ends for entry in batch.entries if entry.absence is not None), default=math.inf)
        batch.by = now + max(ends - batch.answered, 0.0)
        if self._company is not None:
            self._company.pace(batch, now)
        else:
            if batch.youngest is None:
                batch.youngest = max(entry.created_at for entry in batch.entries)
            batch.due = now + ask(self._policy.wait, polls=batch.polls, age=max(0.0, now - batch.youngest))
        if self._company is None or batch.exclusive:
            batch.due = batch.rank = min(batch.due, batch.by)
        self._queue.push(batch)

    # -- faults -------------------------------------------------------------------------------------------------------

    def throttled(self, batch: Batch, now: float) -> None:
        """The service wants fewer calls: the batch is asked again as it is, when the limiter lets it."""
        self._outage.throttled(batch.asked_at)
        self.ask_again(batch, now)

    def fault(self, batch: Batch, *, now: float, retry_after: float | None = None) -> Decision:
        """A transient fault: the batch comes again later, in halves if it keeps failing; if all fails, all pause."""
        self.calls.end(batch)
        # While the region answers others, the fault is this batch's own.
        if retry_after or not self._isolation.is_own_fault(batch, is_only=batch.live == len(self._entries)):
            self._outage.failed(batch.asked_at, now, retry_after)
        if not batch.live:
            return Decision()
        return self._carry_out(self._isolation.fault(batch, now), now)

    def rejected(self, batch: Batch, error: ApiError, now: float) -> Decision:
        """The service rejected the batch: the bad ID is isolated, unless the rejection is about the region."""
        asked = len(batch.entries)
        self.calls.end(batch)
        if batch.live < asked:
            # The bad one may have left meanwhile.
            self.ask_again(batch, now)
            return Decision()
        is_only = batch.live == len(self._entries)
        decision = self._isolation.rejected(batch, error, now, is_only=is_only)
        try:
            for part in decision.unknown:
                decision.gone += self._not_known(part, now)
        except Exception as failure:  # noqa: BLE001 - the strategy is the user's code
            decision.error = failure
        return self._carry_out(decision, now)

    def _not_known(self, batch: Batch, now: float) -> list[Entry]:
        """The service says that it does not know the batch's only ID: an absence. Returns the entry if it is gone."""
        self._outage.answered(now)
        (entry,) = batch.entries
        if self._is_over(entry, batch, is_complete=True):
            self._drop([entry])
            return [entry]
        batch.exclusive = True
        self._put_back(batch, now)
        return []

    def _carry_out(self, decision: Decision, now: float) -> Decision:
        for part in decision.again:
            part.exclusive = True
            part.due = part.rank = self._outage.retry_by(part.due, now)
            self._queue.push(part)
        if decision.needs_witness:
            self._queue.ask_any()
        if decision.culprit is not None:
            self._drop([decision.culprit])
        return decision

    def ask_again(self, batch: Batch, now: float) -> None:
        """The call says nothing about its IDs: ask again."""
        self.calls.end(batch)
        if batch.live:
            batch.due = batch.rank = batch.by = now
            batch.weight = 0.0
            self._queue.push(batch)

    def end_call(self, batch: Batch, now: float) -> None:
        """The call is over. IDs that came while it was under way, and that it did not serve, are asked again."""
        if batch.in_flight:
            self.ask_again(batch, now)
        if self._poll_again:
            for entry in batch.entries:
                if entry.task_id in self._poll_again:
                    self._poll_again.discard(entry.task_id)
                    if self.find(entry.task_id) is entry:
                        self.poll_now(entry)

    def _last_answer(self, batch: Batch, now: float) -> float:
        at = now - (self._outage.healthy_time(now) - batch.answered)
        return at if at >= self._outage.ended_at - TICK else -math.inf

    def _drop(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            del self._entries[entry.task_id]
            self._renotify.discard(entry.task_id)
            if entry.batch is not None:
                entry.batch.live -= 1
                entry.batch = None
