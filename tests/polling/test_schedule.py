"""PollSchedule alone: told the time and what happened, it says who is asked and when."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from support.answering import answered
from tenacity import RetryCallState, wait_chain, wait_fixed

from ecs_waiter import ApiError, PollPolicy
from ecs_waiter.polling.schedule import PollResult, PollSchedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ecs_waiter.polling.batch import Batch, Entry

EVERY_TEN_SECONDS = PollPolicy(wait=wait_fixed(10), not_found_grace=60, outage_budget=600)


def schedule_of(
    policy: PollPolicy = EVERY_TEN_SECONDS, ids: Iterable[str] = (), backoff: Callable[[int], float] = float
) -> PollSchedule:
    """A schedule to which these IDs were added at time 0."""
    schedule = PollSchedule(policy, backoff)
    for task_id in ids:
        schedule.add([task_id], 0.0)
    return schedule


def numbered(count: int) -> list[str]:
    """So many IDs, in order."""
    return [f"t-{number:04}" for number in range(count)]


def take(schedule: PollSchedule, now: float) -> Batch:
    """The batch that is due."""
    batch = schedule.take(now)
    assert batch is not None
    return batch


def answer(
    schedule: PollSchedule,
    batch: Batch,
    now: float,
    *,
    status: str = "Processing",
    only: Iterable[str] | None = None,
    total_count: int | None = None,
    age: float | None = None,
) -> PollResult:
    """Answer a batch whose tasks, or only some of them, are in one status."""
    ids = batch.task_ids if only is None else list(only)
    return answered(
        schedule, batch, ids, [status] * len(ids), total_count=total_count, age_of=lambda _index: age, now=now
    )


def test_ids_go_out_sorted_a_hundred_to_a_call() -> None:
    """New IDs fill calls of a hundred; each call's IDs are sorted."""
    schedule = schedule_of(ids=reversed(numbered(250)))
    batches = [take(schedule, 0.0) for _ in range(3)]
    assert [len(batch.entries) for batch in batches] == [100, 100, 50]
    assert all(batch.task_ids == sorted(batch.task_ids) for batch in batches)
    assert schedule.take(0.0) is None


def test_an_id_in_flight_is_not_asked_again() -> None:
    """Until its call is back an ID is in no other call, however long that takes."""
    schedule = schedule_of(ids=["t-1"])
    take(schedule, 0.0)
    assert schedule.wake_at() == math.inf
    assert schedule.take(1e9) is None


def test_the_strategy_paces_the_batch_that_was_answered() -> None:
    """After an answer the batch is due when the strategy says, and not before."""
    schedule = schedule_of(ids=["t-1"])
    answer(schedule, take(schedule, 0.0), 1.0)
    assert schedule.wake_at() == 11.0
    assert schedule.take(10.9) is None
    assert take(schedule, 11.0).task_ids == ["t-1"]


def test_the_strategy_is_told_polls_and_the_youngest_age() -> None:
    """attempt_number counts polls; seconds_since_start is the age of the youngest task of the batch."""
    asked: list[tuple[int, float | None]] = []

    def strategy(state: RetryCallState) -> float:
        asked.append((state.attempt_number, state.seconds_since_start))
        return 10.0

    schedule = schedule_of(PollPolicy(wait=strategy), ids=["t-old", "t-young"])
    ages = {"t-old": 1000.0, "t-young": 20.0}
    batch = take(schedule, 0.0)
    answered(
        schedule,
        batch,
        batch.task_ids,
        ["Processing"] * 2,
        total_count=2,
        age_of=lambda index: ages[["t-old", "t-young"][index]],
        now=0.0,
    )
    answer(schedule, take(schedule, 10.0), 10.0)
    answer(schedule, take(schedule, 20.0), 20.0)
    assert asked == [(1, 20.0), (2, 30.0), (3, 40.0)]


def test_tenacity_chains_count_polls() -> None:
    """wait_chain, which counts attempts, walks through its links poll by poll."""
    schedule = schedule_of(PollPolicy(wait=wait_chain(wait_fixed(1), wait_fixed(5), wait_fixed(9))), ids=["t-1"])
    dues = []
    now = 0.0
    for _ in range(4):
        answer(schedule, take(schedule, now), now)
        dues.append(schedule.wake_at() - now)
        now = schedule.wake_at()
    assert dues == [1.0, 5.0, 9.0, 9.0]


