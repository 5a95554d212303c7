"""What a TaskWaiter has done so far, as a frozen snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    """

    calls: int
    polls: int
    settled: int
    throttled: int
    retried: int
    waiting: int


@dataclass(frozen=True, slots=True)
class WaiterStats:
    """A TaskWaiter: its regions by their IDs."""

    regions: Mapping[str, RegionStats]
