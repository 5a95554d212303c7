"""RegionLimiter: when the next call of an operation to a region may go out, by rates and by places in flight."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections import OrderedDict
from contextlib import asynccontextmanager
from enum import IntEnum
from typing import TYPE_CHECKING

from ecs_waiter.api.quotas import CallLog, Quota

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from ecs_waiter.api.policy import CallPolicy

__all__ = ["PlaceTakenError", "Priority", "RegionLimiter"]

_SLOWEST = 0.1
_IN_A_ROW = 3
_APART = 1e-5
"""Seconds within which the timers of waiters that share a quota are ordered, by who has waited longest."""

_LATELY = 600.0
"""Seconds for which a region is remembered in which a call was throttled."""

_ALL_OPERATIONS = ""


class Priority(IntEnum):
    """Who goes first: polls, then other calls, then look-ups of a failed task's reason."""

    POLL = 0
    CALL = 1
    LOOKUP = 2


_BEFORE = {priority: [higher for higher in Priority if higher < priority] for priority in Priority}


class PlaceTakenError(Exception):
    """A poll took the place of a look-up under way: it has to be made again."""


class RegionLimiter:
    """The gate that calls of one operation to one region pass; `beside` returns the gates of its other operations.

    Rate and pause are those of the operation, as the service taught them to all waiters of the event loop: throttling
    halves the rate at once; success wins it back slowly, a tenth of the ceiling per second. On top, the gates of all
    operations together let out no more than the policy's `max_calls_per_second`, and never more than its
    `max_in_flight` calls are under way. Calls that wait for a rate or a pause hold no place.

    Waiters are served by priority, then in the order they came. After three grants in a row to one priority while
    others wait below it, one of those is served. Look-ups leave a place, and a call of the rate, to the others; and a
    poll that finds no place free takes that of a look-up.

    All times are in seconds, by the running loop's clock.

    Args:
        policy: Its `max_calls_per_second`, `max_in_flight` and `outage_budget`.
        operation: The operation's name.
        quota_of: Finds the quota of an operation; by default a new one, for this limiter alone.
        region: What `beside` hands on.
    """

    __slots__ = ("_line", "_region")

    def __init__(
        self,
        policy: CallPolicy,
        operation: str = "DescribeTasks",
        *,
        quota_of: Callable[[str], Quota] = lambda _operation: Quota(),
        region: _Region | None = None,
    ) -> None:
        self._region = _Region(policy, quota_of) if region is None else region
        self._line = self._region.line(operation)

    def __repr__(self) -> str:
        region = self._region
        waiting = ", ".join(f"{p.name}: {len(self._line.waiting[p])}" for p in Priority)
        return (
            f"<RegionLimiter rate={self.rate:g}/{region.ceiling:g} in_flight={self.in_flight}/{region.places} "
            f"waiting=({waiting})>"
        )

    def beside(self, operation: str) -> RegionLimiter:
        """Return the gate of another operation of the region, which shares the ceiling and the places."""
        return RegionLimiter(self._region.policy, operation, region=self._region)

    @property
    def rate(self) -> float:
        """Calls per second that may go out now, between a floor and the policy's ceiling."""
        return min(self._line.quota.rate, self._region.ceiling)

    @property
    def in_flight(self) -> int:
        """Places held, by calls of all operations."""
        return self._region.in_flight

    @property
    def blocked_until(self) -> float:
        """No call goes out before this time of the loop's clock: the service asked for it."""
        return self._line.blocked_until

    def is_idle(self) -> bool:
        """Whether nobody calls or waits, nothing is blocked, and the service has taught nothing lately."""
        region = self._region
        if region.in_flight or not region.is_idle():
            return False
        now = math.inf if region.loop is None else region.loop.time()
        return all(line.quota.taught_at() <= now - _LATELY for line in region.lines.values())

    @asynccontextmanager
    async def place(self, priority: Priority = Priority.CALL) -> AsyncIterator[None]:
        """Wait until a call may go out now, and hold its place until the block ends.

        Raises:
            PlaceTakenError: A poll needed the place of this look-up.
        """
        await self.acquire(priority)
        term = asyncio.timeout(None)
        try:
            async with term:
                if priority is Priority.LOOKUP:
                    self._region.lookups[term] = None
                yield
        except TimeoutError:
            if term.expired():
                raise PlaceTakenError from None
            raise
        finally:
            self._region.lookups.pop(term, None)
            self.release(priority)

    async def acquire(self, priority: Priority = Priority.CALL) -> None:
        """Wait until a call may go out now; then the caller holds a place, to `release` or to `give_back`."""
        region, line = self._region, self._line
        loop = region.loop = asyncio.get_running_loop()
        now = loop.time()
        # Most calls find nobody before them.
        if region.is_idle() and region.has_place(priority, now) and line.due(priority) <= now:
            line.take(priority, now)
            region.in_a_row[priority] = 0
        else:
            await self._wait(priority)

    async def pace(self, priority: Priority = Priority.CALL) -> None:
        """Wait until the holder of a place may send once more; meanwhile the place is free for others."""
        self._region.hold(priority, -1)
        try:
            await self._wait(priority, first=True)
        except BaseException:
            # The caller gives it back, without a turn of the loop in between.
            self._region.hold(priority, 1)
            raise

    def release(self, priority: Priority = Priority.CALL) -> None:
        """Give the place back after the call.

        Raises:
            RuntimeError: No place of this priority is held.
        """
        region = self._region
        if not region.held[priority]:
            raise RuntimeError(f"{self!r}: no place of {priority.name} is held")
        region.hold(priority, -1)
        if priority is Priority.LOOKUP:
            region.is_taking_place = False
        if not region.is_idle():
            region.serve()

    def give_back(self, priority: Priority = Priority.CALL) -> None:
        """Give the place back unused, and the right to call with it: as if it had never been acquired.

        To be called in the very turn in which `acquire` returned: what is given back is the last grant taken.
        """
        self._line.forget(self._line.last)
        self.release(priority)

    def retire(self) -> None:
        """Count the calls of all operations so far, and any further one, for the waiters that come after this one."""
        self._region.retire()

    def throttled(self, retry_after: float | None = None, *, sent_at: float | None = None) -> None:
        """Slow down: the service said that there are too many calls of this operation.

        Args:
            retry_after: The seconds that the service asked to wait; no call goes out until then.
            sent_at: When the throttled call went out (now, if unknown). Calls that were under way together tell of one
                and the same overload: only a call sent after the last slow-down counts anew.
        """
        now = asyncio.get_running_loop().time()
        region = self._region
        self._line.quota.throttled(
            now,
            retry_after=retry_after,
            sent_at=now if sent_at is None else sent_at,
            ceiling=region.ceiling,
            floor=region.floor,
        )

    def succeeded(self) -> None:
        """Recover a little: a call was answered and not throttled."""
        region, quota = self._region, self._line.quota
        if quota.rate < region.ceiling:
            quota.succeeded(asyncio.get_running_loop().time(), region.ceiling)
            region.serve()

    async def _wait(self, priority: Priority, *, first: bool = False) -> None:
        region, line = self._region, self._line
        loop = region.loop = asyncio.get_running_loop()
        future: asyncio.Future[float] = loop.create_future()
        line.join(future, priority, first=first)
        region.serve()
        if future.done():
            return
        try:
            await future
        except asyncio.CancelledError:
            if future.cancelled():
                line.waiting[priority].pop(future, None)
            else:
                # Granted and canceled in the same turn of the loop: nobody is left to use the grant.
                line.forget(future.result())
                region.hold(priority, -1)
            region.serve()
            raise


