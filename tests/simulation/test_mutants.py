"""Is the simulation worth its time? It notices a scheduler that was broken, in each of a dozen ways."""

from __future__ import annotations

import contextlib
import heapq
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from oracle import violations
from playing import play
from worlds import make_world

from ecs_waiter.api.quotas import CallLog
from ecs_waiter.polling import queue, schedule
from ecs_waiter.polling.outage import Outage
from ecs_waiter.polling.policy import ask
from ecs_waiter.polling.queue import BatchQueue
from ecs_waiter.polling.schedule import PollSchedule
from ecs_waiter.polling.suspicion import Suspicion, Verdict

if TYPE_CHECKING:
    from ecs_waiter.polling.batch import Batch, Entry
    from ecs_waiter.polling.schedule import News

_real_sort_out = PollSchedule._sort_out


def _remove_nothing_from_its_batch(self: PollSchedule, entry: Entry) -> None:
    del self._entries[entry.task_id]
    self._new_count -= entry.batch is None


def _lose_the_rest(self: BatchQueue, room: int) -> tuple[list[Entry], list[Batch]]:
    riders: list[Entry] = []
    sources: list[Batch] = []
    while len(riders) < room and queue._has_any(self._ordinary):
        source = heapq.heappop(self._ordinary)
        source.drop_those_who_left()
        sources.append(source)
        riders += source.entries[: room - len(riders)]
    return riders, sources


def _lose_what_failed(self: PollSchedule, verdict: Verdict, now: float) -> Verdict:
    self._forget_landed(verdict.guilty)
    return verdict


def _blame_all(self: Suspicion, batch: Batch, *_rest: Any, only: bool) -> Verdict:
    return Verdict(guilty=list(batch.entries))


def _forget_what_was_told(self: PollSchedule, news: News, batch: Batch, *rest: Any, is_cut: bool) -> None:
    for entry in batch.entries:
        entry.seen = None
    _real_sort_out(self, news, batch, *rest, is_cut=is_cut)


def _five_times_too_slow(*args: Any, **kwargs: Any) -> float:
    return 5 * ask(*args, **kwargs) + 60


# What is broken, and the first seed whose world shows it.
MUTANTS: dict[str, tuple[int, list[Any]]] = {
    "more than a hundred IDs to a call": (4, [mock.patch.object(schedule, "BATCH_SIZE", 130)]),
    "canceled tasks go on": (1, [mock.patch.object(schedule, "_SETTLED", frozenset({"Finished", "Failed"}))]),
    "gone at the first absence": (0, [mock.patch.object(PollSchedule, "_is_over", return_value=True)]),
    "never gone": (1, [mock.patch.object(PollSchedule, "_is_over", return_value=False)]),
    "an endless outage budget": (30, [mock.patch.object(Outage, "ends", float("inf"))]),
    "those who left are asked on": (5, [mock.patch.object(PollSchedule, "remove", _remove_nothing_from_its_batch)]),
    "the rest of a split batch is lost": (78, [mock.patch.object(BatchQueue, "pop_riders", _lose_the_rest)]),
    "batches that failed are lost": (4, [mock.patch.object(PollSchedule, "_carry_out", _lose_what_failed)]),
    "all in a refused batch are blamed": (4, [mock.patch.object(Suspicion, "rejected", _blame_all)]),
    "a fault blames all": (11, [mock.patch.object(Suspicion, "fault", _blame_all)]),
    "a slow cadence": (1, [mock.patch("ecs_waiter.polling.schedule.ask", _five_times_too_slow)]),
    "no rate": (4, [mock.patch.object(CallLog, "next_at", return_value=float("-inf"))]),
    "budgets run on in gaps": (53, [mock.patch("ecs_waiter.running_clock.GAP", float("inf"))]),
    "everything is told again": (
        0,
        [
            mock.patch.object(PollSchedule, "_sort_out", _forget_what_was_told),
            mock.patch.object(PollSchedule, "knows", return_value=False),
        ],
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_broken_scheduler_is_noticed(mutant: str) -> None:
    """What is broken shows in the world of a known seed, in which nothing is wrong otherwise."""
    seed, patches = MUTANTS[mutant]
    with contextlib.ExitStack() as broken:
        for patch in patches:
            broken.enter_context(patch)
        assert violations(play(make_world(seed)))
