"""The tasks of every region: pure state, asked with the time of the question."""

from __future__ import annotations

import math
import random
import string
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

__all__ = ["EmulatedTask", "Identifiers", "Tasks", "check_plan"]

CANCELABLE = frozenset({"ImportImage", "ExportImage"})

_ALPHABET = string.digits + string.ascii_lowercase
_CANCELED = "Deleted"  # the word that the service has for it


def check_plan(*, duration: float, visible_after: float, outcome: str, error: tuple[str, str] | None) -> None:
    """Refuse the plan of a task that cannot be.

    Raises:
        ValueError: A time is negative or NaN, the outcome is no word, or there is a reason without a failure.
    """
    for name, seconds in (("duration", duration), ("visible_after", visible_after)):
        if not seconds >= 0:
            raise ValueError(f"{name} takes seconds, 0 or more, not {seconds}")
    if not isinstance(outcome, str) or not outcome.strip():
        raise ValueError(f"outcome takes a status such as 'Finished' or 'Failed', not {outcome!r}")
    if error is None:
        return
    if outcome != "Failed":
        raise ValueError(f"error is the reason of a failure, so it needs outcome='Failed', not {outcome!r}")
    if isinstance(error, str) or len(error) != 2 or not all(isinstance(part, str) for part in error):  # noqa: PLR2004
        raise ValueError(f"error takes a pair (code, message), not {error!r}")


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
        return self.outcome if self.age(now) >= self.duration else "Processing"

    def finished(self, now: datetime) -> datetime | None:
        """Return when it ended; None while it runs."""
        if self.canceled is not None:
            return self.canceled
        if self.age(now) < self.duration:
            return None
        return self.created + timedelta(seconds=self.duration)

    def percent(self, now: datetime) -> int:
        """Return its progress; it stays short of 100 unless it finished well."""
        if self.status(now) == "Finished":
            return 100
        if math.isinf(self.duration):
            return 0
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
