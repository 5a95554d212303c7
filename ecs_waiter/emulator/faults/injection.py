"""Which requests a fault hits: by count, by probability with a seed, by filters and a predicate on the request."""

from __future__ import annotations

import random
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from ecs_waiter.emulator.faults import connection, refusals, rows
from ecs_waiter.emulator.faults.base import Fault, check_number, check_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecs_waiter.emulator.wire import Request

__all__ = ["KINDS", "Faults", "Injection", "make_fault"]

KINDS: dict[str, type[Fault]] = {
    "backwards": rows.Backwards,
    "bad_gzip": connection.BadGzip,
    "body": rows.Body,
    "clock": rows.ClockSkew,
    "cut_short": rows.CutShort,
    "delay": connection.Delay,
    "double": rows.Double,
    "drip": connection.Drip,
    "drop": rows.Drop,
    "endless": connection.Endless,
    "foreign": rows.Foreign,
    "hang": connection.Hang,
    "old_shape": rows.OldShape,
    "quota": refusals.CallQuota,
    "ratelimit": rows.RateLimit,
    "refuse": refusals.Refuse,
    "reject": refusals.Reject,
    "reset": connection.Reset,
    "rewrite": rows.Rewrite,
    "status": refusals.Status,
    "throttle": refusals.Throttle,
    "truncate": connection.Truncate,
    "unreadable": rows.Unreadable,
}


def make_fault(kind: str, settings: dict[str, Any]) -> Fault:
    """Make a fault from its name and settings.

    Raises:
        ValueError: The fault or a setting is unknown, or a value is invalid.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown fault {kind!r}; the faults are {', '.join(sorted(KINDS))}")
    cls = KINDS[kind]
    known = [field.name for field in fields(cls) if field.init]
    unknown = sorted(set(settings) - set(known))
    if unknown:
        has = f"its settings are {', '.join(known)}" if known else "it has no settings"
        raise ValueError(f"the fault {kind!r} has no {', '.join(unknown)}; {has}")
    try:
        return cls(**settings)
    except TypeError as error:
        raise ValueError(f"the fault {kind!r} lacks a setting: {error}") from None


class Injection:
    """An injected fault: counts its hits, and can be removed.

    Attributes:
        kind: The fault's name.
        fault: The fault.
        hits: How many requests it has hit.
    """

    def __init__(  # noqa: PLR0913 - those of `EcsEmulator.inject`
        self,
        kind: str,
        fault: Fault,
        *,
        times: int | None,
        probability: float,
        seed: int,
        where: Callable[[Request], bool] | None,
        action: str | None,
        region_id: str | None,
    ) -> None:
        if times is not None:
            check_whole("times", times, least=1)
        check_number("probability", probability, most=1)
        if where is not None and not callable(where):
            raise ValueError(f"where takes a function of the request, not {where!r}")
        self.kind = kind
        self.fault = fault
        self.hits = 0
        self._times = times
        self._probability = probability
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose, no secret
        self._where = where
        self._action = action
        self._region_id = region_id
        self._removed = False

    def __repr__(self) -> str:
        return f"<{self.fault!r} hits={self.hits}{'' if self.active else ' inactive'}>"

    @property
    def active(self) -> bool:
        """Whether it can hit another request."""
        return not self._removed and (self._times is None or self.hits < self._times)

    def remove(self) -> None:
        """Remove the fault; it hits no more requests."""
        self._removed = True

    def hit(self, request: Request) -> bool:
        """Decide whether it hits this request, and count it if so."""
        if (
            not self.active
            or self._action not in (None, request.action)
            or self._region_id not in (None, request.region_id)
            or not (self._where is None or self._where(request))
            or (self._probability < 1 and self._random.random() >= self._probability)
            or not self.fault.applies(request)
        ):
            return False
        self.hits += 1
        return True


class Faults:
    """All injected faults, in the order of injection."""

    def __init__(self) -> None:
        self._injections: list[Injection] = []

    def add(self, injection: Injection) -> None:
        """Add a fault."""
        self._injections = [*(each for each in self._injections if each.active), injection]

    def clear(self) -> None:
        """Remove all faults."""
        for injection in self._injections:
            injection.remove()
        self._injections = []

    def hitting(self, request: Request) -> list[Fault]:
        """Return the faults that hit this request; at most one of them is exclusive."""
        hitting: list[Fault] = []
        has_exclusive = False
        for injection in self._injections:
            fault = injection.fault
            if not (fault.exclusive and has_exclusive) and injection.hit(request):
                hitting.append(fault)
                has_exclusive = has_exclusive or fault.exclusive
        return hitting
