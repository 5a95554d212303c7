"""Suspicion: which ID spoils a batch that the service refuses or keeps failing on, and when it is not an ID at all."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecs_waiter.errors import ApiError
    from ecs_waiter.polling.batch import Batch, Entry

__all__ = ["Suspicion", "Verdict"]

_SUSPECT = (3, 1e-3)
_STILL_SUSPECT = (1, 0.05)
_GUILTY = (6, 1e-6)
"""Faults in a row that make a batch suspect, its halves too, and a lone ID guilty: so many at least, and as many as
the region's other faults would bring about by chance with no more than this probability."""

_REFUSALS_BORNE = 3
"""How often one lone ID is refused in words that might mean the region before it is blamed."""

_PROBE_AGAIN = 1.0
"""Seconds until what is under suspicion is asked again while the region answers others."""

_REST_WAITS = 3.0
"""Seconds that the rest of a refused batch waits for the two IDs that are asked alone."""

# Compiled by `re` when first used: most programs never meet a refusal.
_ABOUT_IDS = r"(?i)task[ _-]?ids?(?![a-z])"
_UNKNOWN_ID = "invalidtaskid.notfound"
_WORD = r"[\w.*~-]+"
_ABOUT_REGION = (
    r"(?i)region|^(MissingParameter|InvalidAction|InvalidVersion|UnsupportedOperation"
    r"|InvalidOperation\.NotSupportedEndpoint)"
)


@dataclass(slots=True)
class Verdict:
    """What is to become of a batch that got no good answer.

    Attributes:
        again: Batches to ask again, when they are due.
        guilty: The entry that is to blame; it alone gets the error.
        unknown: Batches of one entry each that the service says it does not know.
        gone: Entries of these whose grace is over.
        is_regional: Whether the error is about the region, so that it ends all its waits.
        error: The wait strategy's, which ends the region's waits.
    """

    again: list[Batch] = field(default_factory=list)
    guilty: list[Entry] = field(default_factory=list)
    unknown: list[Batch] = field(default_factory=list)
    gone: list[Entry] = field(default_factory=list)
    is_regional: bool = False
    error: Exception | None = None


class Suspicion:
    """What one region's refusals and faults tell about its IDs.

    Args:
        backoff: Seconds to wait after so many faults in a row.
    """

    def __init__(self, backoff: Callable[[int], float]) -> None:
        self._backoff = backoff
        self._answers = 0
        self._faults = 0
        self._codes_about_ids: set[str | None] = set()
        self._doubtful = False
        self._code_in_doubt: str | None = None
        self._refused_alone: dict[str, int] = {}

    def answered(self) -> None:
        """The region gave a good answer: what it refuses meanwhile is about IDs, not about the region."""
        self._answers += 1
        if self._doubtful:
            self._codes_about_ids.add(self._code_in_doubt)
            self._doubtful = False
            self._refused_alone.clear()

    def fault(self, batch: Batch, now: float, *, only: bool) -> Verdict:
        """A batch failed in passing: it comes again, in halves if it keeps failing, until one ID stands alone.

        `only` says that the region has no other IDs; then what it answered since the trouble began has to do.
        """
        self._faults += 1
        batch.faults += 1
        batch.trail += 1
        if batch.trail == 1:
            batch.heard = batch.heard_first = self._answers
            batch.failed_first = self._faults - 1
        others_answered = self._answers > (batch.heard_first if only else batch.heard)
        batch.heard = self._answers
        due = now + (_PROBE_AGAIN if others_answered else self._backoff(batch.faults))
        if batch.live == 1:
            if others_answered and self._is_no_chance(batch, *_GUILTY, doubt=1):
                return Verdict(guilty=list(batch.entries))
        elif self._is_no_chance(batch, *(_STILL_SUSPECT if batch.trail > batch.faults else _SUSPECT)):
            return Verdict(again=batch.halves(due=due))
        batch.due = due
        return Verdict(again=[batch])

    def _is_no_chance(self, batch: Batch, at_least: int, probability: float, *, doubt: int = 0) -> bool:
        """Whether a batch failed more often than the region's faults with others, since then, explain.

        `doubt` adds that many faults and answers to what was seen: of a few answers no rate can be known for sure.
        """
        if batch.faults < at_least:
            return False
        others = max(0, self._faults - batch.failed_first - batch.trail) + doubt
        answers = self._answers - batch.heard_first + doubt
        rate = others / (others + answers) if others else 0.0
        return rate**batch.faults <= probability

    def rejected(self, batch: Batch, error: ApiError, now: float, *, only: bool) -> Verdict:
        """A batch was refused. `only` says that the region has no other IDs.

        The error's words decide where they can. Where they cannot, two IDs are asked alone: if the region answers
        anything, the words are about IDs from then on; if it refuses both alike, they are about the region.
        """
        if (error.code or "").lower() == _UNKNOWN_ID:
            return _unknown(batch, error, now)
        if error.code not in self._codes_about_ids and not _is_about_ids(error):
            if re.search(_ABOUT_REGION, error.code or "") or (batch.live == 1 and only):
                return Verdict(is_regional=True)
            return self._doubt(batch, error, now)
        if batch.live == 1:
            return Verdict(guilty=list(batch.entries))
        return Verdict(again=batch.halves(due=now))

    def _doubt(self, batch: Batch, error: ApiError, now: float) -> Verdict:
        if not self._doubtful or self._code_in_doubt != error.code:
            self._doubtful, self._code_in_doubt = True, error.code
            self._refused_alone.clear()
        if batch.live > 1:
            first, *rest, last = batch.entries
            again = [batch.part([first], due=now), batch.part([last], due=now)]
            if rest:
                again.append(batch.part(rest, due=now + _REST_WAITS))
            return Verdict(again=again)
        entry = batch.entries[0]
        self._refused_alone[entry.task_id] = self._refused_alone.get(entry.task_id, 0) + 1
        if len(self._refused_alone) > 1:
            return Verdict(is_regional=True)
        if self._refused_alone[entry.task_id] >= _REFUSALS_BORNE:
            return Verdict(guilty=[entry])
        batch.due = now + _PROBE_AGAIN
        return Verdict(again=[batch])


def _unknown(batch: Batch, error: ApiError, now: float) -> Verdict:
    """The batch holds an ID that the service does not know: the message may name it, else halves are asked."""
    words = set(re.findall(_WORD, error.message))
    named = [entry for entry in batch.entries if entry.task_id in words] if batch.live > 1 else batch.entries
    if not named:
        return Verdict(again=batch.halves(due=now))
    others = [entry for entry in batch.entries if entry not in named]
    return Verdict(
        again=[batch.part(others, due=now)] if others else [],
        unknown=[batch.part([entry], due=now) for entry in named],
    )


def _is_about_ids(error: ApiError) -> bool:
    return bool(re.search(_ABOUT_IDS, error.code or "")) or (
        bool(re.search(_ABOUT_IDS, error.message)) and not re.search(_ABOUT_REGION, error.code or "")
    )
