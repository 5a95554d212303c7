"""DurationLearner: learns how long one region's tasks take, from those that end and from those that ended before."""

from __future__ import annotations

import asyncio
import logging
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ecs_waiter.polling.durations import DurationHistory
from ecs_waiter.polling.policy import wait_adaptive
from ecs_waiter.runtimes import running_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from typing import Any

    from ecs_waiter.api.client import EcsClient
    from ecs_waiter.api.tasks import PollAnswer
    from ecs_waiter.models import Task
    from ecs_waiter.polling.batch import Entry
    from ecs_waiter.polling.durations import Durations, Eta
    from ecs_waiter.polling.policy import PollPolicy
    from ecs_waiter.running_clock import RunningClock

__all__ = ["DurationLearner", "history_of", "observed_duration", "page_durations"]

_ATTRIBUTE = "_ecs_waiter_durations"
_PAGE_SPAN = timedelta(days=7)
_MOST_PAGES = 200
_UNSURE = 20.0
"""Seconds by which the time of an end may be uncertain, beside as much as the task has taken for sure."""

_MINUTE = 60.0
_GOLDEN = (math.sqrt(5) - 1) / 2

_log = logging.getLogger("ecs_waiter.polling")


def history_of(loop: asyncio.AbstractEventLoop) -> DurationHistory:
    """Return the history that all waiters of an event loop share. It ends with the loop."""
    history: DurationHistory | None = getattr(loop, _ATTRIBUTE, None)
    if history is None:
        history = DurationHistory()
        setattr(loop, _ATTRIBUTE, history)
    return history


class DurationLearner:
    """Learns the durations of one region's tasks, and knows those of all regions with the same endpoint.

    Args:
        region_id: The region.
        client: Asks for tasks that ended before.
        policy: Its `history` says what is learned.
        spawn: Starts a task of the event loop.
        clock: The clock of the entries.
    """

    def __init__(
        self,
        region_id: str,
        client: EcsClient,
        policy: PollPolicy,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        clock: RunningClock,
    ) -> None:
        self._region_id = region_id
        self._client = client
        self._spawn = spawn
        self._clock = clock
        self._history = None if policy.history == "off" else history_of(running_loop())
        self._asks_account = policy.history == "account"
        self._rule = policy.wait if isinstance(policy.wait, wait_adaptive) else None

    def find(self, action: str) -> Durations | None:
        """Return the durations of an operation; None if none are known."""
        return None if self._history is None else self._history.find(self._key(action))

    def age(self, created_at: float) -> float:
        """Return the age of a task in seconds, by when it was created on the clock of the entries."""
        return max(0.0, self._clock.time() - created_at)

    def pause(self, action: str, age: float, plain: float, now: float) -> float:
        """Return the pause of a task in seconds: its plain one, changed by when such tasks ended."""
        durations, rule = self.find(action), self._rule
        if durations is None or rule is None:
            return plain
        return plain * durations.pause_factor(age, plain, share=rule.share, longest=rule.max, now=now)

    def eta(self, entry: Entry) -> Eta | None:
        """Return the time left for an entry's task; None if it was never seen, or too few durations are known."""
        durations = None if entry.status is None else self.find(entry.action)
        return None if durations is None else durations.eta(self.age(entry.created_at))

    def learn(
        self,
        changes: Iterable[tuple[Entry, bool]],
        finished: Iterable[tuple[Entry, Task]],
        answer: PollAnswer,
        last_answer: float,
    ) -> None:
        """Learn from an answer.

        Args:
            changes: Entries, each with whether its status is new. For new operations, past tasks are asked for.
            finished: Those of them that have finished.
            answer: The answer.
            last_answer: When the last answer before it came for these entries.
        """
        if self._history is None:
            return
        now = self._clock.time()
        for entry, task in finished:
            seconds = self._duration(entry, task, answer, last_answer, now)
            if seconds is not None:
                self._history.at(self._key(task.task_action)).add(seconds)
        if self._asks_account:
            for action in {entry.action for entry, is_new in changes if is_new}:
                page = (self._client.endpoint, self._region_id, action)
                if page not in self._history.pages and len(self._history.pages) < _MOST_PAGES:
                    self._history.pages.add(page)
                    self._spawn(self._ask_account(self._history, action, answer.date))

    def _key(self, action: str) -> tuple[str | None, str, str]:
        return self._client.endpoint, "task", action

    def _duration(self, entry: Entry, task: Task, answer: PollAnswer, last_answer: float, now: float) -> float | None:
        if not task.task_action or task.creation_time is None or answer.date is None:
            return None
        if self._clock.gap_ended_at > entry.created_at:
            # While the event loop did not run, the clock of the entries stood still.
            return None
        created_at, last_running = entry.created_at, last_answer
        if entry.status is None:
            # Never seen running: all that is known is that it was asked for after it had been created.
            created_at = last_running = min(entry.created_at, now - (answer.age_of(task.task_id) or 0.0))
        ago = answer.finished_ago(task)
        return observed_duration(created_at, last_running, now, None if ago is None else (now - ago[0], now - ago[1]))

    async def _ask_account(self, history: DurationHistory, action: str, date: float | None) -> None:
        """Learn from one page of finished tasks. Waits go on without it, so errors are only logged."""
        now = datetime.now(UTC) if date is None else datetime.fromtimestamp(date, UTC)
        try:
            page = await self._client.finished_tasks(self._region_id, action, now - _PAGE_SPAN)
        except asyncio.CancelledError:
            # The waiter closes. Another one asks again.
            history.pages.discard((self._client.endpoint, self._region_id, action))
            raise
        except Exception as error:  # noqa: BLE001 - no error of a look-up ends a wait
            _log.debug("no past durations of %s in %s: %s", action, self._region_id, type(error).__name__)
            return
        seconds = page_durations(task for task in page.tasks if task.task_action == action)
        if seconds:
            history.at(self._key(action)).add_past(seconds)


def observed_duration(
    created_at: float, last_running: float, seen_ended: float, within: tuple[float, float] | None
) -> float | None:
    """Return how long a task took; None if that is too uncertain. All times are on one clock.

    The end lies between the last poll that saw the task running and the poll that saw it ended, and within the second
    or minute that the service names, unless that contradicts the polls. The middle of the rest is taken.

    Args:
        created_at: When the task was created.
        last_running: When a poll last saw it running; when it was created if none did.
        seen_ended: When a poll saw that it had ended.
        within: The earliest and the latest end according to the service.
    """
    low, high = max(last_running, created_at), max(seen_ended, created_at)
    if within is not None and max(low, within[0]) <= min(high, within[1]):
        low, high = max(low, within[0]), min(high, within[1])
    if high - low > low - created_at + _UNSURE:
        return None
    return (low + high) / 2 - created_at


def page_durations(tasks: Iterable[Task]) -> list[float]:
    """Return the durations of finished tasks, the latest last.

    Differences of times by the minute are spread over a minute, evenly and the same each time: equal durations would
    look certain, although each may be off by a minute.
    """
    times = sorted(
        (task.finished_time, task.creation_time)
        for task in tasks
        if task.finished_time is not None and task.creation_time is not None
    )
    seconds = [max(0.0, (finished - created).total_seconds()) for finished, created in times]
    if any(time.second for pair in times for time in pair):
        return seconds
    return [abs(each + _MINUTE * (number * _GOLDEN % 1 - 0.5)) for number, each in enumerate(seconds, start=1)]
