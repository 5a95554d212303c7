"""PollSchedule against a naive model, in any order of events that hypothesis can think of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule
from support.answering import answered
from tenacity import wait_fixed

from ecs_waiter import ApiError, PollPolicy
from ecs_waiter.api.tasks import FINAL_STATUSES
from ecs_waiter.polling.schedule import PollResult, PollSchedule

if TYPE_CHECKING:
    from ecs_waiter.polling.batch import Batch
    from ecs_waiter.polling.isolation import Decision

PACE = 10.0
GRACE = 60.0
LONGEST_BACKOFF = 20.0
STATUSES = ["Processing", "Waiting", "Finished", "Failed", "Deleted", "Odd"]
IDS = [f"t-{number:03}" for number in range(130)]


@dataclass
class Known:
    """What the naive model remembers of an ID: nothing but what was told and when it was last answered."""

    told: str | None = None
    absent_since: float | None = None


class ScheduleMachine(RuleBasedStateMachine):
    """Adds, removes, polls, answers and fails; after each step the schedule agrees with the model."""

    flights: Bundle[Batch] = Bundle("flights")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.waiting: dict[str, Known] = {}
        self.in_flight: list[Batch] = []

    @initialize(rate=st.sampled_from([0.0, PACE]))
    def begin(self, rate: float) -> None:
        """Begin with a policy that polls at once, or at a pace."""
        policy = PollPolicy(wait=wait_fixed(rate), not_found_grace=GRACE, outage_budget=1e6)
        self.schedule = PollSchedule(policy, lambda faults: min(float(faults), LONGEST_BACKOFF))

    @rule(first=st.integers(0, len(IDS) - 1), count=st.sampled_from([1, 2, 40, 130]))
    def add(self, first: int, count: int) -> None:
        """Some IDs are waited for, known ones among them."""
        task_ids = IDS[first : first + count]
        assert [entry.task_id for entry in self.schedule.add(task_ids, self.now)] == task_ids
        for task_id in task_ids:
            self.waiting.setdefault(task_id, Known())

    @rule(first=st.integers(0, len(IDS) - 1), count=st.sampled_from([1, 2, 40, 130]))
    def remove(self, first: int, count: int) -> None:
        """Nobody waits for some IDs any more."""
        for task_id in IDS[first : first + count]:
            if (entry := self.schedule.find(task_id)) is not None:
                self.schedule.remove(entry)
                del self.waiting[task_id]

    @rule(seconds=st.sampled_from([0.0, 0.5, 3.0, PACE, 45.0, 1000.0]))
    def time_passes(self, seconds: float) -> None:
        """The clock moves."""
        self.now += seconds

    @rule(target=flights)
    def poll(self) -> Any:
        """A call carries 1 to 100 sorted IDs that wait and are in no other call; without one, none is due."""
        batch = self.schedule.take(self.now)
        if batch is None:
            assert self.schedule.wake_at() > self.now
            return multiple()
        ids = batch.task_ids
        assert 1 <= len(ids) <= 100
        assert ids == sorted(set(ids))
        assert set(ids) <= self.waiting.keys()
        for other in self.in_flight:
            assert set(ids).isdisjoint(other.task_ids)
        self.in_flight.append(batch)
        return batch

    @rule(batch=consumes(flights), data=st.data(), age=st.sampled_from([None, 0.0, 100.0, 90_000.0]))
    def answer(self, batch: Batch, data: st.DataObject, age: float | None) -> None:
        """An answer of any kind comes: whole, cut short, with foreign rows, with words nobody knows."""
        self.in_flight.remove(batch)
        ids = batch.task_ids
        usual = data.draw(st.sampled_from(STATUSES[:2]))
        rows = dict.fromkeys(ids, usual)
        for task_id in data.draw(st.lists(st.sampled_from(ids), max_size=5)):
            rows[task_id] = data.draw(st.sampled_from([*STATUSES, "", "missing"]))
        listed = [(task_id, status) for task_id, status in rows.items() if status != "missing"]
        listed += [("t-foreign", "Finished")] * data.draw(st.integers(0, 1))
        total = len(listed) + data.draw(st.sampled_from([0, 0, 0, 5]))
        news = answered(
            self.schedule,
            batch,
            [task_id for task_id, _ in listed],
            [status for _, status in listed],
            total_count=total,
            age_of=lambda _index: age,
            now=self.now,
        )
        self.check_news(batch, dict(listed), news)

    def check_news(self, batch: Batch, rows: dict[str, str], news: PollResult) -> None:
        """Each change is told once; an ID is gone only after the grace, counted from an answer that lacked it."""
        told = {entry.task_id: rows[entry.task_id] for entry, is_new in news.changes if is_new}
        gone = {entry.task_id for entry in news.gone}
        for task_id in batch.task_ids:
            known = self.waiting.get(task_id)
            if known is None:
                assert task_id not in told
                assert task_id not in gone
                continue
            status = rows.get(task_id) or None  # a row without a status says nothing
            if status is None:
                assert task_id not in told
                if task_id in gone:
                    assert known.absent_since is not None, "gone on the first absence"
                    assert self.now - known.absent_since >= GRACE
                    del self.waiting[task_id]
                elif known.absent_since is None:
                    known.absent_since = self.now
                continue
            assert task_id not in gone
            if known.told != status:
                assert told.get(task_id) == status
            else:
                assert task_id not in told
            known.told, known.absent_since = status, None
            if status in FINAL_STATUSES:
                del self.waiting[task_id]

    @rule(
        batch=consumes(flights),
        kind=st.sampled_from(["fault", "throttle", "returned"]),
    )
    def fail(self, batch: Batch, kind: str) -> None:
        """A call fails in passing."""
        self.in_flight.remove(batch)
        if kind == "fault":
            self.blame(self.schedule.fault(batch, now=self.now))
        elif kind == "throttle":
            self.schedule.throttled(batch, self.now)
        else:
            self.schedule.ask_again(batch, self.now)

    @rule(
        batch=consumes(flights), code=st.sampled_from(["InvalidTaskId.NotFound", "InvalidParameter", "InvalidRegionId"])
    )
    def refuse(self, batch: Batch, code: str) -> None:
        """A call is refused: for an ID, for the region, or in words that do not tell."""
        self.in_flight.remove(batch)
        decision = self.schedule.rejected(batch, ApiError(code, "no"), self.now)
        self.blame(decision)
        if decision.is_regional:
            assert self.schedule.clear().keys() == self.waiting.keys()
            self.waiting.clear()

    def blame(self, decision: Decision) -> None:
        """The culprit leaves."""
        if decision.culprit is not None:
            del self.waiting[decision.culprit.task_id]

    @invariant()
    def the_same_ids_wait(self) -> None:
        """Schedule and model know the same IDs."""
        assert len(self.schedule) == len(self.waiting)
        for task_id in self.waiting:
            assert task_id in self.schedule

    @invariant()
    def in_flight_is_counted(self) -> None:
        """Schedule and model know the same calls."""
        if hasattr(self, "schedule"):
            assert len(self.schedule.calls) == len(self.in_flight)

    def teardown(self) -> None:
        """Whatever happened, every ID that still waits is asked again once the service answers."""
        if not hasattr(self, "schedule"):
            return
        for batch in self.in_flight:
            self.schedule.ask_again(batch, self.now)
        unasked = set(self.waiting)
        for _ in range(2000):
            if not unasked:
                break
            self.now = max(self.now, self.schedule.wake_at())
            assert self.now < math.inf
            taken = self.schedule.take(self.now)
            assert taken is not None
            unasked -= set(taken.task_ids)
            ids = taken.task_ids
            answered(
                self.schedule,
                taken,
                ids,
                ["Finished"] * len(ids),
                total_count=len(ids),
                age_of=lambda _index: None,
                now=self.now,
            )
        assert not unasked
        assert len(self.schedule) == 0
        assert self.schedule.wake_at() == math.inf


ScheduleMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestScheduleAgainstModel = ScheduleMachine.TestCase
