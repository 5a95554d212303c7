"""Progress: how far a wait is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ecs_waiter.errors import ApiError
    from ecs_waiter.polling.durations import Eta

__all__ = ["Progress"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a wait is.

    Attributes:
        total: All tasks of the wait.
        done: Tasks that have ended, in whatever way.
        failed: Those of them that did not finish: failed, canceled, not found, or given up with their region.
        by_status: How many tasks have each status. Tasks that the service never listed have none.
        elapsed: Seconds since the wait began.
        eta: The time left until the last task ends; None while too little is known about any of them. The tasks count
            as independent, so more tasks take longer than one.
        faults: Region -> its last error, of the regions that do not respond at present.
    """

    total: int
    done: int
    failed: int
    by_status: Mapping[str, int]
    elapsed: float
    eta: Eta | None
    faults: Mapping[str, ApiError]
