"""RegionLimiter: when the next call of an operation to a region may go out, by rates and by places in flight."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections import OrderedDict
from contextlib import asynccontextmanager
from enum import IntEnum
from typing import TYPE_CHECKING

from ecs_waiter.api.quotas import CallLog, RegionQuotas
from ecs_waiter.running_clock import GAP

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ecs_waiter.api.call_policy import CallPolicy

__all__ = ["PlaceTakenError", "Priority", "RegionLimiter"]

_IN_A_ROW = 3
_LONGEST_PAUSE = 30.0


class Priority(IntEnum):
    """Who goes first: polls, then other calls, then look-ups of a failed task's reason."""

    POLL = 0
    CALL = 1
    LOOKUP = 2


class PlaceTakenError(Exception):
    """A poll took the place of a look-up under way: it has to be made again."""


class RegionLimiter:
    """The gate that calls of one operation to one region pass; `beside` returns the gates of its other operations.

    Rate and pause are those of the operation's `Quota`, which all waiters of the event loop learn together. All gates
    together let out at most the policy's `max_calls_per_second`, and at most its `max_in_flight` calls are under way.
    Calls that wait for a rate or a pause hold no place.

    Waiters are served by priority, then in the order they came. After three grants in a row to one priority while
    others wait below it, one of those is served. Look-ups leave a place, and a call of the rate, to the others; and a
    poll that finds no place free takes that of a look-up.

    All times are in seconds, by the running loop's clock.

    Args:
        policy: Its `max_calls_per_second`, `max_in_flight`, `outage_budget` and `call_timeout`.
        operation: The operation's name.
        quotas: Those of the region; by default new ones.
        region: What the gates of a region share; by default a new one.
    """

    def __init__(
        self,
        policy: CallPolicy,
        operation: str = "DescribeTasks",
        *,
        quotas: RegionQuotas | None = None,
        region: _Region | None = None,
    ) -> None:
        self.region = _Region(policy, quotas or RegionQuotas()) if region is None else region
        self.region.gates[operation] = self
        self.quota = self.region.quotas[operation]
        self.last = -math.inf
        # By priority, in the order they are served: a waiter's future, its number in the region, and when it came.
        self.waiting: list[OrderedDict[asyncio.Future[float], tuple[int, float]]] = [OrderedDict() for _ in Priority]

    def __repr__(self) -> str:
        region = self.region
        waiting = ", ".join(f"{p.name}: {len(self.waiting[p])}" for p in Priority)
        return (
            f"<RegionLimiter rate={self.rate:g}/{region.ceiling:g} in_flight={self.in_flight}/{region.places} "
            f"waiting=({waiting})>"
        )

    def beside(self, operation: str) -> RegionLimiter:
        """Return the gate of another operation of the region, which shares the ceiling and the places."""
        region = self.region
        return region.gates.get(operation) or RegionLimiter(region.policy, operation, region=region)

    @property
    def rate(self) -> float:
        """Calls per second of the operation that may go out now, up to the policy's ceiling."""
        return min(self.quota.rate, self.region.ceiling)

    @property
    def in_flight(self) -> int:
        """Places held, by calls of all operations."""
        return self.region.in_flight

    @property
    def blocked_until(self) -> float:
        """No call goes out before this time of the loop's clock: the service asked for it."""
        return self.quota.blocked_until(self.region.policy.outage_budget)

    @property
    def next_at(self) -> float:
        """When the rate or the pause of the operation lets its next call out."""
        return max(self.quota.next_at, self.blocked_until)

    def rates(self) -> tuple[float, float | None]:
        """Return the rate in use and the learned quota of all operations of the region; None while none is known."""
        gates = self.region.gates.values()
        learned = [gate.quota.learned for gate in gates if gate.quota.learned is not None]
        return min(sum(gate.rate for gate in gates), self.region.ceiling), sum(learned) if learned else None

    def is_idle(self) -> bool:
        """Whether nobody calls or waits."""
        return not self.in_flight and not any(any(gate.waiting) for gate in self.region.gates.values())

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
                    self.region.lookups[term] = None
                yield
        except TimeoutError:
            if term.expired():
                raise PlaceTakenError from None
            raise
        finally:
            self.region.lookups.pop(term, None)
            self.release(priority)

    async def acquire(self, priority: Priority = Priority.CALL, *, first: bool = False) -> None:
        """Wait until a call may go out now; then the caller holds a place, to `release` or to `give_back`.

        With `first` this waiter is served before all others of its priority.
        """
        region, queue = self.region, self.waiting[priority]
        region.loop = asyncio.get_running_loop()
        self.quota.users.add(self)
        granted: asyncio.Future[float] = region.loop.create_future()
        number = next(region.numbers)
        queue[granted] = (-number if first else number, region.loop.time())
        queue.move_to_end(granted, last=not first)
        region.serve()
        try:
            await granted
        except asyncio.CancelledError:
            if granted.cancelled():
                queue.pop(granted, None)
            else:
                # Granted and canceled in the same turn of the loop: nobody is left to use the grant.
                self._take_back(priority, granted.result())
            self.serve()
            raise
        if region.loop.time() - granted.result() > GAP:
            # The loop was stopped since, and the grant counts for the time before.
            self._take_back(priority, granted.result())
            await self.acquire(priority, first=True)

    async def pace(self, priority: Priority = Priority.CALL) -> None:
        """Wait until the holder of a place may send again. Until then, others can take the place."""
        self._hold(priority, -1)
        try:
            await self.acquire(priority, first=True)
        except BaseException:
            # The caller gives it back, without a turn of the loop in between.
            self._hold(priority, 1)
            raise

    def release(self, priority: Priority = Priority.CALL) -> None:
        """Give the place back after the call.

        Raises:
            RuntimeError: No place of this priority is held.
        """
        if not self.region.held[priority]:
            raise RuntimeError(f"{self!r}: no place of {priority.name} is held")
        self._hold(priority, -1)
        if priority is Priority.LOOKUP:
            self.region.is_taking_place = False
        self.serve()

    def give_back(self, priority: Priority = Priority.CALL) -> None:
        """Give the place back unused, and the right to call with it: as if it had never been acquired.

        To be called in the very turn in which `acquire` returned: what is given back is the last grant taken.
        """
        self._take_back(priority, self.last)
        self.serve()

    def retire(self) -> None:
        """Count the calls of all operations so far, and any further one, for the waiters that come after this one."""
        self.region.retire()

    def throttled(self, sent_at: float, retry_after: float | None) -> None:
        """Pause the operation, because a call sent at `sent_at` was throttled."""
        region, now = self.region, asyncio.get_running_loop().time()
        # A pause is short enough for a last try after an outage budget has ended.
        longest = min(_LONGEST_PAUSE, region.policy.call_timeout / 2)
        self.quota.throttled(now, sent_at, retry_after, ceiling=region.ceiling, longest=longest)

    def succeeded(self, sent_at: float) -> None:
        """End a pause and learn from it, because a call sent at `sent_at` was answered and not throttled."""
        if self.quota.succeeded(sent_at, self.region.ceiling):
            self.serve()

    # -- for the region -----------------------------------------------------------------------------------------------

    def first(self, priority: Priority) -> int | None:
        """Return the number of the next waiter; None if nobody waits."""
        queue = self.waiting[priority]
        while queue and next(iter(queue)).done():
            # Just canceled: its own turn to leave has not come yet.
            queue.popitem(last=False)
        return next(iter(queue.values()))[0] if queue else None

    def grant(self, priority: Priority, now: float) -> None:
        """Give the next waiter a place and a call of the rates."""
        granted, (_, asked_at) = self.waiting[priority].popitem(last=False)
        self._hold(priority, 1)
        self.region.calls.add(now)
        self.quota.granted(now, asked_at)
        self.last = now
        granted.set_result(now)

    def _hold(self, priority: Priority, calls: int) -> None:
        self.region.held[priority] += calls
        self.quota.under_way += calls

    def _take_back(self, priority: Priority, at: float) -> None:
        self._hold(priority, -1)
        self.quota.taken_back(at)
        self.region.calls.remove(at)

    def serve(self) -> None:
        """Grant calls in all limiters that share the quota, starting with the one that has waited longest."""
        for gate in sorted(self.quota.users, key=lambda gate: gate.last):
            gate.region.serve()