def test_a_result_of_zero_means_at_once() -> None:
    """A strategy that says 0 makes the batch due again immediately."""
    schedule = schedule_of(PollPolicy(wait=wait_fixed(0)), ids=["t-1"])
    answer(schedule, take(schedule, 5.0), 5.0)
    assert take(schedule, 5.0).task_ids == ["t-1"]


@pytest.mark.parametrize("nonsense", [-1.0, math.nan, math.inf, None, "soon", True])
def test_what_is_no_time_is_told_with_the_answers_news(nonsense: object) -> None:
    """A strategy that gives no time does not swallow what the answer brought."""
    schedule = schedule_of(PollPolicy(wait=lambda _state: nonsense), ids=["t-1", "t-2"])  # type: ignore[arg-type,return-value]
    batch = take(schedule, 0.0)
    news = answered(
        schedule, batch, ["t-1", "t-2"], ["Finished", "Processing"], total_count=2, age_of=lambda _index: None, now=0.0
    )
    assert isinstance(news.error, TypeError | ValueError)
    assert [entry.task_id for entry, _ in news.changes] == ["t-1", "t-2"]


def test_new_ids_go_before_a_backlog() -> None:
    """An ID that was just added is in the next call, though others have long been due."""
    schedule = schedule_of(ids=numbered(300))
    for batch in [take(schedule, 0.0) for _ in range(3)]:
        answer(schedule, batch, 0.0)
    schedule.add(["t-new"], 500.0)
    assert "t-new" in take(schedule, 500.0).task_ids


def test_room_carries_those_next_due() -> None:
    """A call with room left takes along who is due next, and they are paced anew from then."""
    schedule = schedule_of(ids=["t-old"])
    answer(schedule, take(schedule, 0.0), 0.0)
    schedule.add(["t-new"], 4.0)
    batch = take(schedule, 4.0)
    assert batch.task_ids == ["t-new", "t-old"]
    answer(schedule, batch, 4.0)
    assert schedule.wake_at() == 14.0


def test_batches_that_empty_out_merge() -> None:
    """Where tasks have settled, calls are filled up again: N waiting IDs cost no more than N / 100 calls."""
    schedule = schedule_of(ids=numbered(400))
    for batch in [take(schedule, 0.0) for _ in range(4)]:
        half = batch.task_ids[::2]
        statuses = ["Finished" if task_id in half else "Processing" for task_id in batch.task_ids]
        answered(schedule, batch, batch.task_ids, statuses, total_count=100, age_of=lambda _index: None, now=0.0)
    sizes = []
    while (again := schedule.take(10.0)) is not None:
        sizes.append(len(again.entries))
    assert sizes == [100, 100]


def test_an_unchanged_batch_stays_one_item() -> None:
    """While nothing changes the batch is the same object."""
    schedule = schedule_of(ids=numbered(100))
    batch = take(schedule, 0.0)
    answer(schedule, batch, 0.0)
    again = take(schedule, 10.0)
    assert again is batch
    assert answer(schedule, again, 10.0).changes == []
    assert take(schedule, 20.0) is batch


def test_a_batch_that_answers_again_takes_riders_again() -> None:
    """After a fault it goes alone, until a good answer, even one that tells nothing new."""
    schedule = schedule_of(ids=numbered(30))
    answer(schedule, take(schedule, 0.0), 0.0)
    schedule.fault(take(schedule, 10.0), now=10.0)
    again = take(schedule, 20.0)
    went_alone = again.exclusive
    assert answer(schedule, again, 20.0).changes == []
    assert (went_alone, again.exclusive) == (True, False)
    for number in range(100, 130):
        schedule.add([f"t-{number}"], 25.0)
    assert len(take(schedule, 25.0).entries) == 60


