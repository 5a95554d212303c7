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
        needs_witness: Whether another batch should be asked, to see whether the region rejects that, too.
        error: The wait strategy's error, which ends the region's waits.
    """

    again: list[Batch] = field(default_factory=list)
    culprit: Entry | None = None
    unknown: list[Batch] = field(default_factory=list)
    gone: list[Entry] = field(default_factory=list)
    is_regional: bool = False
    needs_witness: bool = False
    error: Exception | None = None


@dataclass(slots=True)
class _Doubt:
    """A rejection that may be about IDs or about the region.

    The batch is halved again and again. The region rejects everything if it rejects the one ID that is left in the end
    and each of the other halves on the way.

    Attributes:
        since: When it began.
        smallest: The half that is halved further.
        is_whole: Whether the batch held all IDs of the region. If not, one more batch has to be rejected.
        others: The other halves, and whether each was rejected.
        is_narrowed: Whether the last ID was rejected.
    """

    since: float
    smallest: Batch
    is_whole: bool
    others: dict[Batch, bool] = field(default_factory=dict)
    is_narrowed: bool = False


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
        self._doubt: _Doubt | None = None

    def answered(self) -> None:
        """The region gave a good answer, so what it rejects meanwhile is about IDs."""
        self._answers += 1
        self._doubt = None

    def is_own_fault(self, batch: Batch, *, is_only: bool) -> bool:
        """Whether a fault says nothing about the region: it answered others since this batch failed the last time.

        So it is with an ID that stands alone if the region has answered others since its first fault.
        """
        trouble = batch.trouble
        if trouble is None:
            return False
        stands_alone = batch.live == 1 and not is_only and self._answers > trouble.answers
        return stands_alone or self._answers > trouble.answers_at_fault

    def merge_halves(self, batches: list[Batch], now: float) -> list[Batch]:
        """Put together what was halved while the region, until its last answer, answered nothing.

        An outage may have been the cause. If not, the next fault halves it again.
        """
        halves = [
            batch for batch in batches if batch.trouble is not None and self._was_halved_in_silence(batch.trouble)
        ]
        troubles = [batch.trouble for batch in halves if batch.trouble is not None]
        since = min((trouble.since for trouble in troubles), default=now)
        answers = min((trouble.answers for trouble in troubles), default=0)
        entries: list[Entry] = []
        for batch in halves:
            batch.drop_left()
            entries += batch.entries
            batch.live = 0
        merged = []
        for start in range(0, len(entries), BATCH_SIZE):
            batch = Batch.merged(entries[start : start + BATCH_SIZE], halves, due=now)
            batch.exclusive = True
            batch.trouble = Trouble(since, answers, self._answers, faults=_FAULTS_BEFORE_HALVING - 1)
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
        trouble = self._trouble(batch)
        others_answered = self._answers > trouble.answers_at_fault
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
        names_ids = _names_ids(error)
        if not names_ids and re.search(_ABOUT_REGION, error.code or ""):
            return Decision(is_regional=True)
        trouble = self._trouble(batch)
        trouble.rejections += 1
        is_alone = batch.live == 1
        trouble.rejections_alone += is_alone
        if is_alone and batch.entries[0].status is not None and trouble.rejections_alone < _REJECTIONS_OF_KNOWN:
            batch.due = now + _RETRY
            return Decision(again=[batch])
        if names_ids or self._answers > trouble.answers:
            return Decision(culprit=batch.entries[0]) if is_alone else Decision(again=batch.halves())
        if is_alone and is_only:
            return Decision(is_regional=True)
        return self._narrow(batch, now, is_only=is_only)

    def _narrow(self, batch: Batch, now: float, *, is_only: bool) -> Decision:
        """Halve a batch that was rejected for an unclear reason, and see whether the region answers anything."""
        if self._doubt is None or not self._doubt.smallest.live:
            self._doubt = _Doubt(now, batch, is_only)
        doubt = self._doubt
        if batch is doubt.smallest and batch.live > 1:
            doubt.smallest, other = halves = batch.halves()
            doubt.others[other] = False
            return Decision(again=halves)
        if batch is doubt.smallest:
            doubt.is_narrowed = True
        elif batch in doubt.others:
            doubt.others[batch] = True
        else:
            doubt.is_whole = True
        # A region that has answered before may reject everything for a few seconds.
        has_lasted = not self._answers or now >= doubt.since + _HOLD
        are_rejected = all(rejected for other, rejected in doubt.others.items() if other.live)
        if doubt.is_narrowed and are_rejected and has_lasted and doubt.is_whole:
            return Decision(is_regional=True)
        batch.due = now + _HOLD
        return Decision(again=[batch], needs_witness=doubt.is_narrowed and not doubt.is_whole)


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


def _names_ids(error: ApiError) -> bool:
    return bool(re.search(_ABOUT_IDS, error.code or "")) or (
        bool(re.search(_ABOUT_IDS, error.message)) and not re.search(_ABOUT_REGION, error.code or "")
    )
