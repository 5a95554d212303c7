"""Quotas: what throttling showed about each operation of a region, kept per event loop and longer than any waiter."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter, OrderedDict, deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakSet, ref

from ecs_waiter.api.credentials import StaticCredentials

if TYPE_CHECKING:
    from collections.abc import Hashable

    from ecs_waiter.api.credentials import CredentialsProvider

__all__ = ["CallLog", "Quota", "RegionQuotas", "find_quotas", "quotas_of"]

_log = logging.getLogger("ecs_waiter.api")

_DEPTH = 0.05
"""By what part of a newly learned quota the calls stay below it at first."""

_HOLD = 45.0
"""Seconds under load after which they have reached it; from then on the rate rises past it, to find a higher quota."""

_FIRST_PAUSE = 1.0
_SLOWEST = 0.1
"""Calls per second that are always tried: a region throttled for long is still asked now and then."""

_REMEMBERED = 2.0
"""Seconds after which a call no longer counts for a ceiling: no window of a ceiling of one or more is longer."""

_MAX_REGIONS = 1000


class CallLog:
    """When calls went out: those of the last two seconds, and the last call however old it is."""

    __slots__ = ("_times",)

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def add(self, at: float) -> None:
        """Add a call, and drop those that no longer count when it goes out."""
        self._times.append(at)
        while len(self._times) > 1 and at - self._times[0] >= _REMEMBERED:
            self._times.popleft()

    def merge(self, other: CallLog) -> None:
        """Add the calls that only the other log has."""
        times = sorted((Counter(self._times) | Counter(other._times)).elements())
        self._times.clear()
        for at in times:
            self.add(at)

    def remove(self, at: float) -> None:
        """Remove a call that was not made."""
        with suppress(ValueError):
            self._times.remove(at)

    def next_at(self, rate: float, *, spare: int = 0) -> float:
        """Return when a rate allows one more call, and `spare` more at the same time.

        At a rate r, at most ceil(r) calls go out in any ceil(r)/r seconds and at most floor(r) in any floor(r)/r
        seconds: never more than ceil(r) in any one second, and exactly r a second over time.
        """
        due = -math.inf
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
    """The rate of one operation of one region, which all waiters of an event loop learn together.

    It is unlimited until the service throttles a call. Then one call at a time probes whether the service accepts calls
    again, after a pause that doubles each time. The first good answer gives the quota: the rate before the pause, times
    the part of the time in which calls could go out. The first throttling of all is only remembered if its first probe
    is throttled too, because it may be chance.

    From just below the quota the rate then follows a cubic curve along it and past it, over the time in which it holds
    calls back. Idle time does not count. All times are in seconds, by the loop's clock.

    Attributes:
        learned: Calls per second that the service lets through; None until that was learned.
        is_probing: Whether calls are throttled, so that one at a time goes out.
        under_way: Calls that hold a place.
        next_at: When the rate, or the present pause, lets the next call out.
        throttled_at: When a call was last throttled.
        users: The limiters that share the rate.
    """

    def __init__(self, name: str = "") -> None:
        self.learned: float | None = None
        self.is_probing = False
        self.under_way = 0
        self.users: WeakSet[Any] = WeakSet()
        self._name = name
        self.next_at = self.throttled_at = self._last = -math.inf
        # Since the last pause: good answers, and seconds in which calls were held back.
        self._good = 0
        self._held = 0.0
        # The present pause: its seconds, the rate before it, and `_held` when it began and at the last failed probe.
        self._pause = 0.0
        self._rate_at_cut = math.inf
        self._held_at_cut = self._held_at_failure = 0.0
        self._may_be_chance = True
        # The pause that the service asked for.
        self._asked_at = self._asked_until = -math.inf

    @property
    def rate(self) -> float:
        """Calls per second that may go out now; infinite while nothing was learned."""
        if self.learned is None:
            return math.inf
        return self.learned * (1 + _DEPTH * (self._held / _HOLD - 1) ** 3)

    def blocked_until(self, longest: float) -> float:
        """Return when the pause ends that the service asked for, of which a waiter obeys `longest` seconds."""
        return min(self._asked_until, self._asked_at + longest)

    def granted(self, now: float, asked_at: float) -> None:
        """A call goes out for which somebody has waited since `asked_at`."""
        self._held += now - max(asked_at, self._last)
        self._last = now
        if self.is_probing or self.learned is not None:
            self.next_at = now + (self._pause if self.is_probing else 1 / self.rate)

    def taken_back(self, at: float) -> None:
        """The call that was granted then did not go out, so another one may."""
        self.next_at = min(self.next_at, at)

    def throttled(self, now: float, sent_at: float, asked: float | None, *, ceiling: float, longest: float) -> None:
        """Pause until the next probe, and for as long as the service asked.

        Args:
            now: The time.
            sent_at: When the call went out. A call sent before the last throttling belongs to it.
            asked: The seconds that the service asked for.
            ceiling: The highest rate of the waiter that was throttled.
            longest: The longest pause between two probes.
        """
        if asked is not None and now + asked > self._asked_until:
            self._asked_at, self._asked_until = now, now + asked
        if sent_at <= self.throttled_at:
            return
        self.throttled_at = now
        self._held_at_failure = self._held
        if self.is_probing:
            self._pause = min(2 * self._pause, longest)
            self._may_be_chance = False
        else:
            self.is_probing = True
            self._rate_at_cut = min(self.rate, ceiling)
            self._held_at_cut = self._held
            self._pause = min(max(_FIRST_PAUSE, 1 / self._rate_at_cut), longest)
        self.next_at = now + self._pause

    def succeeded(self, sent_at: float, ceiling: float) -> bool:
        """Count a good answer to a call sent at `sent_at`; return whether it ended a pause."""
        self._good += 1
        if not self.is_probing or sent_at <= self.throttled_at:
            return False
        was_known = self.learned is not None
        self._learn(ceiling)
        if not was_known and self.learned is not None:
            _log.info("learned the quota of %s: %.3g calls per second", self._name, self.learned)
        self.is_probing = self._may_be_chance = False
        self._good, self._held = 0, 0.0
        self.next_at = self._last + 1 / self.rate
        return True

    def _learn(self, ceiling: float) -> None:
        # The service began to accept calls again between the last failed probe and the good answer.
        paused = (self._held_at_failure + self._held) / 2 - self._held_at_cut
        # A call that did not have to wait counts as long as the rate would have held it back.
        if self.learned is not None:
            rate = self._rate_at_cut
            unpaused = min(max(self._held_at_cut, self._good / rate), _HOLD)
        elif self._may_be_chance:
            return
        else:
            unpaused = max(self._held_at_cut, self._good / ceiling)
            rate = self._good / unpaused
        quota = max(rate * unpaused / (unpaused + paused), _SLOWEST)
        if self.learned is not None or quota < ceiling * (1 - _DEPTH):
            self.learned = quota


class RegionQuotas:
    """What is kept of the calls of one account to one region: a quota for each operation.

    Attributes:
        calls: The recent calls of waiters that have ended, whatever the operation.
    """

    def __init__(self, region_id: str = "") -> None:
        self.calls = CallLog()
        self._region_id = region_id
        self._quotas: dict[str, Quota] = {}

    def __getitem__(self, operation: str) -> Quota:
        return self._quotas.setdefault(operation, Quota(f"{operation} in {self._region_id}"))

    def rank(self) -> tuple[bool, float]:
        """Return whether a limiter uses one of the quotas, and when a call was last throttled."""
        quotas = self._quotas.values()
        return any(quota.users for quota in quotas), max((quota.throttled_at for quota in quotas), default=-math.inf)


_ATTRIBUTE = "_ecs_waiter_quotas"


def quotas_of(loop: asyncio.AbstractEventLoop) -> OrderedDict[Hashable, RegionQuotas]:
    """Return the quotas of an event loop by account, endpoint and region. They end with the loop."""
    quotas: OrderedDict[Hashable, RegionQuotas] | None = getattr(loop, _ATTRIBUTE, None)
    if quotas is None:
        quotas = OrderedDict()
        # On the loop itself. A weak map of loops would never forget one to which a provider among the keys refers.
        setattr(loop, _ATTRIBUTE, quotas)
    return quotas


def find_quotas(provider: CredentialsProvider, endpoint: str | None, region_id: str) -> RegionQuotas:
    """Return the quotas of an account in a region on the running loop.

    Of more than a thousand it keeps those that a limiter uses, then those throttled last, then those used last.
    """
    kept = quotas_of(asyncio.get_running_loop())
    key = (_account_of(provider), endpoint, region_id)
    quotas = kept.setdefault(key, RegionQuotas(region_id))
    kept.move_to_end(key)
    if len(kept) > _MAX_REGIONS:
        # A tenth at once, because all are sorted for it. The sort is stable: it keeps the order of use.
        for each, _ in sorted(kept.items(), key=lambda item: item[1].rank())[: _MAX_REGIONS // 10]:
            del kept[each]
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