def test_old_tasks_are_not_asked_at_the_pace_of_the_young() -> None:
    """With more than a call's worth of IDs, those of another age leave the batch that brought them together."""
    policy = PollPolicy(wait=lambda state: 0.05 * (state.seconds_since_start or 0.0) + 1)
    schedule = schedule_of(policy, ids=numbered(150))
    for batch in (take(schedule, 0.0), take(schedule, 0.0)):
        ids = batch.task_ids
        answered(
            schedule,
            batch,
            ids,
            ["Processing"] * len(ids),
            total_count=len(ids),
            age_of=lambda index: 10_000.0 if index % 2 else 10.0,
            now=0.0,
        )
    dues = sorted({entry.batch.due for task_id in numbered(150) if (entry := schedule.find(task_id)) and entry.batch})
    assert dues == [1.5, 501.0]


class TestMissing:
    """An ID that the answers lack."""

    def test_grace_ends_on_time(self) -> None:
        """It is gone when the grace is over: the last look comes then, not at the next slow poll."""
        schedule = schedule_of(PollPolicy(wait=wait_fixed(45), not_found_grace=60), ids=["t-1"])
        assert answer(schedule, take(schedule, 0.0), 0.0, only=[]).gone == []
        assert answer(schedule, take(schedule, 45.0), 45.0, only=[]).gone == []
        assert schedule.wake_at() == 60.0
        assert [entry.task_id for entry in answer(schedule, take(schedule, 60.0), 60.0, only=[]).gone] == ["t-1"]
        assert len(schedule) == 0

    def test_never_on_the_first_absence(self) -> None:
        """Even without any grace it takes a second answer."""
        schedule = schedule_of(PollPolicy(wait=wait_fixed(5), not_found_grace=0), ids=["t-1"])
        assert answer(schedule, take(schedule, 0.0), 0.0, only=[]).gone == []
        assert schedule.wake_at() == 0.0
        assert len(answer(schedule, take(schedule, 0.0), 0.0, only=[]).gone) == 1

    def test_an_id_that_vanishes_has_the_same_grace(self) -> None:
        """One that was seen and then is missing is given the whole grace, and forgiven if it comes back."""
        schedule = schedule_of(ids=["t-1"])
        answer(schedule, take(schedule, 0.0), 0.0)
        answer(schedule, take(schedule, 10.0), 10.0, only=[])
        answer(schedule, take(schedule, 20.0), 20.0)
        now = 30.0
        while not answer(schedule, take(schedule, now), now, only=[]).gone:
            now = schedule.wake_at()
        assert now == 90.0

    def test_an_outage_does_not_use_the_grace_up(self) -> None:
        """While the region gives no good answer, the clock of the grace stands still."""
        schedule = schedule_of(ids=["t-1"])
        answer(schedule, take(schedule, 0.0), 0.0, only=[])
        now = schedule.wake_at()
        while now < 300.0:
            schedule.fault(take(schedule, now), now=now)
            now = schedule.wake_at()
        assert answer(schedule, take(schedule, now), now, only=[]).gone == []
        recovered = now
        now = schedule.wake_at()
        while not answer(schedule, take(schedule, now), now, only=[]).gone:
            now = schedule.wake_at()
        assert recovered + 50 <= now <= recovered + 60

    def test_an_answer_cut_short_is_no_absence(self) -> None:
        """After three answers cut short the missing IDs are asked at once, in a call of their own."""
        schedule = schedule_of(ids=["t-1", "t-2", "t-3"])
        for now in (0.0, 10.0, 20.0):
            news = answer(schedule, take(schedule, now), now, only=["t-1"], total_count=3)
            assert news.gone == []
        assert schedule.wake_at() == 20.0
        own = take(schedule, 20.0)
        assert own.task_ids == ["t-2", "t-3"]
        answer(schedule, own, 20.0)
        assert take(schedule, 30.0).task_ids == ["t-1", "t-2", "t-3"]

    def test_a_lone_id_that_is_counted_is_never_absent(self) -> None:
        """Asked alone, an ID that is counted but not listed is unlisted after the outage budget, and never gone."""
        schedule = schedule_of(ids=["t-1"])
        now = 0.0
        for _ in range(1000):
            news = answer(schedule, take(schedule, now), now, only=[], total_count=7)
            assert not news.gone
            if news.unlisted:
                break
            now = schedule.wake_at()
        assert now == pytest.approx(600)