class _Line:
    """Who waits for one operation, and the quota by which they go."""

    __slots__ = ("__weakref__", "_region", "last", "quota", "waiting")

    def __init__(self, region: _Region, quota: Quota) -> None:
        self._region = region
        self.quota = quota
        self.last = -math.inf
        # By priority, in the order they are served: the future of a waiter, and its number among all of the region.
        self.waiting: dict[Priority, OrderedDict[asyncio.Future[float], int]] = {p: OrderedDict() for p in Priority}
        quota.users.add(self)

    @property
    def blocked_until(self) -> float:
        return self.quota.paused_until(self._region.budget)

    def join(self, future: asyncio.Future[float], priority: Priority, *, first: bool) -> None:
        queue = self.waiting[priority]
        number = next(self._region.numbers)
        queue[future] = -number if first else number
        if first:
            queue.move_to_end(future, last=False)

    def first(self, priority: Priority) -> int | None:
        """The number of the next waiter; None if nobody waits."""
        queue = self.waiting[priority]
        while queue and next(iter(queue)).done():
            # Canceled a moment ago; its own turn to leave has not come yet.
            queue.popitem(last=False)
        return next(iter(queue.values())) if queue else None

    def grant(self, priority: Priority, now: float) -> None:
        future, _ = self.waiting[priority].popitem(last=False)
        self.take(priority, now)
        self._region.granted(priority)
        future.set_result(now)

    def take(self, priority: Priority, now: float) -> None:
        """Take a place and a call of the rates."""
        self._region.hold(priority, 1)
        self.last = now
        self.quota.calls.note(now)
        self._region.calls.note(now)
        for higher in _BEFORE[priority]:
            self._region.in_a_row[higher] = 0

    def forget(self, at: float) -> None:
        self.quota.calls.forget(at)
        self._region.calls.forget(at)

    def due(self, priority: Priority, *, leaves_one: bool = True) -> float:
        """When pause and rates let the next call out; a look-up leaves a call of the ceiling to the others."""
        spare = int(leaves_one and priority is Priority.LOOKUP)
        return max(self.own_due(), self._region.calls.next_at(self._region.ceiling, spare=spare))

    def own_due(self) -> float:
        """When pause and rate of the operation let the next call out."""
        return max(self.blocked_until, self.quota.calls.next_at(self.quota.rate))

    def looks_again_at(self, due: float) -> float:
        """When to look again for a call that is due then: of several waiters, first the one that has waited longest."""
        is_alone = len(self.quota.users) == 1
        return due if is_alone else due + _APART / (1 + due - self.last)


