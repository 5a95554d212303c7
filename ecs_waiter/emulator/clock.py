"""The emulator's clock: wall time at the start, then as fast as the event loop's time, virtual or real."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Clock", "ServiceTime"]

_STAMP = "%Y-%m-%dT%H:%M:%SZ"
_READABLE = (_STAMP, "%Y-%m-%dT%H:%MZ")


class Clock:
    """Shows the time in UTC.

    It reads the wall clock once, when it is created. Freezing or moving the wall clock later does not change it.

    Args:
        start: The time that it shows first; None takes the wall clock's time.
        time: A clock in seconds to follow; None takes the time of the first event loop in which `now` is called.
            Until then `now` returns `start`.
    """

    def __init__(self, start: datetime | None = None, time: Callable[[], float] | None = None) -> None:
        if start is not None and start.tzinfo is None:
            raise ValueError("start takes an aware datetime, such as datetime(2026, 1, 1, tzinfo=UTC)")
        self._start = start or datetime.now(UTC)
        self._time = time
        self._started_at = 0.0 if time is None else time()

    def now(self) -> datetime:
        """Return the present time."""
        if self._time is None:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                return self._start
            # Look `loop.time` up at each reading: freezegun replaces it on a running loop.
            self._time = lambda: loop.time()  # noqa: PLW0108
            self._started_at = loop.time()
        return self._start + timedelta(seconds=self._time() - self._started_at)


@dataclass(frozen=True, slots=True)
class ServiceTime:
    """The time of one request; `shift` is how far the clock that the service shows to clients is off."""

    now: datetime
    shift: timedelta = timedelta()

    @property
    def shown(self) -> datetime:
        """What the service's clock shows to a client."""
        return self.now + self.shift

    @property
    def date(self) -> str:
        """The `Date` header."""
        return format_datetime(self.shown, usegmt=True)

    def format(self, time: datetime) -> str:
        """Write a time as the service does."""
        return (time + self.shift).strftime(_STAMP)

    def parse(self, text: str) -> datetime:
        """Read a time as the service does.

        Raises:
            ValueError: The text has neither of the service's two formats.
        """
        for form in _READABLE:
            try:
                return datetime.strptime(text, form).replace(tzinfo=UTC) - self.shift
            except (ValueError, OverflowError):
                continue
        raise ValueError(f"not a UTC time: {text!r}")
