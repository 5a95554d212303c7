"""The tasks of every region: pure state, asked with the time of the question."""

from __future__ import annotations

import difflib
import random
import string
import sys
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from ecs_waiter.models import TaskStatus

__all__ = ["EmulatedTask", "Identifiers", "Tasks", "check_plan", "check_seconds"]

CANCELABLE = frozenset({"ImportImage", "ExportImage"})

_ALPHABET = string.digits + string.ascii_lowercase
_CANCELED = "Deleted"  # the word that the service has for it
_RUNNING = "Processing"
_OUTCOMES = {word.casefold(): word.value for word in TaskStatus}
# A task that comes to one of these words is still not at its end.
_GOES_ON = frozenset({TaskStatus.PROCESSING, TaskStatus.WAITING, TaskStatus.PENDING, TaskStatus.PAUSED})


def check_plan(
    *,
    duration: float = 0,
    visible_after: float = 0,
    outcome: str = "Finished",
    error: tuple[str, str] | None = None,
    status: str = _RUNNING,
) -> None:
    """Refuse the plan of a task that cannot be.

    Raises:
        ValueError: A time is not a finite number of seconds, the outcome is not a word of the service, the status is
            not a word, or there is a reason without a failure.
    """
    for name, seconds in (("duration", duration), ("visible_after", visible_after)):
        check_seconds(name, seconds)
    _check_outcome(outcome)
    if not isinstance(status, str) or not status.strip():
        raise ValueError(f"status takes a word such as 'Waiting', not {status!r}")
    if error is None:
        return
    if outcome != "Failed":
        raise ValueError(f"error is the reason of a failure, so it needs outcome='Failed', not {outcome!r}")
    if isinstance(error, str) or len(error) != 2 or not all(isinstance(part, str) for part in error):  # noqa: PLR2004
        raise ValueError(f"error takes a pair (code, message), not {error!r}")


def check_seconds(name: str, value: object) -> None:
    """Refuse what is not a finite number of seconds, 0 or more; raises ValueError."""
    words = f"{name} takes seconds, 0 or more, not {value!r}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{words}: use a number such as 3600")  # noqa: TRY004 - like every other setting
    if value > sys.float_info.max:
        raise ValueError(f"{words}: for a task that outlives the test use a finite number such as 1e9")
    if not value >= 0:
        raise ValueError(words)


def _check_outcome(outcome: object) -> None:
    if isinstance(outcome, str) and outcome in _OUTCOMES.values():
        return
    words = f"outcome takes a status such as 'Finished' or 'Failed', not {outcome!r}"
    near = difflib.get_close_matches(outcome.casefold(), _OUTCOMES, n=1) if isinstance(outcome, str) else []
    if near:
        words += f": did you mean {_OUTCOMES[near[0]]!r}?"
    else:
        words += f"; the words are {', '.join(_OUTCOMES.values())}; only status= takes any other word"
    raise ValueError(words)


@dataclass(slots=True, kw_only=True)
class EmulatedTask:
    """One task and its whole future."""

    region_id: str
    task_id: str
    task_action: str
    resource_id: str
    created: datetime
    duration: float
    outcome: str
    error: tuple[str, str] | None
    visible_after: float
    running: str = _RUNNING
    task_group_id: str | None = None
    canceled: datetime | None = None

    def age(self, now: datetime) -> float:
        """Return the seconds since its creation."""
        return (now - self.created).total_seconds()

    def is_visible(self, now: datetime) -> bool:
        """Whether the service lists it already."""
        return self.age(now) >= self.visible_after

    def status(self, now: datetime) -> str:
        """Return the service's word for its state."""
        if self.canceled is not None:
            return _CANCELED
        return self.outcome if self.age(now) >= self.duration else self.running

    def finished(self, now: datetime) -> datetime | None:
        """Return when it ended; None while it runs."""
        if self.canceled is not None:
            return self.canceled
        if self.age(now) < self.duration or self.outcome in _GOES_ON:
            return None
        return self.created + timedelta(seconds=self.duration)

    def percent(self, now: datetime) -> int:
        """Return its progress; it stays short of 100 unless it finished well."""
        if self.status(now) == "Finished":
            return 100
        elapsed = self.age(self.canceled or now)
        return 99 if elapsed >= self.duration else int(100 * elapsed / self.duration)

    @property
    def supports_cancel(self) -> bool:
        """Whether CancelTask applies to its kind."""
        return self.task_action in CANCELABLE


class Identifiers:
    """Makes IDs that look like the service's and come out the same with the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose, no secret

    def resource(self, prefix: str) -> str:
        """Return such as ``t-bp1hvgwromzv32iq0m4k``."""
        return f"{prefix}-bp1{''.join(self._random.choices(_ALPHABET, k=17))}"

    def request(self) -> str:
        """Return such as ``473469C7-AA6F-4DC5-B3DB-A3DC0DE3C83E``."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4)).upper()


class Tasks:
    """All tasks by ID; a task ID is unique in all regions together, as the service's are."""

    def __init__(self) -> None:
        self._regions: dict[str, dict[str, EmulatedTask]] = {}
        self._known: set[str] = set()

    def add(self, task: EmulatedTask) -> None:
        """Take a task in.

        Raises:
            ValueError: Its ID is taken, or is not one that a request could carry.
        """
        if not task.task_id or "," in task.task_id or task.task_id.split() != [task.task_id]:
            raise ValueError(f"a task ID takes neither commas nor white space, and is not empty: {task.task_id!r}")
        if task.task_id in self._known:
            raise ValueError(f"there is a task {task.task_id!r} already")
        self._known.add(task.task_id)
        self._regions.setdefault(task.region_id, {})[task.task_id] = task

    def get(self, region_id: str, task_id: str, now: datetime) -> EmulatedTask | None:
        """Return a task of that region that the service lists by now."""
        task = self._regions.get(region_id, {}).get(task_id)
        return task if task is not None and task.is_visible(now) else None

    def listed(self, region_id: str, now: datetime) -> list[EmulatedTask]:
        """Return what the service lists of a region by now."""
        # A copy, made at once: a test in another thread may be adding a task.
        return [task for task in list(self._regions.get(region_id, {}).values()) if task.is_visible(now)]
