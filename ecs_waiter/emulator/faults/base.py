"""The base class of every kind of fault, and the checks of fault settings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from ecs_waiter.emulator.clock import ServiceTime
    from ecs_waiter.emulator.wire import Answer, Request

__all__ = ["Fault", "check_choice", "check_number", "check_status", "check_whole"]

_MAX_STATUS = 599


def check_number(name: str, value: object, *, least: float = 0, most: float = math.inf) -> None:
    """Raise ValueError unless a setting is a number within its bounds."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        bounds = f"{least:g} or more" if math.isinf(most) else f"from {least:g} to {most:g}"
        raise ValueError(f"{name} takes a number, {bounds}, not {value!r}")


def check_whole(name: str, value: object, *, least: int = 0, most: float = math.inf) -> None:
    """Raise ValueError unless a setting is a whole number within its bounds."""
    check_number(name, value, least=least, most=most)
    if not isinstance(value, int):
        raise ValueError(f"{name} takes a whole number, not {value!r}")  # noqa: TRY004 - like every other setting


def check_status(status: object, *, least: int = 200) -> None:
    """Raise ValueError unless a setting is an HTTP status of at least `least`."""
    check_whole("status", status, least=least, most=_MAX_STATUS)


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise ValueError unless a setting is one of its choices."""
    if value not in choices:
        raise ValueError(f"{name} takes one of {', '.join(choices)}, not {value!r}")


@dataclass(kw_only=True)
class Fault:
    """A kind of fault with its settings; each overrides one of the methods below.

    Attributes:
        exclusive: Whether it decides the whole answer. Of several exclusive faults that match a request only the first
            hits it. Other faults add up.
    """

    exclusive: ClassVar[bool] = True

    def applies(self, _request: Request) -> bool:
        """Whether it hits a request that matches the filters."""
        return True

    def clock_offset(self) -> float:
        """Return by how many seconds the service's clock is off for this request."""
        return 0

    def replacement(self, _request: Request, _time: ServiceTime) -> Answer | None:
        """Return an answer to send instead of executing the operation, or None to execute it."""
        return None

    def modify(self, answer: Answer) -> None:
        """Change the operation's answer."""
