"""When a fault strikes: by count, by probability with a seed, by filters and a predicate on the request."""

from __future__ import annotations

import random
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from ecs_waiter.emulator.faults import connection, refusals, rows
from ecs_waiter.emulator.faults.base import Fault, check_number, check_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecs_waiter.emulator.request import Request

__all__ = ["Faults", "Injection"]

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
    "quota": refusals.Quota,
    "refuse": refusals.Refuse,
    "reject": refusals.Reject,
    "reset": connection.Reset,
    "rewrite": rows.Rewrite,
    "status": refusals.Status,
    "throttle": refusals.Throttle,
    "truncate": connection.Truncate,
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


class Injection:
    """A fault in place: tells how often it struck, and can be taken out.

    Attributes:
        kind: The fault's name.
        struck: How often it struck.
    """

    def __init__(
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
        self.struck = 0
        self._fault = fault
        self._times = times
        self._probability = probability
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose, no secret
        self._where = where
        self._action = action
        self._region_id = region_id
        self._removed = False

    def __repr__(self) -> str:
        return f"<{self._fault!r} struck {self.struck} times{'' if self.active else ', over'}>"

    @property
    def active(self) -> bool:
        """Whether it can strike again."""
        return not self._removed and (self._times is None or self.struck < self._times)

    def remove(self) -> None:
        """Take it out; it strikes no more."""
        self._removed = True

    @property
    def fault(self) -> Fault:
        """What strikes."""
        return self._fault

    def strikes(self, request: Request) -> bool:
        """Decide whether it strikes this request, and count it if so."""
        if (
            not self.active
            or self._action not in (None, request.action)
            or self._region_id not in (None, request.region_id)
            or (self._where is not None and not self._where(request))
            or (self._probability < 1 and self._random.random() >= self._probability)
            or not self._fault.applies(request)
        ):
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
