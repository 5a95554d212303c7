"""When a fault strikes: by count, by probability with a seed, by filters and a predicate on the request."""

from __future__ import annotations

import random
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from ecs_waiter.emulator.faults import connection, refusals, rows
from ecs_waiter.emulator.faults.base import Fault, check_number, check_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecs_waiter.emulator.request import Request

__all__ = ["Faults", "Injection", "When", "make_fault"]

KINDS: dict[str, type[Fault]] = {
    "backwards": rows.Backwards,
    "bad_gzip": connection.BadGzip,
    "body": rows.Body,
    "clock": rows.Clock,
    "cut_short": rows.CutShort,
    "delay": connection.Delay,
    "double": rows.Double,
    "drip": connection.Drip,
    "drop": rows.Drop,
    "endless": connection.Endless,
    "foreign": rows.Foreign,
    "hang": connection.Hang,
    "old_shape": rows.OldShape,
    "quota": refusals.Quota,
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
    """Make a fault of its name and settings.

    Raises:
        ValueError: There is no such kind, it has no such setting, or cannot have that value.
    """
    if kind not in KINDS:
        raise ValueError(f"there is no fault {kind!r}; there are {', '.join(sorted(KINDS))}")
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


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """When a fault strikes: what `EcsEmulator.inject` is told."""

    times: int | None = None
    probability: float = 1
    seed: int = 0
    where: Callable[[Request], bool] | None = None
    action: str | None = None
    region_id: str | None = None

    def __post_init__(self) -> None:
        if self.times is not None:
            check_whole("times", self.times, least=1)
        check_number("probability", self.probability, most=1)
        if self.where is not None and not callable(self.where):
            raise ValueError(f"where takes a function of the request, not {self.where!r}")

    def lets_through(self, request: Request) -> bool:
        """Whether the filters name this request."""
        return (
            self.action in (None, request.action)
            and self.region_id in (None, request.region_id)
            and (self.where is None or self.where(request))
        )


class Injection:
    """A fault in place: tells how often it struck, and can be taken out.

    Attributes:
        kind: The fault's name.
        fault: What strikes.
        struck: How often it struck.
    """

    def __init__(self, kind: str, fault: Fault, when: When) -> None:
        self.kind = kind
        self.fault = fault
        self.struck = 0
        self._when = when
        self._random = random.Random(when.seed)  # noqa: S311 - repeatable on purpose, no secret
        self._removed = False

    def __repr__(self) -> str:
        return f"<{self.fault!r} struck {self.struck} times{'' if self.active else ', over'}>"

    @property
    def active(self) -> bool:
        """Whether it can strike again."""
        return not self._removed and (self._when.times is None or self.struck < self._when.times)

    def remove(self) -> None:
        """Take it out; it strikes no more."""
        self._removed = True

    def strikes(self, request: Request) -> bool:
        """Decide whether it strikes this request, and count it if so."""
        when = self._when
        if not self.active or not when.lets_through(request):
            return False
        if when.probability < 1 and self._random.random() >= when.probability:
            return False
        if not self.fault.applies(request):
            return False
        self.struck += 1
        return True


class Faults:
    """All faults in place, in the order in which they were injected."""

    def __init__(self) -> None:
        self._injections: list[Injection] = []

    def add(self, injection: Injection) -> None:
        """Put a fault in place."""
        self._injections = [*(each for each in self._injections if each.active), injection]

    def clear(self) -> None:
        """Take all of them out."""
        for injection in self._injections:
            injection.remove()
        self._injections = []

    def striking(self, request: Request) -> list[Fault]:
        """Return what strikes this request: what adds up, and at most one that stands alone."""
        struck: list[Fault] = []
        taken = False
        for injection in self._injections:
            if injection.fault.alone and taken:
                continue
            if injection.strikes(request):
                struck.append(injection.fault)
                taken = taken or injection.fault.alone
        return struck
