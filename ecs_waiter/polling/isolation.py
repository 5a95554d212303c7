"""Isolation: which ID makes the service reject a batch or fail on it, and when the cause is not an ID at all."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ecs_waiter.polling.batch import BATCH_SIZE, Batch, Trouble
from ecs_waiter.polling.outage import TICK

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecs_waiter.errors import ApiError
    from ecs_waiter.polling.batch import Entry

__all__ = ["Decision", "Isolation"]

_FAULTS_BEFORE_HALVING = 3
"""Faults in a row after which a batch is halved. Its halves are halved after each further fault."""

_REJECTIONS_OF_KNOWN = 3
"""Rejections in a row after which an ID is rejected for good although it was answered before."""

_RETRY = 1.0
"""Seconds until a batch is asked again while the region answers others."""

_HOLD = 3.0
"""Seconds that a rejected group of IDs waits while other groups show whether the region rejects everything."""

# Compiled by `re` when first used: most programs never get a rejection.
_ABOUT_IDS = r"(?i)task[ _-]?ids?(?![a-z])"
_UNKNOWN_ID = "invalidtaskid.notfound"
_WORD = r"[\w.*~-]+"
_ABOUT_REGION = (
    r"(?i)region|^(MissingParameter|InvalidAction|InvalidVersion|UnsupportedOperation"
    r"|InvalidOperation\.NotSupportedEndpoint)"
)


@dataclass(slots=True)
class Decision:
    """What happens to a batch that got no good answer.

    Attributes:
        again: Batches to ask again when they are due.
        culprit: The entry that caused it; it alone gets the error.
        unknown: Batches of one entry each that the service says it does not know.
        gone: Entries of these whose grace is over.
        is_regional: Whether the error is about the region, so that it ends all its waits.
        error: The wait strategy's error, which ends the region's waits.
    """

    again: list[Batch] = field(default_factory=list)
    culprit: Entry | None = None
    unknown: list[Batch] = field(default_factory=list)
    gone: list[Entry] = field(default_factory=list)
    is_regional: bool = False
    error: Exception | None = None


@dataclass(slots=True)
class _Doubt:
    """A rejection that may be about IDs or about the region.

    The batch is halved again and again. The region rejects everything if it rejects the one ID that is left in the end
    and each of the other halves on the way.

    Attributes:
        since: When it began.
        smallest: The half that is halved further.
        others: The other halves that were not rejected so far.
        is_narrowed: Whether the last ID was rejected.
        codes: The codes of the rejections.
    """

    since: float
    smallest: Batch
    others: list[Batch] = field(default_factory=list)
    is_narrowed: bool = False
    codes: set[str | None] = field(default_factory=set)


class Isolation:
    """Finds the IDs of one region that its faults and rejections are about.

    Args:
        budget: Seconds for which an ID may fail alone.
        backoff: Seconds to wait after that many faults in a row.
    """

    def __init__(self, budget: float, backoff: Callable[[int], float]) -> None:
        self._budget = budget
        self._backoff = backoff
        self._answers = 0
        self._codes_about_ids: set[str | None] = set()
        self._doubt: _Doubt | None = None

    def answered(self) -> None:
        """The region gave a good answer, so what it rejects meanwhile is about IDs."""
        self._answers += 1
        if self._doubt is not None:
            self._codes_about_ids |= self._doubt.codes
            self._doubt = None

    def others_answered(self, batch: Batch) -> bool:
        """Whether the region has answered others since this batch failed the last time."""
        return batch.trouble is not None and self._answers > batch.trouble.answers_at_fault

    def merge_halves(self, batches: list[Batch], now: float) -> list[Batch]:
        """Put together what was halved while the region, until its last answer, answered nothing.

        An outage may have been the cause. If not, the next fault halves it again.
        """
        halves = [
            batch for batch in batches if batch.trouble is not None and self._was_halved_in_silence(batch.trouble)
        ]
        since = min((batch.trouble.since for batch in halves if batch.trouble is not None), default=now)
        entries: list[Entry] = []
        for batch in halves:
            batch.drop_left()
            entries += batch.entries
            batch.live = 0
        merged = []
        for start in range(0, len(entries), BATCH_SIZE):
            batch = Batch.merged(entries[start : start + BATCH_SIZE], halves, due=now)
            batch.exclusive = True
            batch.trouble = Trouble(since, self._answers, self._answers, faults=_FAULTS_BEFORE_HALVING - 1)
            merged.append(batch)
        return merged

    def _was_halved_in_silence(self, trouble: Trouble) -> bool:
        in_silence = self._answers <= trouble.answers + 1
        return in_silence and trouble.faults >= _FAULTS_BEFORE_HALVING and not trouble.rejections

    def _trouble(self, batch: Batch) -> Trouble:
        if batch.trouble is None:
            batch.trouble = Trouble(batch.asked_at, self._answers, self._answers)
        return batch.trouble

    def fault(self, batch: Batch, now: float) -> Decision:
        """A batch had a transient fault. It is retried, and halved if it keeps failing, until one ID stands alone."""
        others_answered = self.others_answered(batch)
        trouble = self._trouble(batch)
        trouble.faults += 1
        trouble.answers_at_fault = self._answers
        batch.due = now + self._backoff(trouble.faults)
        if batch.live == 1:
            ends = trouble.since + self._budget
            if self._answers > trouble.answers:
                if now >= ends - TICK:
                    return Decision(culprit=batch.entries[0])
                batch.due = min(batch.due, ends)
            return Decision(again=[batch])
        if others_answered:
            batch.due = now + _RETRY
        return Decision(again=batch.halves() if trouble.faults >= _FAULTS_BEFORE_HALVING else [batch])

    def rejected(self, batch: Batch, error: ApiError, now: float, *, is_only: bool) -> Decision:
        """A batch was rejected. It is halved at once, until the rejected ID stands alone.

        The words of the error decide whether it is about IDs or the region. Where they are unclear, it is about IDs if
        the region answers any other group of IDs.

        Args:
            batch: The batch.
            error: The rejection.
            now: The time.
            is_only: Whether the region has no other IDs.
        """
        batch.due = now
        if (error.code or "").lower() == _UNKNOWN_ID:
            return _unknown(batch, error)
        is_about_ids = error.code in self._codes_about_ids or _is_about_ids(error)
        if not is_about_ids and re.search(_ABOUT_REGION, error.code or ""):
            return Decision(is_regional=True)
        trouble = self._trouble(batch)
        trouble.rejections += 1
        if batch.live == 1 and batch.entries[0].status is not None and trouble.rejections < _REJECTIONS_OF_KNOWN:
            batch.due = now + _RETRY
            return Decision(again=[batch])
        if is_about_ids:
            return Decision(culprit=batch.entries[0]) if batch.live == 1 else Decision(again=batch.halves())
        if batch.live == 1 and is_only:
            return Decision(is_regional=True)
        return self._narrow(batch, error.code, now)

    def _narrow(self, batch: Batch, code: str | None, now: float) -> Decision:
        """Halve a batch that was rejected for an unclear reason, and see whether the region answers anything."""
        if self._doubt is None or not self._doubt.smallest.live:
            self._doubt = _Doubt(now, batch)
        doubt = self._doubt
        doubt.codes.add(code)
        if batch is doubt.smallest and batch.live > 1:
            doubt.smallest, other = halves = batch.halves()
            doubt.others.append(other)
            return Decision(again=halves)
        doubt.is_narrowed |= batch is doubt.smallest
        doubt.others = [other for other in doubt.others if other.live and other is not batch]
        # A region that has answered before may reject everything for a few seconds.
        has_lasted = not self._answers or now >= doubt.since + _HOLD
        if doubt.is_narrowed and not doubt.others and has_lasted:
            return Decision(is_regional=True)
        batch.due = now + _HOLD
        return Decision(again=[batch])


def _unknown(batch: Batch, error: ApiError) -> Decision:
    """The batch holds an ID that the service does not know: the message may name it, otherwise halves are asked."""
    words = set(re.findall(_WORD, error.message))
    named = [entry for entry in batch.entries if entry.task_id in words] if batch.live > 1 else batch.entries
    if not named:
        return Decision(again=batch.halves())
    others = [entry for entry in batch.entries if entry not in named]
    return Decision(
        again=[batch.part(others)] if others else [],
        unknown=[batch.part([entry]) for entry in named],
    )


def _is_about_ids(error: ApiError) -> bool:
    return bool(re.search(_ABOUT_IDS, error.code or "")) or (
        bool(re.search(_ABOUT_IDS, error.message)) and not re.search(_ABOUT_REGION, error.code or "")
    )