class TestRefusals:
    """A batch that the service refuses."""

    @staticmethod
    def hunt(schedule: PollSchedule, is_refused: Callable[[list[str]], bool], code: str) -> tuple[list[str], int]:
        """Play a service that refuses some batches; returns who was found guilty, and the calls it took."""
        guilty: list[str] = []
        calls = 0
        now = 0.0
        while schedule.wake_at() < 60.0:
            now = max(now, schedule.wake_at())
            batch = take(schedule, now)
            calls += 1
            if not is_refused(batch.task_ids):
                answer(schedule, batch, now, status="Finished")
                continue
            decision = schedule.rejected(batch, ApiError(code, "refused"), now)
            guilty += [decision.culprit.task_id] if decision.culprit else []
            if decision.is_regional:
                return ["region"], calls
        return guilty, calls

    def test_halving_finds_the_one(self) -> None:
        """A refusal about IDs is halved until the bad one stands alone; it takes two calls a halving."""
        schedule = schedule_of(ids=numbered(100))
        guilty, calls = self.hunt(schedule, lambda ids: "t-0042" in ids, "InvalidTaskId.Malformed")
        assert guilty == ["t-0042"]
        assert calls <= 2 * 7 + 1

    def test_several_are_found(self) -> None:
        """Each bad ID is found, however many there are."""
        bad = {"t-0000", "t-0017", "t-0099"}
        schedule = schedule_of(ids=numbered(100))
        guilty, _calls = self.hunt(schedule, lambda ids: not bad.isdisjoint(ids), "InvalidTaskIds")
        assert set(guilty) == bad

    def test_words_that_say_nothing_are_tried_out(self) -> None:
        """If the code does not tell, the region's answers to other IDs do."""
        schedule = schedule_of(ids=numbered(100))
        guilty, _calls = self.hunt(schedule, lambda ids: "t-0042" in ids, "InvalidParameter")
        assert guilty == ["t-0042"]

    @pytest.mark.parametrize("bad", [{"t-0000"}, {"t-0099"}, {"t-0000", "t-0050"}, {"t-0001", "t-0002"}])
    def test_the_probes_may_be_guilty_themselves(self, bad: set[str]) -> None:
        """A bad ID among the two asked first does not condemn the region."""
        schedule = schedule_of(ids=numbered(100))
        guilty, _calls = self.hunt(schedule, lambda ids: not bad.isdisjoint(ids), "InvalidParameter")
        assert set(guilty) == bad

    def test_the_region_is_not_hunted_for(self) -> None:
        """A code about the region ends all at the first call."""
        schedule = schedule_of(ids=numbered(100))
        assert self.hunt(schedule, lambda _ids: True, "InvalidRegionId.NotFound") == (["region"], 1)

    def test_a_region_that_refuses_all_is_soon_known(self) -> None:
        """If an ID alone and each of the other halves are rejected, it is the region: two calls for each halving."""
        schedule = schedule_of(ids=numbered(100))
        assert self.hunt(schedule, lambda _ids: True, "SomethingElse") == (["region"], 13)


