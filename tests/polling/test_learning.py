"""What an end, or a page of tasks that ended before, teaches about durations."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from statistics import mean
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecs_waiter import PollPolicy, Task
from ecs_waiter.api.tasks import PollAnswer
from ecs_waiter.polling.batch import Entry
from ecs_waiter.polling.durations import Durations
from ecs_waiter.polling.learning import DurationLearner, history_of, observed_duration, page_durations
from ecs_waiter.running_clock import RunningClock

times = st.floats(min_value=0, max_value=1e6)


def _task(created: datetime | None, finished: datetime | None) -> Task:
    return Task(region_id="cn-hangzhou", task_id="t-1", creation_time=created, finished_time=finished)


# -- an end that was seen ---------------------------------------------------------------------------------------------


def test_the_middle_between_two_polls() -> None:
    """Without a time from the service, the end is taken to be in the middle between two polls."""
    assert observed_duration(100, 400, 430, None) == 315


@pytest.mark.parametrize(
    ("within", "seconds"),
    [
        ((410, 412), 311),  # to the second
        ((380, 440), 315),  # a minute that says no more than the polls
        ((420, 480), 325),  # a minute that says that it ended late
        ((360, 420), 310),
        ((500, 560), 315),  # contradicts the polls
        ((100, 160), 315),
        ((430, 431), 330),
    ],
)
def test_the_services_time_narrows_it(within: tuple[float, float], seconds: float) -> None:
    """The end lies between the polls, and within the second or minute that the service names."""
    assert observed_duration(100, 400, 430, within) == seconds


def test_a_short_task_is_taken_for_half_of_its_first_poll() -> None:
    """A task that had ended at its first poll, soon after its creation, took half that time."""
    assert observed_duration(100, 100, 106, None) == 3


@pytest.mark.parametrize(
    ("last_running", "seen_ended", "is_learned"),
    [(100, 120, True), (100, 121, False), (200, 320, True), (200, 321, False), (3700, 7300, True)],
)
def test_a_wide_window_teaches_nothing(last_running: float, seen_ended: float, *, is_learned: bool) -> None:
    """The window may be as wide as the task ran for sure, and 20 s wider."""
    assert (observed_duration(100, last_running, seen_ended, None) is not None) == is_learned


@given(times, times, times, st.none() | st.tuples(times, times))
def test_a_duration_is_possible(
    created_at: float, last_running: float, seen_ended: float, within: tuple[float, float] | None
) -> None:
    """Whatever clocks say, no duration is negative, or longer than until it was seen."""
    seconds = observed_duration(created_at, last_running, max(last_running, seen_ended), within)
    assert seconds is None or 0 <= seconds <= max(0, max(last_running, seen_ended) - created_at)


# -- a page of finished tasks -----------------------------------------------------------------------------------------


def test_times_to_the_second() -> None:
    """Their differences are the durations, those of the tasks that finished last at the end."""
    start = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)
    tasks = [_task(start, start + timedelta(seconds=each)) for each in (300, 100, 200)]
    tasks += [_task(None, start), _task(start, None), _task(start, start - timedelta(seconds=400))]
    assert page_durations(tasks) == [0, 100, 200, 300]


def test_times_by_the_minute_are_spread() -> None:
    """Equal differences become different durations, on the average the same, within half a minute on either side."""
    start = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
    tasks = [_task(start, start + timedelta(minutes=10))] * 100
    seconds = page_durations(tasks)
    assert seconds == page_durations(tasks)
    assert mean(seconds) == pytest.approx(600, abs=1)
    assert 570 <= min(seconds) < 572
    assert 628 < max(seconds) <= 630
    assert len(set(seconds)) == 100


def test_tasks_of_less_than_a_minute() -> None:
    """Within one minute, durations are spread from zero on."""
    start = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
    seconds = page_durations([_task(start, start)] * 50)
    assert min(seconds) >= 0
    assert mean(seconds) == pytest.approx(15, abs=1)


def test_nothing_is_learned_of_nothing() -> None:
    """A page without times teaches nothing."""
    assert page_durations([]) == page_durations([_task(None, None)]) == []


# -- from an answer ---------------------------------------------------------------------------------------------------

DATE = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
ROW = {
    "TaskId": "t-1",
    "TaskStatus": "Finished",
    "TaskAction": "ImportImage",
    "CreationTime": "2026-01-01T11:50:00Z",
    "FinishedTime": "2026-01-01T11:59:50Z",
}


class Client:
    endpoint = None


async def _learned(
    row: dict[str, str], date: datetime | None, *, added: float = 600, seen: bool = True
) -> float | None:
    """The only duration that an answer teaches; its task was added and seen that many seconds ago."""
    clock = RunningClock()
    client: Any = Client()
    learner = DurationLearner("cn-hangzhou", client, PollPolicy(), mock.Mock(), clock)
    entry = Entry("t-1", clock.time() - added)
    if seen:
        entry.see("Processing", "ImportImage")
    answer = PollAnswer("cn-hangzhou", [row], total_count=1, date=None if date is None else date.timestamp())
    with mock.patch.object(Durations, "add") as add:
        learner.learn([(entry, True)], [(entry, answer.task("t-1"))], answer, clock.time() - 30)
    return add.call_args.args[0] if add.called else None


@pytest.mark.parametrize(
    ("changes", "date", "options", "seconds"),
    [
        ({}, DATE, {}, 590),
        ({"FinishedTime": ""}, DATE, {}, 585),
        ({}, None, {}, None),
        ({"CreationTime": ""}, DATE, {}, None),
        ({"TaskAction": ""}, DATE, {}, None),
        ({}, DATE, {"seen": False, "added": 5}, 590),
        ({"FinishedTime": ""}, DATE, {"seen": False, "added": 5}, None),
        ({"CreationTime": "2026-01-01T11:59:58Z", "FinishedTime": ""}, DATE, {"seen": False, "added": 8}, 4),
    ],
)
def test_what_an_answer_teaches(
    changes: dict[str, str], date: datetime | None, options: dict[str, Any], seconds: float | None
) -> None:
    """The creation must be known; an end that was not seen is learned only if the service names it."""
    learned = asyncio.run(_learned({**ROW, **changes}, date, **options))
    assert learned == (None if seconds is None else pytest.approx(seconds, abs=1))


# -- where it is kept -------------------------------------------------------------------------------------------------


def test_each_event_loop_has_its_own_history() -> None:
    """The history of a loop is found again on it, and on no other."""
    loops = [asyncio.new_event_loop() for _ in range(2)]
    try:
        first, other = map(history_of, loops)
        assert history_of(loops[0]) is first
        assert other is not first
    finally:
        for loop in loops:
            loop.close()
