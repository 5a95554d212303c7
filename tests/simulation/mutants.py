"""Breaks the scheduler in each of a dozen ways, and checks that the simulation notices: ``make mutants``.

The mutants patch private names, so this is not a test but a program to run after the scheduler or the simulation
changed. It fails if a mutant survives, if a name that a mutant patches does not exist, or if a mutant's own code no
longer fits what it replaces.
"""

from __future__ import annotations

import contextlib
import functools
import heapq
import logging
import sys
from typing import TYPE_CHECKING, Any
from unittest import mock

from support.oracle import violations
from support.playing import play
from support.worlds import make_world

from ecs_waiter.polling.policy import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SEEDS = 200
_outdated: list[Exception] = []


def _mutation(function: Callable[..., Any]) -> Callable[..., Any]:
    """Record an error of the mutation itself, which must not pass for a violation that the simulation found."""

    @functools.wraps(function)
    def mutated(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except (AttributeError, ImportError, TypeError) as error:
            _outdated.append(error)
            raise

    return mutated


@_mutation
def _remove_nothing_from_its_batch(self: Any, entry: Any) -> None:
    del self._entries[entry.task_id]


@_mutation
def _lose_the_rest(self: Any, room: int) -> tuple[list[Any], list[Any]]:
    entries: list[Any] = []
    sources: list[Any] = []
    while len(entries) < room and (self.has_new() or any(batch.live for batch in self._ordinary)):
        source = self._new.popleft() if self.has_new() else heapq.heappop(self._ordinary)
        source.drop_left()
        sources.append(source)
        entries += source.entries[: room - len(entries)]
    return entries, sources


@_mutation
def _lose_what_failed(self: Any, decision: Any, now: float) -> Any:
    self._drop([decision.culprit] if decision.culprit else [])
    return decision


@_mutation
def _blame_the_first(self: Any, batch: Any, *_rest: Any, **_named: Any) -> Any:
    from ecs_waiter.polling.isolation import Decision  # noqa: PLC0415 - a name that may be gone, for this mutant alone

    return Decision(culprit=batch.entries[0])


@_mutation
def _five_times_too_slow(*args: Any, **kwargs: Any) -> float:
    return 5 * ask(*args, **kwargs) + 60


@contextlib.contextmanager
def _all_reported_again() -> Iterator[None]:
    from ecs_waiter.polling.schedule import PollSchedule  # noqa: PLC0415 - as above

    answer = PollSchedule.answer

    @_mutation
    def forget_what_was_reported(self: Any, batch: Any, *rest: Any) -> Any:
        for entry in batch.entries:
            entry.forget()
        return answer(self, batch, *rest)

    with mock.patch.object(PollSchedule, "answer", forget_what_was_reported):
        yield


def _patch(name: str, *new: Any, **kwargs: Any) -> contextlib.AbstractContextManager[Any]:
    patch: contextlib.AbstractContextManager[Any] = mock.patch(f"ecs_waiter.{name}", *new, **kwargs)
    return patch


MUTANTS = {
    "more than a hundred IDs to a call": _patch("polling.queue.BATCH_SIZE", 130),
    "canceled tasks go on": _patch("polling.schedule.FINAL_STATUSES", frozenset({"Finished", "Failed"})),
    "gone at the first absence": _patch("polling.schedule.PollSchedule._is_over", return_value=True),
    "never gone": _patch("polling.schedule.PollSchedule._is_over", return_value=False),
    "an endless outage budget": _patch("polling.outage.Outage.ends", float("inf")),
    "removed IDs are still polled": _patch("polling.schedule.PollSchedule.remove", _remove_nothing_from_its_batch),
    "the rest of a split batch is lost": _patch("polling.queue.BatchQueue.pop_next", _lose_the_rest),
    "batches that failed are lost": _patch("polling.schedule.PollSchedule._carry_out", _lose_what_failed),
    "the first of a rejected batch is blamed": _patch("polling.isolation.Isolation.rejected", _blame_the_first),
    "a fault blames the first": _patch("polling.isolation.Isolation.fault", _blame_the_first),
    "a slow cadence": _patch("polling.schedule.ask", _five_times_too_slow),
    "no rate limit": _patch("api.quotas.CallLog.next_at", return_value=float("-inf")),
    "budgets run on in gaps": _patch("running_clock.GAP", float("inf")),
    "everything is reported again": _all_reported_again(),
}


def first_noticed(mutant: contextlib.AbstractContextManager[Any]) -> int | None:
    """The first seed whose world shows that something is wrong.

    Raises:
        AttributeError: What the mutant patches or uses does not exist. So do ImportError and TypeError.
    """
    with mutant:
        for seed in range(_SEEDS):
            found = violations(play(make_world(seed)))
            if _outdated:
                raise _outdated.pop()
            if found:
                return seed
    return None


def main() -> int:
    """Try every mutant; returns how many were not noticed or are out of date."""
    logging.getLogger("ecs_waiter").addHandler(logging.NullHandler())
    wrong = 0
    for name, mutant in MUTANTS.items():
        try:
            seed = first_noticed(mutant)
            result = f"SURVIVED {_SEEDS} worlds" if seed is None else f"noticed in world {seed}"
        except (AttributeError, ImportError, TypeError) as error:
            seed, result = None, f"OUT OF DATE: {type(error).__name__}: {error}"
            _outdated.clear()
        wrong += seed is None
        sys.stdout.write(f"{name}: {result}\n")
        sys.stdout.flush()
    return wrong


if __name__ == "__main__":
    sys.exit(bool(main()))