class TestFaults:
    """Calls that fail in passing."""

    def test_a_batch_that_alone_keeps_failing_is_halved_to_the_one(self) -> None:
        """The ID on which the service fails is found, and reported once it has failed alone for the outage budget."""
        schedule = schedule_of(ids=numbered(100))
        guilty: list[str] = []
        answered: set[str] = set()
        now = 0.0
        while not guilty and now < 700.0:
            now = max(now, schedule.wake_at())
            batch = take(schedule, now)
            if "t-0042" in batch.task_ids:
                decision = schedule.fault(batch, now=now)
                guilty += [decision.culprit.task_id] if decision.culprit else []
            else:
                answered.update(batch.task_ids)
                answer(schedule, batch, now)
        assert guilty == ["t-0042"]
        assert len(answered) == 99
        assert now == 600.0

    def test_the_region_pauses_when_all_fails(self) -> None:
        """Faults in a row without a good answer hold the whole region back, longer each time."""
        schedule = schedule_of(ids=numbered(300))
        pauses = []
        now = 0.0
        for _ in range(5):
            schedule.fault(take(schedule, now), now=now)
            woken = max(now, schedule.wake_at())
            pauses.append(woken - now)
            now = woken
        assert pauses == [0.0, 2.0, 3.0, 4.0, 5.0]

    def test_throttling_blames_no_id(self) -> None:
        """However often a batch is throttled, it comes back whole and at once: the limiter decides on the pause."""
        schedule = schedule_of(ids=numbered(2))
        for now in (0.0, 10.0, 20.0, 30.0, 40.0):
            schedule.throttled(take(schedule, now), now)
            assert schedule.wake_at() == now
        assert take(schedule, 40.0).task_ids == numbered(2)

    def test_throttling_uses_up_the_budget(self) -> None:
        """A region that throttles every call is given up when the budget ends."""
        schedule = schedule_of(PollPolicy(outage_budget=100), ids=["t-1"])
        for now in (0.0, 60.0, 99.0):
            schedule.throttled(take(schedule, now), now)
            assert not schedule.is_spent(now)
        assert schedule.is_spent(100.0)

    def test_the_budget_ends_with_a_last_try(self) -> None:
        """However long the backoff has become, the region is asked once more when the budget ends."""
        schedule = schedule_of(PollPolicy(outage_budget=100), ids=["t-1"], backoff=lambda _faults: 80.0)
        for now in (0.0, 80.0):
            schedule.fault(take(schedule, now), now=now)
            assert not schedule.is_spent(now)
        assert schedule.wake_at() == 100.0
        schedule.fault(take(schedule, 100.0), now=100.0)
        assert schedule.is_spent(100.0)

    def test_the_last_try_is_made_though_nobody_is_due(self) -> None:
        """If those who met the faults have left, another batch is asked before the region is given up."""
        schedule = schedule_of(PollPolicy(wait=wait_fixed(5000), outage_budget=100), ids=["t-old"])
        answer(schedule, take(schedule, 0.0), 0.0)
        schedule.add(["t-new"], 10.0)
        batch = take(schedule, 10.0)
        schedule.fault(batch, now=10.0)
        entry = schedule.find("t-new")
        assert entry is not None
        schedule.remove(entry)
        other = schedule.find("t-old")
        assert other is not None
        assert schedule.wake_at() <= 110.0
        assert "t-old" in take(schedule, 110.0).task_ids

    def test_who_comes_after_all_have_left_has_the_whole_budget(self) -> None:
        """An outage that nobody waited through is not held against the next one."""
        schedule = schedule_of(PollPolicy(outage_budget=100), ids=["t-1"])
        schedule.fault(take(schedule, 0.0), now=0.0)
        entry = schedule.find("t-1")
        assert entry is not None
        schedule.remove(entry)
        schedule.add(["t-2"], 1000.0)
        schedule.fault(take(schedule, 1000.0), now=1000.0)
        assert not schedule.is_spent(1000.0)


class TestLeaving:
    """IDs that nobody waits for any more."""

    @staticmethod
    def entry(schedule: PollSchedule, task_id: str) -> Entry:
        """The entry of an ID that waits."""
        found = schedule.find(task_id)
        assert found is not None
        return found

    def test_who_leaves_before_the_call_is_not_asked(self) -> None:
        """An ID that was removed is not on the wire."""
        schedule = schedule_of(ids=["t-1", "t-2"])
        schedule.remove(self.entry(schedule, "t-1"))
        assert take(schedule, 0.0).task_ids == ["t-2"]

    def test_nothing_is_due_when_all_have_left(self) -> None:
        """A batch that everybody left does not wake anyone."""
        schedule = schedule_of(ids=["t-1"])
        answer(schedule, take(schedule, 0.0), 0.0)
        schedule.remove(self.entry(schedule, "t-1"))
        assert schedule.wake_at() == math.inf

    def test_who_comes_back_is_served_by_the_call_under_way(self) -> None:
        """An ID that leaves and returns during its call is not asked twice, and is shown that call's answer."""
        schedule = schedule_of(ids=["t-1"])
        answer(schedule, take(schedule, 0.0), 0.0)
        batch = take(schedule, 10.0)
        schedule.remove(self.entry(schedule, "t-1"))
        schedule.add(["t-1"], 10.0)
        assert schedule.take(10.0) is None
        news = answer(schedule, batch, 11.0)
        assert [(entry.task_id, is_new) for entry, is_new in news.changes] == [("t-1", True)]
        assert schedule.wake_at() == 21.0

    def test_who_left_during_the_call_is_forgotten(self) -> None:
        """The answer for an ID that nobody waits for any more changes nothing."""
        schedule = schedule_of(ids=["t-1", "t-2"])
        batch = take(schedule, 0.0)
        schedule.remove(self.entry(schedule, "t-1"))
        assert [entry.task_id for entry, _ in answer(schedule, batch, 0.0).changes] == ["t-2"]
        assert take(schedule, 10.0).task_ids == ["t-2"]