class _Region:
    """What the limiters of a region's operations share in one waiter: the ceiling, the places and the line."""

    __slots__ = ("_inherited", "_past", "_timer", "budget", "calls", "ceiling", "floor", "held", "in_a_row",
                 "in_flight", "is_taking_place", "lines", "lookups", "loop", "numbers", "places", "policy",
                 "quota_of")  # fmt: skip

    def __init__(self, policy: CallPolicy, quota_of: Callable[[str], Quota]) -> None:
        self.policy = policy
        self.ceiling = float(policy.max_calls_per_second)
        self.floor = min(self.ceiling, max(_SLOWEST, self.ceiling / 64))
        self.places = policy.max_in_flight
        self.budget = policy.outage_budget
        self.quota_of = quota_of
        # The calls of waiters that have ended count on: a new waiter does not begin with a burst.
        self._past = quota_of(_ALL_OPERATIONS)
        self._inherited = tuple(self._past.calls)
        self.calls = CallLog(self._past.calls)
        self.lines: dict[str, _Line] = {}
        self.held = dict.fromkeys(Priority, 0)
        self.in_flight = 0
        self.in_a_row = dict.fromkeys(Priority, 0)
        self.numbers = itertools.count(1)
        # Ends the look-ups under way, the oldest first; and whether one was ended that has yet to leave its place.
        self.lookups: dict[asyncio.Timeout, None] = {}
        self.is_taking_place = False
        self.loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def line(self, operation: str) -> _Line:
        line = self.lines.get(operation)
        if line is None:
            line = self.lines[operation] = _Line(self, self.quota_of(operation))
        return line

    def hold(self, priority: Priority, places: int) -> None:
        self.held[priority] += places
        self.in_flight += places

    def is_idle(self) -> bool:
        """Whether nobody waits."""
        return not any(any(line.waiting.values()) for line in self.lines.values())

    def has_place(self, priority: Priority, now: float) -> bool:
        free = self.places - self.in_flight
        if priority is not Priority.LOOKUP:
            return free > 0
        if self.held[priority] >= max(1, self.places - 1):
            return False
        return free > 1 or (free > 0 and not self._has_poll(now))

    def _has_poll(self, now: float) -> bool:
        """Whether a poll waits for something else than a pause."""
        return any(line.waiting[Priority.POLL] and line.blocked_until <= now for line in self.lines.values())

    def granted(self, priority: Priority) -> None:
        lower = [each for each in Priority if each > priority]
        passed_over = any(line.waiting[each] for line in self.lines.values() for each in lower)
        self.in_a_row[priority] = self.in_a_row[priority] + 1 if passed_over else 0

    def retire(self) -> None:
        if self.calls is not self._past.calls:
            for at in self._inherited:
                self.calls.forget(at)
            self._past.calls.add_all(self.calls)
            self.calls = self._past.calls
        for line in self.lines.values():
            line.quota.users.discard(line)

    def serve(self) -> None:
        """Grant what may be granted now and set the timer for the next."""
        if self.loop is None:
            return
        while True:
            now = self.loop.time()
            ready, wake_at = self._ready(now)
            if not ready:
                break
            priority = self._choose(ready)
            ready[priority].grant(priority, now)
        self._wake_at(wake_at)

    def _ready(self, now: float) -> tuple[dict[Priority, _Line], float]:
        """By priority, whose first waiter may go now; and when to look again."""
        ready: dict[Priority, _Line] = {}
        wake_at = math.inf
        is_poll_next = False
        for priority in Priority:
            has_place = self.has_place(priority, now)
            if not has_place and priority is not Priority.POLL:
                continue
            first = math.inf
            for line in self.lines.values():
                number = line.first(priority)
                if number is None:
                    continue
                due = line.due(priority, leaves_one=not is_poll_next)
                if due > now:
                    wake_at = min(wake_at, line.looks_again_at(due))
                elif not has_place:
                    self._take_place()
                elif number < first:
                    first = number
                    ready[priority] = line
                if priority is Priority.POLL and has_place and line.own_due() <= now:
                    # A poll that waits for the ceiling alone: its turn comes as often as that of a look-up.
                    is_poll_next = True
        return ready, wake_at

    def _choose(self, ready: dict[Priority, _Line]) -> Priority:
        *higher, lowest = ready
        return next((priority for priority in higher if self.in_a_row[priority] < _IN_A_ROW), lowest)

    def _take_place(self) -> None:
        """A poll finds no place: end the oldest look-up."""
        if self.lookups and not self.is_taking_place:
            term = next(iter(self.lookups))
            del self.lookups[term]
            self.is_taking_place = True
            term.reschedule(-math.inf)

    def _wake_at(self, when: float) -> None:
        if self._timer is not None:
            if self._timer.when() == when:
                return
            self._timer.cancel()
            self._timer = None
        if when < math.inf and self.loop is not None:
            self._timer = self.loop.call_at(when, self._woken)

    def _woken(self) -> None:
        self._timer = None
        self.serve()
