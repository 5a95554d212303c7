"""What a TaskWaiter has done so far, as a frozen snapshot."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from ecs_waiter.api.transport import Counters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ecs_waiter.errors import ApiError
    from ecs_waiter.polling.poller import RegionPoller

__all__ = ["RegionStats", "WaiterStats", "count", "snapshot"]


@dataclass(frozen=True, slots=True)
class RegionStats:
    """One region.

    Attributes:
        calls: HTTP requests sent, of every kind.
        polls: DescribeTasks calls made for waits.
        settled: Tasks that have ended.
        throttled: Answers by which the service asked for fewer calls.
        retried: Calls made again after a transient error.
        waiting: Tasks waited for now.
        fault: The last error, while the region does not respond; else None.
        next_poll: Seconds until the next poll is due; None if none is planned.
        rate: Calls per second that may go out now, all operations together; None for a region that was forgotten.
        quota: Calls per second that the service lets through, the operations added up whose quotas throttling has
            shown; None while there is none.
    """

    calls: int
    polls: int
    settled: int
    throttled: int
    retried: int
    waiting: int
    fault: ApiError | None = None
    next_poll: float | None = None
    rate: float | None = None
    quota: float | None = None


@dataclass(frozen=True, slots=True)
class WaiterStats:
    """A TaskWaiter: its regions by their IDs.

    A region that is idle may be forgotten once there are more than 32. Its numbers stay, those of more than a thousand
    such regions under the name ``other regions``, so that sums over all regions never go down.
    """

    regions: Mapping[str, RegionStats]


def snapshot(
    pollers: dict[str, RegionPoller],
    counted: Mapping[str, Counters],
    rates: Callable[[str], tuple[float | None, float | None]],
    now: float,
) -> WaiterStats:
    """Return what was done so far, by region.

    Args:
        pollers: Region -> its poller.
        counted: Region -> the counters of its calls, and of pollers that were forgotten.
        rates: Returns the rate and the quota of a region.
        now: The time of the event loop.
    """
    regions = count(pollers, counted)
    for region_id in regions:
        rate, quota = rates(region_id)
        regions[region_id] = replace(regions[region_id], rate=rate, quota=quota)
    for region_id, poller in pollers.items():
        regions[region_id] = replace(regions[region_id], fault=poller.fault, next_poll=poller.next_poll(now))
    return WaiterStats(MappingProxyType(regions))


def count(pollers: dict[str, RegionPoller], counted: Mapping[str, Counters]) -> dict[str, RegionStats]:
    """Return the counts alone, which other threads may ask for too."""
    present = pollers.copy()
    regions = {}
    for region_id in {**present, **counted}:
        poller, calls = present.get(region_id), counted.get(region_id, Counters())
        regions[region_id] = RegionStats(
            calls=calls.calls,
            polls=calls.polls + (poller.polls if poller else 0),
            settled=calls.settled + (poller.settled if poller else 0),
            throttled=calls.throttled,
            retried=calls.retried + (poller.retried if poller else 0),
            waiting=poller.waiting if poller else 0,
        )
    return regions
