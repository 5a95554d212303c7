"""Durations as people write and read them."""

from __future__ import annotations

import pytest

from ecs_waiter import Eta
from ecs_waiter.cli.messages import format_duration, format_eta
from ecs_waiter.cli.options import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("5m", 300),
        ("2h", 7_200),
        ("1h30m", 5_400),
        ("1d", 86_400),
        ("1d2h3m4s", 93_784),
        ("0.5", 0.5),
        ("1.5h", 5_400),
        ("0", 0),
        (" 2H ", 7_200),
    ],
)
def test_parse(text: str, seconds: float) -> None:
    """A plain number is seconds; units go from large to small, each once."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", " ", "-5", "s", "m5", "5m1h", "1h1h", "inf", "nan", "1e3", "5 m", "5ms", "٣", "1_0", "9" * 10]
)
def test_refuse(text: str) -> None:
    """Anything else is refused, with examples."""
    with pytest.raises(ValueError, match="use 90s, 15m or 2h"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59.9, "1m00s"), (185, "3m05s"), (3_720, "1h02m"), (90_000, "1d01h")]
)
def test_format(seconds: float, text: str) -> None:
    """Two units are shown."""
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("eta", "text"),
    [
        (Eta(240, 420, 720), "~7 min left (4–12)"),  # noqa: RUF001 - a dash between numbers
        (Eta(0.2, 12, 99), "~12 s left (0–99)"),  # noqa: RUF001
        (Eta(12, 99.9, 3600), "~100 s left (12–3600)"),  # noqa: RUF001
        (Eta(12, 100, 3600), "~2 min left (0–60)"),  # noqa: RUF001
        (Eta(5990, 6000, 6010), "~2 h left"),
        (Eta(3600, 1e5, 1e9), "~28 h left (1–277778)"),  # noqa: RUF001
    ],
)
def test_the_time_left(eta: Eta, text: str) -> None:
    """The unit is that of the middle, and the band has none of its own."""
    assert format_eta(eta) == text