def test_of_contradicting_rows_the_end_is_believed() -> None:
    """A task listed twice, once as running and once as finished, has finished."""
    schedule = schedule_of(ids=["t-1"])
    batch = take(schedule, 0.0)
    news = answered(
        schedule, batch, ["t-1", "t-1"], ["Finished", "Processing"], total_count=1, age_of=lambda _index: None, now=0.0
    )
    assert [(entry.task_id, is_new) for entry, is_new in news.changes] == [("t-1", True)]
    assert "t-1" not in schedule


def test_late_interest_is_shown_an_unchanged_state() -> None:
    """After `renotify`, the next answer reports a state that did not change."""
    schedule = schedule_of(ids=["t-1", "t-2"])
    answer(schedule, take(schedule, 0.0), 0.0)
    entry = schedule.find("t-2")
    assert entry is not None
    schedule.renotify(entry)
    news = answer(schedule, take(schedule, 10.0), 10.0)
    assert [(entry.task_id, is_new) for entry, is_new in news.changes] == [("t-2", False)]
    assert answer(schedule, take(schedule, 20.0), 20.0).changes == []


def test_a_look_keeps_the_count_of_polls() -> None:
    """IDs that are asked at once are not new to the strategy: it goes on counting their polls."""
    counts: list[int] = []

    def wait(state: RetryCallState) -> float:
        counts.append(state.attempt_number)
        return 10.0

    schedule = schedule_of(PollPolicy(wait=wait), ids=["t-1", "t-2"])
    now = 0.0
    for _ in range(5):
        answer(schedule, take(schedule, now), now)
        entry = schedule.find("t-1")
        assert entry is not None
        schedule.poll_now(entry)
        now += 1
    assert counts == [1, 2, 3, 4, 5]


def test_a_look_does_not_shorten_the_grace() -> None:
    """A look in an outage does not make the time of the outage count."""
    schedule = schedule_of(PollPolicy(wait=wait_fixed(10), not_found_grace=300), ids=["t-1"])
    now = 0.0
    while now < 100:
        assert not answer(schedule, take(schedule, now), now, only=[]).gone
        now = schedule.wake_at()
    while now < 250:
        entry = schedule.find("t-1")
        assert entry is not None
        schedule.poll_now(entry)
        batch = take(schedule, now)
        schedule.fault(batch, now=now)
        now = schedule.wake_at()
    while not answer(schedule, take(schedule, now), now, only=[]).gone:
        now = schedule.wake_at()
    assert now >= 300 + 150


# -- when a batch was last answered ------------------------------------------------------------------------------------


def test_the_last_answer() -> None:
    """With each answer it is known when the one before it came."""
    schedule = schedule_of(ids=["t-1"])
    for now, last in ((0.0, 0.0), (10.5, 0.2), (21.0, 10.7)):
        assert answer(schedule, take(schedule, now), now + 0.2).last_answer == pytest.approx(last)


def test_the_last_answer_before_an_outage() -> None:
    """The batch whose answer ends an outage knows when it was answered before; others no longer do."""
    schedule = schedule_of(ids=numbered(200))
    first, second = take(schedule, 0.0), take(schedule, 0.0)
    answer(schedule, first, 1.0)
    answer(schedule, second, 1.0)
    first = take(schedule, 11.0)
    schedule.fault(first, now=12.0)
    first, second = take(schedule, 100.0), take(schedule, 100.0)
    assert answer(schedule, second, 101.0).last_answer == pytest.approx(1.0)
    assert answer(schedule, first, 102.0).last_answer == -math.inf
    assert answer(schedule, take(schedule, 111.5), 112.0).last_answer >= 101.0
