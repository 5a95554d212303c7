"""What a TaskWaiter has done so far, as a frozen snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ecs_waiter.errors import ApiError

__all__ = ["RegionStats", "WaiterStats"]


@dataclass(frozen=True, slots=True)
class RegionStats:
    """One region.

    Attributes:
        calls: HTTP requests sent, of every kind.
        polls: DescribeTasks calls made for waits.
        settled: Tasks that have ended.
        throttled: Answers by which the service asked for fewer calls.
        retried: Calls made again after a passing fault.
        waiting: Tasks waited for now.
        fault: Why the polls come to nothing, while the region gives no good answer; else None.
        next_poll: Seconds until the next poll is due; None if none is planned.
    """

    calls: int
    polls: int
    settled: int
    throttled: int
    retried: int
    waiting: int
    fault: ApiError | None = None
    next_poll: float | None = None


@dataclass(frozen=True, slots=True)
class WaiterStats:
    """A TaskWaiter: its regions by their IDs.

    A region that is idle may be forgotten once there are more than 32. Its numbers stay, those of more than a thousand
    such regions under the name ``other regions``, so that sums over all regions never go down.
    """

    regions: Mapping[str, RegionStats]
