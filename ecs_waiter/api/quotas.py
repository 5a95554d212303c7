"""Quotas: what the service taught about each operation of a region, kept per event loop and longer than any waiter."""

from __future__ import annotations

import hashlib
import math
import os
from collections import OrderedDict, deque
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING
from weakref import WeakSet, WeakValueDictionary, ref

from ecs_waiter.api.credentials import StaticCredentials

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Hashable, Iterable, Iterator

    from ecs_waiter.api.credentials import CredentialsProvider

__all__ = ["CallLog", "Quota", "Quotas", "quotas_of"]

_REMEMBERED = 2.0
"""Seconds after which a call no longer counts: no window of a rate of one or more is longer."""

_RECOVERY = 0.1
_MOST = 1000


class CallLog:
    """When calls went out: those of the last two seconds, and the last call however old it is."""

    __slots__ = ("_times",)

    def __init__(self, times: Iterable[float] = ()) -> None:
        self._times = deque(times)

    def __iter__(self) -> Iterator[float]:
        return iter(self._times)

    def __len__(self) -> int:
        return len(self._times)

    def note(self, now: float) -> None:
        """Add a call that goes out now."""
        self._times.append(now)
        self._prune(now)

    def forget(self, at: float) -> None:
        """Remove a call that was not made."""
        with suppress(ValueError):
            self._times.remove(at)

    def add_all(self, times: Iterable[float]) -> None:
        """Add more calls."""
        self._times = deque(sorted([*self._times, *times]))
        if self._times:
            self._prune(self._times[-1])

    def next_at(self, rate: float, *, spare: int = 0) -> float:
        """Return when the rate allows one more call.

        With a rate r, at most ceil(r) calls go out in any ceil(r)/r seconds and at most floor(r) in any floor(r)/r
        seconds: never more than ceil(r) in any one second, and exactly r a second over time.

        Args:
            rate: Calls per second; infinite means no limit.
            spare: How many more calls the rate must allow at the same time.
        """
        times = self._times
        due = -math.inf
        if rate == math.inf:
            return due
        for count in {max(1, int(rate)), math.ceil(rate)}:
            if len(times) >= max(1, count - spare):
                earliest, period = times[-max(1, count - spare)], count / rate
                at = earliest + period
                # The sum may round down, and a call that left an instant early would be one too many in its window.
                while at - earliest < period:
                    at = math.nextafter(at, math.inf)
                due = max(due, at)
        return due

    def _prune(self, now: float) -> None:
        times = self._times
        while len(times) > 1 and now - times[0] >= _REMEMBERED:
            times.popleft()


class Quota:
    """What the service taught about one operation of one region. It holds no reference to the event loop.

    All times are in seconds, by the loop's clock.

    Attributes:
        rate: Calls per second, as throttling and success left it; infinite until the first throttling.
        calls: The recent calls of all waiters.
        users: The limiters that count by it.
    """

    __slots__ = ("__weakref__", "_last_change", "_pause_begins", "_pause_ends", "_shrunk_at", "calls", "rate", "users")

    def __init__(self) -> None:
        self.rate = math.inf
        self.calls = CallLog()
        self.users: WeakSet[object] = WeakSet()
        self._pause_begins = self._pause_ends = -math.inf
        self._shrunk_at = -math.inf
        self._last_change = -math.inf

    def paused_until(self, longest: float) -> float:
        """Return when the pause ends that the service asked for, of which a waiter obeys `longest` seconds."""
        return min(self._pause_ends, self._pause_begins + longest)

    def throttled(self, now: float, *, retry_after: float | None, sent_at: float, ceiling: float, floor: float) -> None:
        """Halve the rate, and pause for as long as the service asked.

        Args:
            now: The time.
            retry_after: The pause.
            sent_at: When the call went out. Calls that were under way together report the same overload once.
            ceiling: The highest rate of the waiter that was throttled.
            floor: Its lowest rate.
        """
        if retry_after is not None and now + retry_after > self._pause_ends:
            self._pause_begins, self._pause_ends = now, now + retry_after
        if sent_at > self._shrunk_at:
            self.rate = min(self.rate, max(floor, min(self.rate, ceiling) / 2))
            self._shrunk_at = now
        self._last_change = now

    def succeeded(self, now: float, ceiling: float) -> bool:
        """Recover a tenth of a waiter's ceiling per second; returns whether the rate has risen."""
        if self.rate >= ceiling:
            return False
        # A second at most, or one answer after an idle hour would end the restraint.
        spell = min(now - self._last_change, 1.0)
        self._last_change = now
        self.rate = min(ceiling, self.rate + ceiling * _RECOVERY * spell)
        return True

    def taught_at(self) -> float:
        """Return when the service last taught something that still matters."""
        return max(self._last_change, self._pause_ends)


class Quotas:
    """The quotas of one event loop, by account, endpoint, region and operation.

    What a limiter uses stays. Of the others it keeps the thousand that matter most: those of which something was
    learned lately, then those used lately.
    """

    def __init__(self) -> None:
        self._used: WeakValueDictionary[Hashable, Quota] = WeakValueDictionary()
        self._kept: OrderedDict[Hashable, Quota] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, provider: CredentialsProvider, endpoint: str | None, region_id: str) -> Callable[[str], Quota]:
        """Return what finds the quota of an operation, by its name."""
        account = _account_of(provider)
        return lambda operation: self._find((account, endpoint, region_id, operation))

    def _find(self, key: Hashable) -> Quota:
        quota = self._used.get(key)
        if quota is None:
            quota = self._used[key] = Quota()
        self._kept[key] = quota
        self._kept.move_to_end(key)
        if len(self._kept) > _MOST:
            # Many at once, for that means going through all of them. Among equals, the sort keeps the order of use.
            least = sorted(self._kept.items(), key=lambda item: item[1].taught_at())
            for each, _ in islice(least, _MOST // 10):
                del self._kept[each]
        return quota


_ATTRIBUTE = "_ecs_waiter_quotas"


def quotas_of(loop: asyncio.AbstractEventLoop) -> Quotas:
    """Return the quotas of an event loop, which end with it."""
    quotas: Quotas | None = getattr(loop, _ATTRIBUTE, None)
    if quotas is None:
        quotas = Quotas()
        # On the loop itself: a provider that is a key in them may refer to the loop, which no weak map would forget.
        setattr(loop, _ATTRIBUTE, quotas)
    return quotas


_SALT = os.urandom(16)


def _account_of(provider: CredentialsProvider) -> Hashable:
    """A key for whose calls count together, which keeps no secret: equal keys are one account, a provider is itself."""
    if type(provider) is StaticCredentials:
        credentials = provider.at_hand()
        parts = (credentials.access_key_id, credentials.access_key_secret, credentials.security_token or "")
        # No part holds a line break.
        return hashlib.blake2b("\n".join(parts).encode(), key=_SALT).digest()
    return _Provider(provider)


class _Provider:
    """A provider as a key: the same object, which is not kept alive where that can be helped."""

    __slots__ = ("_id", "_thing")

    def __init__(self, provider: CredentialsProvider) -> None:
        self._id = id(provider)
        self._thing: object
        try:
            self._thing = ref(provider)
        except TypeError:
            self._thing = provider

    def _alive(self) -> object:
        return self._thing() if isinstance(self._thing, ref) else self._thing

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, _Provider) and self._alive() is not None and self._alive() is other._alive()
        )

    def __hash__(self) -> int:
        return self._id
