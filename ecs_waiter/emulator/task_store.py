"""The tasks of every region: pure state, read at a given time."""

from __future__ import annotations

import difflib
import random
import string
import sys
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from ecs_waiter.models import TaskStatus

__all__ = ["EmulatedTask", "Identifiers", "Plan", "TaskStore"]

_CANCELABLE = frozenset({"ImportImage", "ExportImage"})
_ALPHABET = string.digits + string.ascii_lowercase
_CANCELED = "Deleted"  # the service's word for it
_OUTCOMES = {word.casefold(): word.value for word in TaskStatus}
_UNFINISHED = frozenset({TaskStatus.PROCESSING, TaskStatus.WAITING, TaskStatus.PENDING, TaskStatus.PAUSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What happens to a task. Times are in seconds.

    Attributes:
        duration: How long it shows `status` before it shows `outcome`.
        error: Code and message of a failure.
        visible_after: When the service begins to list it.
        at_once: The change is done at once, so the answer carries no ``TaskId``.
        busy: How long the start is processed: a repeat with its ``ClientToken`` is rejected until then.

    Raises:
        ValueError: A time is not a finite number of seconds, a status is invalid, or there is an error without a
            failure.
    """

    duration: float = 0
    outcome: str = "Finished"
    error: tuple[str, str] | None = None
    visible_after: float = 0
    status: str = "Processing"
    at_once: bool = False
    busy: float = 0

    def __post_init__(self) -> None:
        for name in ("duration", "visible_after", "busy"):
            _check_seconds(name, getattr(self, name))
        _check_outcome(self.outcome)
        status, error = self.status, self.error
        if not isinstance(status, str) or not status.strip():
            raise ValueError(f"status takes a word such as 'Waiting', not {status!r}")
        if error is None:
            return
        if self.outcome != "Failed":
            raise ValueError(f"error is the reason of a failure, so it needs outcome='Failed', not {self.outcome!r}")
        if isinstance(error, str) or len(error) != 2 or not all(isinstance(part, str) for part in error):  # noqa: PLR2004
            raise ValueError(f"error takes a pair (code, message), not {error!r}")


def _check_seconds(name: str, value: object) -> None:
    message = f"{name} takes seconds, 0 or more, not {value!r}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{message}: use a number such as 3600")  # noqa: TRY004 - like every other setting
    if value > sys.float_info.max:
        raise ValueError(f"{message}: for a task that outlives the test use a finite number such as 1e9")
    if not value >= 0:
        raise ValueError(message)


def _check_outcome(outcome: object) -> None:
    if isinstance(outcome, str) and outcome in _OUTCOMES.values():
        return
    message = f"outcome takes a status such as 'Finished' or 'Failed', not {outcome!r}"
    near = difflib.get_close_matches(outcome.casefold(), _OUTCOMES, n=1) if isinstance(outcome, str) else []
    if near:
        raise ValueError(f"{message}: did you mean {_OUTCOMES[near[0]]!r}?")
    raise ValueError(f"{message}; the words are {', '.join(_OUTCOMES.values())}; only status= takes any other word")


@dataclass(slots=True, kw_only=True)
class EmulatedTask:
    """One task, with everything that will happen to it."""

    region_id: str
    task_id: str
    task_action: str
    resource_id: str
    created: datetime
    plan: Plan
    task_group_id: str | None = None
    canceled: datetime | None = None

    def age(self, now: datetime) -> float:
        """Return the seconds since its creation."""
        return (now - self.created).total_seconds()

    def is_visible(self, now: datetime) -> bool:
        """Whether the service lists it by now."""
        return self.age(now) >= self.plan.visible_after

    def status(self, now: datetime) -> str:
        """Return the service's word for its state."""
        if self.canceled is not None:
            return _CANCELED
        return self.plan.outcome if self.age(now) >= self.plan.duration else self.plan.status

    def finished(self, now: datetime) -> datetime | None:
        """Return when it ended; None while it runs."""
        if self.canceled is not None:
            return self.canceled
        if self.age(now) < self.plan.duration or self.plan.outcome in _UNFINISHED:
            return None
        return self.created + timedelta(seconds=self.plan.duration)

    def percent(self, now: datetime) -> int:
        """Return its progress, which reaches 100 only when the task is Finished."""
        if self.status(now) == "Finished":
            return 100
        elapsed = self.age(self.canceled or now)
        return 99 if elapsed >= self.plan.duration else int(100 * elapsed / self.plan.duration)

    @property
    def supports_cancel(self) -> bool:
        """Whether CancelTask applies to its operation."""
        return self.task_action in _CANCELABLE


class Identifiers:
    """Makes IDs that look like the service's; the same seed gives the same IDs."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose, no secret

    def resource(self, prefix: str) -> str:
        """Return an ID such as ``t-bp1hvgwromzv32iq0m4k``."""
        return f"{prefix}-bp1{''.join(self._random.choices(_ALPHABET, k=17))}"

    def request(self) -> str:
        """Return an ID such as ``473469C7-AA6F-4DC5-B3DB-A3DC0DE3C83E``."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4)).upper()


class TaskStore:
    """All tasks by ID; as at the service, a task ID is unique across all regions."""

    def __init__(self) -> None:
        self._tasks: dict[str, EmulatedTask] = {}

    def add(self, task: EmulatedTask) -> None:
        """Add a task.

        Raises:
            ValueError: Its ID exists already, or no request could carry it.
        """
        if not task.task_id or "," in task.task_id or task.task_id.split() != [task.task_id]:
            raise ValueError(f"a task ID takes neither commas nor white space, and is not empty: {task.task_id!r}")
        if task.task_id in self._tasks:
            raise ValueError(f"task {task.task_id!r} already exists")
        self._tasks[task.task_id] = task

    def get(self, region_id: str, task_id: str, now: datetime) -> EmulatedTask | None:
        """Return a task that the service lists in that region by now."""
        task = self._tasks.get(task_id)
        return task if task is not None and task.region_id == region_id and task.is_visible(now) else None

    def listed(self, region_id: str, now: datetime) -> list[EmulatedTask]:
        """Return the tasks that the service lists in a region by now."""
        # Copy first, in one step: a test in another thread may add a task meanwhile.
        return [task for task in list(self._tasks.values()) if task.region_id == region_id and task.is_visible(now)]
