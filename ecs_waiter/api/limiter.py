"""RegionLimiter: when the next call to one region may go out, by rate and by places in flight."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import OrderedDict, deque
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ecs_waiter.api.policy import CallPolicy

__all__ = ["Priority", "RegionLimiter"]

_WINDOW = 1.0
_SLOWEST = 0.1
_RECOVERY = 0.1
_IN_A_ROW = 3


class Priority(IntEnum):
    """Who goes first: polls, then other calls, then look-ups of a failed task's reason."""

    POLL = 0
    CALL = 1
    LOOKUP = 2


_BEFORE = {priority: [higher for higher in Priority if higher < priority] for priority in Priority}


class RegionLimiter:
    """The gate that every call to a region passes: polls, look-ups, listings and starts.

    Never more than `rate` calls go out in any one second, and never more than the policy's `max_in_flight` are under
    way. Throttling halves the rate at once; success wins it back slowly, a tenth of the ceiling per second.

    Waiters are served by priority, then in the order they came. After three grants in a row to one priority while
    others wait below it, one of those is served. Look-ups leave one place to the others; where there is only one place,
    they take it only while no poll waits.

    All times are in seconds, by the running loop's clock.
    """

    __slots__ = ("__weakref__", "_blocked_until", "_budget", "_ceiling", "_floor", "_granted", "_held", "_in_a_row",
                 "_in_flight", "_last_told", "_loop", "_places", "_rate", "_resumed", "_shrunk_at", "_timer",
                 "_waiting")  # fmt: skip

    def __init__(self, policy: CallPolicy) -> None:
        self._ceiling = float(policy.max_calls_per_second)
        self._floor = min(self._ceiling, max(_SLOWEST, self._ceiling / 64))
        self._places = policy.max_in_flight
        self._budget = policy.outage_budget
        self._rate = self._ceiling
        self._blocked_until = -math.inf
        self._shrunk_at = -math.inf
        self._last_told = -math.inf
        self._resumed = -math.inf
        self._granted: deque[float] = deque()
        self._held = dict.fromkeys(Priority, 0)
        self._in_flight = 0
        self._in_a_row = dict.fromkeys(Priority, 0)
        # By priority, in the order they are served: the future of a waiter, and whether it holds a place already.
        self._waiting: dict[Priority, OrderedDict[asyncio.Future[float], bool]] = {p: OrderedDict() for p in Priority}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        waiting = ", ".join(f"{p.name}: {len(self._waiting[p])}" for p in Priority)
        return (
            f"<RegionLimiter rate={self._rate:g}/{self._ceiling:g} in_flight={self.in_flight}/{self._places} "
            f"waiting=({waiting})>"
        )

    @property
    def rate(self) -> float:
        """Calls per second that may go out now, between a floor and the policy's ceiling."""
        return self._rate

    @property
    def in_flight(self) -> int:
        """Places held."""
        return self._in_flight

    @property
    def blocked_until(self) -> float:
        """No call goes out before this time of the loop's clock: the service asked for it."""
        return self._blocked_until

    async def acquire(self, priority: Priority = Priority.CALL) -> None:
        """Wait until a call may go out now; then the caller holds a place, to `release` or to `give_back`."""
        loop = self._loop = asyncio.get_running_loop()
        now = loop.time()
        # Most calls find nobody before them.
        if self._is_idle() and self._has_place(priority) and now >= self._due():
            self._hold(priority, 1)
            self._note(priority, now)
            self._in_a_row[priority] = 0
            self._resumed = now
        else:
            self._resumed = await self._wait(priority, holds_place=False)

    async def pace(self, priority: Priority = Priority.CALL) -> None:
        """Wait until the holder of a place may send once more."""
        await self._wait(priority, holds_place=True)

    def release(self, priority: Priority = Priority.CALL) -> None:
        """Give the place back after the call.

        Raises:
            RuntimeError: No place of this priority is held.
        """
        if not self._held[priority]:
            raise RuntimeError(f"{self!r}: no place of {priority.name} is held")
        self._hold(priority, -1)
        if not self._is_idle():
            self._serve()

    def give_back(self, priority: Priority = Priority.CALL) -> None:
        """Give the place back unused, and the right to call with it: as if it had never been acquired.

        To be called in the very turn in which `acquire` returned: what is given back is the last grant taken.
        """
        self._forget(self._resumed)
        self.release(priority)

    def throttled(self, retry_after: float | None = None, *, sent_at: float | None = None) -> None:
        """Slow down: the service said that there are too many calls.

        Args:
            retry_after: The seconds that the service asked to wait; no call goes out until then.
            sent_at: When the throttled call went out (now, if unknown). Calls that were under way together tell of one
                and the same overload: only a call sent after the last slow-down counts anew.
        """
        now = asyncio.get_running_loop().time()
        if retry_after is not None:
            self._blocked_until = max(self._blocked_until, now + min(retry_after, self._budget))
        if (now if sent_at is None else sent_at) > self._shrunk_at:
            self._rate = max(self._floor, self._rate / 2)
            self._shrunk_at = now
        self._last_told = now

    def succeeded(self) -> None:
        """Recover a little: a call was answered and not throttled."""
        if self._rate >= self._ceiling:
            return
        now = asyncio.get_running_loop().time()
        # A second at most, or one answer after an idle hour would end the restraint.
        spell = min(now - self._last_told, 1.0)
        self._last_told = now
        self._rate = min(self._ceiling, self._rate + self._ceiling * _RECOVERY * spell)
        self._serve()

    async def _wait(self, priority: Priority, *, holds_place: bool) -> float:
        self._loop = asyncio.get_running_loop()
        future: asyncio.Future[float] = self._loop.create_future()
        queue = self._waiting[priority]
        queue[future] = holds_place
        if holds_place:
            # Ahead of those without a place: they may be waiting for this very one.
            queue.move_to_end(future, last=False)
        self._serve()
        if future.done():
            return future.result()
        try:
            return await future
        except asyncio.CancelledError:
            if future.cancelled():
                queue.pop(future, None)
            else:
                # Granted and canceled in the same turn of the loop: nobody is left to use the grant.
                self._forget(future.result())
                self._hold(priority, holds_place - 1)
            self._serve()
            raise

    def _serve(self) -> None:
        """Grant what may be granted now and set the timer for the next."""
        if self._loop is None:
            return
        while (priority := self._next()) is not None:
            now, due = self._loop.time(), self._due()
            if now < due:
                self._wake_at(due)
                return
            self._grant(priority, now)
        self._wake_at(None)

    def _next(self) -> Priority | None:
        ready = [p for p in Priority if self._may_go(p)]
        for priority in ready[:-1]:
            if self._in_a_row[priority] < _IN_A_ROW:
                return priority
        return ready[-1] if ready else None

    def _may_go(self, priority: Priority) -> bool:
        """Whether somebody of this priority waits for nothing but the rate."""
        queue = self._waiting[priority]
        while queue and next(iter(queue)).done():
            # Canceled a moment ago; its own turn to leave has not come yet.
            queue.popitem(last=False)
        if not queue:
            return False
        return next(iter(queue.values())) or self._has_place(priority)

    def _has_place(self, priority: Priority) -> bool:
        if priority is Priority.LOOKUP:
            if self._places == 1 and self._waiting[Priority.POLL]:
                return False
            if self._held[priority] >= max(1, self._places - 1):
                return False
        return self._in_flight < self._places

    def _is_idle(self) -> bool:
        """Whether nobody waits."""
        return not any(self._waiting.values())

    def _hold(self, priority: Priority, places: int) -> None:
        self._held[priority] += places
        self._in_flight += places

    def _note(self, priority: Priority, now: float) -> None:
        while len(self._granted) > 1 and now - self._granted[0] >= _WINDOW:
            self._granted.popleft()
        self._granted.append(now)
        for higher in _BEFORE[priority]:
            self._in_a_row[higher] = 0

    def _grant(self, priority: Priority, now: float) -> None:
        future, holds_place = self._waiting[priority].popitem(last=False)
        self._hold(priority, 1 - holds_place)
        self._note(priority, now)
        passed_over = any(self._waiting[lower] for lower in Priority if lower > priority)
        self._in_a_row[priority] = self._in_a_row[priority] + 1 if passed_over else 0
        future.set_result(now)

    def _forget(self, granted: float) -> None:
        with contextlib.suppress(ValueError):
            self._granted.remove(granted)

    def _due(self) -> float:
        """When the rate lets the next call out."""
        count = max(1, int(self._rate))
        if len(self._granted) < count:
            return self._blocked_until
        period = _WINDOW if self._rate >= 1 else 1 / self._rate
        oldest = self._granted[-count]
        due = oldest + period
        # The sum may round down, and a call that left an instant early would be one too many in its second.
        while due - oldest < period:
            due = math.nextafter(due, math.inf)
        return max(due, self._blocked_until)

    def _wake_at(self, when: float | None) -> None:
        if self._timer is not None:
            if self._timer.when() == when:
                return
            self._timer.cancel()
            self._timer = None
        if when is not None and self._loop is not None:
            self._timer = self._loop.call_at(when, self._woken)

    def _woken(self) -> None:
        self._timer = None
        self._serve()
