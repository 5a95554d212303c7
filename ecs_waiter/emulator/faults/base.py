"""What every kind of fault can do: answer in the operation's place, spoil its answer, shift the clock."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from ecs_waiter.emulator.answer import Answer
    from ecs_waiter.emulator.clock import Moment
    from ecs_waiter.emulator.request import Request

__all__ = ["Fault", "check_choice", "check_number", "check_whole"]


def check_number(name: str, value: object, *, least: float = 0, most: float = math.inf) -> None:
    """Refuse a setting that is no number within its bounds.

    Raises:
        ValueError: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        bounds = f"{least:g} or more" if math.isinf(most) else f"from {least:g} to {most:g}"
        raise ValueError(f"{name} takes a number, {bounds}, not {value!r}")


def check_whole(name: str, value: object, *, least: int = 0, most: float = math.inf) -> None:
    """Refuse a setting that is no whole number within its bounds.

    Raises:
        ValueError: It is not.
    """
    check_number(name, value, least=least, most=most)
    if not isinstance(value, int):
        raise ValueError(f"{name} takes a whole number, not {value!r}")  # noqa: TRY004 - a setting that cannot be


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Refuse a setting that is none of its choices.

    Raises:
        ValueError: It is not.
    """
    if value not in choices:
        raise ValueError(f"{name} takes one of {', '.join(choices)}, not {value!r}")


@dataclass(kw_only=True)
class Fault:
    """A kind of fault with its settings; each does one of the things below and leaves the others.

    Attributes:
        alone: Whether it decides the whole answer. Of several such faults that match a request the first strikes
            and the others wait for their turn; the faults that are not alone add up.
    """

    alone: ClassVar[bool] = True

    def applies(self, _request: Request) -> bool:
        """Whether it strikes this request, which the filters let through."""
        return True

    def clock_offset(self) -> float:
        """Return how many seconds the service's clock is off, as this request sees it."""
        return 0

    def instead(self, _request: Request, _moment: Moment) -> Answer | None:
        """Return an answer in place of the operation's, which then does not run; None lets it run."""
        return None

    def spoil(self, request: Request, answer: Answer) -> None:
        """Change the operation's answer."""
