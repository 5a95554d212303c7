"""Quotas: what throttling showed about each operation of a region, kept per event loop and longer than any waiter."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING
from weakref import WeakSet, ref

from ecs_waiter.api.credentials import StaticCredentials

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Hashable, Iterable, Iterator

    from ecs_waiter.api.credentials import CredentialsProvider

__all__ = ["CallLog", "Quota", "Quotas", "quotas_of"]

_REMEMBERED = 2.0
"""Seconds after which a call no longer counts: no window of a rate of one or more is longer."""

_RECOVERY = 0.1
_MAX_QUOTAS = 1000


class CallLog:
    """When calls went out: those of the last two seconds, and the last call however old it is."""

    __slots__ = ("_times",)

    def __init__(self, times: Iterable[float] = ()) -> None:
        self._times = deque(times)

    def __iter__(self) -> Iterator[float]:
        return iter(self._times)

    def __len__(self) -> int:
        return len(self._times)

    def add(self, *times: float) -> None:
        """Add calls, and drop those that no longer count when the last of them goes out."""
        self._times.extend(times)
        if len(times) > 1:
            self._times = deque(sorted(self._times))
        while len(self._times) > 1 and self._times[-1] - self._times[0] >= _REMEMBERED:
            self._times.popleft()

    def remove(self, at: float) -> None:
        """Remove a call that was not made."""
        with suppress(ValueError):
            self._times.remove(at)

    def next_at(self, rate: float, *, spare: int = 0) -> float:
        """Return when the rate allows one more call.

        With a rate r, at most ceil(r) calls go out in any ceil(r)/r seconds and at most floor(r) in any floor(r)/r
        seconds: never more than ceil(r) in any one second, and exactly r a second over time.

        Args:
            rate: Calls per second; infinite means no limit.
            spare: How many more calls the rate must allow at the same time.
        """
        due = -math.inf
        if rate == math.inf:
            return due
        for count in {max(1, int(rate)), math.ceil(rate)}:
            back = max(1, count - spare)
            if len(self._times) >= back:
                earliest, period = self._times[-back], count / rate
                at = earliest + period
                # The sum may round down. A call that goes out an instant early is one too many in its window.
                while at - earliest < period:
                    at = math.nextafter(at, math.inf)
                due = max(due, at)
        return due


class Quota:
    """The rate and the pause of one operation of one region. It holds no reference to the event loop.

    All times are in seconds, by the loop's clock.

    Attributes:
        rate: Calls per second, as throttling and success left it; infinite until the first throttling.
        calls: The recent calls of all waiters.
        users: The limiters that count by it.
    """

    __slots__ = ("_halved_at", "_last_change", "_pause_begins", "_pause_ends", "calls", "rate", "users")

    def __init__(self) -> None:
        self.rate = math.inf
        self.calls = CallLog()
        self.users: WeakSet[object] = WeakSet()
        self._pause_begins = self._pause_ends = self._halved_at = self._last_change = -math.inf

    def paused_until(self, longest: float) -> float:
        """Return when the pause ends that the service asked for, of which a waiter obeys `longest` seconds."""
        return min(self._pause_ends, self._pause_begins + longest)

    def throttled(self, now: float, *, retry_after: float | None, sent_at: float, ceiling: float, floor: float) -> None:
        """Halve the rate, and pause for as long as the service asked.

        Args:
            now: The time.
            retry_after: The pause.
            sent_at: When the call went out. Calls that were under way together halve the rate once.
            ceiling: The highest rate of the waiter that was throttled.
            floor: Its lowest rate.
        """
        if retry_after is not None and now + retry_after > self._pause_ends:
            self._pause_begins, self._pause_ends = now, now + retry_after
        if sent_at > self._halved_at:
            self.rate = min(self.rate, max(floor, min(self.rate, ceiling) / 2))
            self._halved_at = now
        self._last_change = now

    def succeeded(self, now: float, ceiling: float) -> None:
        """Recover a tenth of a waiter's ceiling per second, up to that ceiling."""
        if self.rate < ceiling:
            # One second at most, so that an idle hour does not count as an hour of success.
            seconds = min(now - self._last_change, 1.0)
            self._last_change = now
            self.rate = min(ceiling, self.rate + ceiling * _RECOVERY * seconds)

    def changed_at(self) -> float:
        """Return when throttling last changed anything, or the end of the pause if that is later."""
        return max(self._last_change, self._pause_ends)


class Quotas:
    """The quotas of one event loop, by account, endpoint, region and operation.

    Of more than a thousand it keeps those that a limiter uses, then those that throttling changed last, then those that
    were used last.
    """

    def __init__(self) -> None:
        self._quotas: OrderedDict[Hashable, Quota] = OrderedDict()

    def __len__(self) -> int:
        return len(self._quotas)

    def of(self, provider: CredentialsProvider, endpoint: str | None, region_id: str) -> Callable[[str], Quota]:
        """Return what finds the quota of an operation, by its name."""
        account = _account_of(provider)
        return lambda operation: self._find((account, endpoint, region_id, operation))

    def _find(self, key: Hashable) -> Quota:
        quota = self._quotas.setdefault(key, Quota())
        self._quotas.move_to_end(key)
        if len(self._quotas) > _MAX_QUOTAS:
            # A tenth at once, because all are sorted for it. The sort is stable: it keeps the order of use.
            least = sorted(self._quotas.items(), key=lambda item: (len(item[1].users) > 0, item[1].changed_at()))
            for each, _ in islice(least, _MAX_QUOTAS // 10):
                del self._quotas[each]
        return quota


_ATTRIBUTE = "_ecs_waiter_quotas"


def quotas_of(loop: asyncio.AbstractEventLoop) -> Quotas:
    """Return the quotas of an event loop, which end with it."""
    quotas: Quotas | None = getattr(loop, _ATTRIBUTE, None)
    if quotas is None:
        quotas = Quotas()
        # On the loop itself. A weak map of loops would never forget one to which a provider among the keys refers.
        setattr(loop, _ATTRIBUTE, quotas)
    return quotas


def _account_of(provider: CredentialsProvider) -> Hashable:
    """Return a key for whose calls count together; it holds no secret, and no provider if that is possible."""
    if type(provider) is StaticCredentials:
        return hash(provider)
    try:
        key = ref(provider)
        hash(key)
    except TypeError:
        # It cannot be hashed or referred to weakly. Its bound method compares by the identity of the object.
        return provider.get_credentials
    return key
