"""Durations as people write them: 90, 90s, 5m, 2h, 1h30m."""

from __future__ import annotations

import re

__all__ = ["format_duration", "parse_duration"]

_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_NUMBER = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
_PLAIN = re.compile(_NUMBER, re.ASCII)
_PARTS = re.compile("".join(rf"(?:({_NUMBER}){unit})?" for unit in _SECONDS), re.ASCII)


def parse_duration(text: str) -> float:
    """Return the seconds that `text` means; a plain number is seconds.

    Raises:
        ValueError: It is not a duration.
    """
    told = text.strip().lower()
    if _PLAIN.fullmatch(told):
        return float(told)
    found = _PARTS.fullmatch(told)
    if not told or found is None:
        raise ValueError(f"invalid duration {text!r}: use 90, 90s, 15m, 2h or 1h30m")
    return sum(float(part) * size for part, size in zip(found.groups(), _SECONDS.values(), strict=True) if part)


def format_duration(seconds: float) -> str:
    """Return such as ``42s``, ``3m05s`` or ``1h02m``: two units are enough to read."""
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004 - a minute
        return f"{whole}s"
    if whole < 3_600:  # noqa: PLR2004 - an hour
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:  # noqa: PLR2004 - a day
        return f"{whole // 3_600}h{whole % 3_600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3_600:02d}h"