class _Region:
    """What the gates of a region's operations share in one waiter: the ceiling, the places and the timer."""

    def __init__(self, policy: CallPolicy, quotas: RegionQuotas) -> None:
        self.policy = policy
        self.ceiling = float(policy.max_calls_per_second)
        self.places = policy.max_in_flight
        self.quotas = quotas
        # The calls of waiters that have ended count on: a new waiter does not begin with a burst.
        self.calls = CallLog()
        self.calls.merge(quotas.calls)
        self.gates: dict[str, RegionLimiter] = {}
        self.held = [0] * len(Priority)
        self.numbers = itertools.count(1)
        # Ends the look-ups under way, the oldest first; and whether one was ended that has yet to leave its place.
        self.lookups: dict[asyncio.Timeout, None] = {}
        self.is_taking_place = False
        self.loop: asyncio.AbstractEventLoop | None = None
        self._in_a_row = [0] * len(Priority)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def in_flight(self) -> int:
        return sum(self.held)

    def retire(self) -> None:
        self.quotas.calls.merge(self.calls)
        self.calls = self.quotas.calls
        for gate in self.gates.values():
            # One with waiters still has to be served.
            if not any(gate.waiting):
                gate.quota.users.discard(gate)

    def serve(self) -> None:
        """Grant what may be granted now and set the timer for the next."""
        if self.loop is None:
            return
        while True:
            now = self.loop.time()
            ready, wake_at = self._ready(now)
            if not ready:
                break
            self._grant(ready, now)
        self._wake_at(wake_at)

    def _ready(self, now: float) -> tuple[dict[Priority, RegionLimiter], float]:
        """Return the gates whose first waiter may go now, one for each priority; and when to look again."""
        ready: dict[Priority, RegionLimiter] = {}
        wake_at = math.inf
        is_poll_next = False
        for priority in Priority:
            gates = [gate for gate in self.gates.values() if gate.waiting[priority]]
            if not gates:
                continue
            has_place = self._has_place(priority)
            if not has_place and priority is not Priority.POLL:
                continue
            # A look-up leaves a call of the ceiling, unless a poll waits for the ceiling alone: then they take turns.
            spare = int(priority is Priority.LOOKUP and not is_poll_next)
            ceiling_due = self.calls.next_at(self.ceiling, spare=spare)
            first = math.inf
            for gate in gates:
                number = gate.first(priority)
                if number is None:
                    continue
                # While calls are throttled, one at a time goes out.
                own_due = math.inf if gate.quota.is_probing and gate.quota.under_way else gate.next_at
                due = max(own_due, ceiling_due)
                if due > now:
                    wake_at = min(wake_at, due)
                elif not has_place:
                    self._take_place()
                elif number < first:
                    first = number
                    ready[priority] = gate
                if priority is Priority.POLL and has_place and own_due <= now:
                    is_poll_next = True
        return ready, wake_at

    def _grant(self, ready: dict[Priority, RegionLimiter], now: float) -> None:
        *higher, lowest = ready
        priority = next((each for each in higher if self._in_a_row[each] < _IN_A_ROW), lowest)
        ready[priority].grant(priority, now)
        self._in_a_row[:priority] = [0] * priority
        passes_over = any(any(gate.waiting[priority + 1 :]) for gate in self.gates.values())
        self._in_a_row[priority] = self._in_a_row[priority] + 1 if passes_over else 0

    def _has_place(self, priority: Priority) -> bool:
        free = self.places - self.in_flight
        if priority is not Priority.LOOKUP:
            return free > 0
        if self.held[priority] >= max(1, self.places - 1):
            return False
        # The last one is for a poll that waits, unless its operation is paused.
        waits = any(gate.waiting[Priority.POLL] and not gate.quota.is_probing for gate in self.gates.values())
        return free > 1 or (free > 0 and not waits)

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
        for gate in tuple(self.gates.values()):
            gate.serve()
