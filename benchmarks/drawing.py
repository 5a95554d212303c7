"""Draws a plot as SVG: a few hundred plain elements that follow the reader's light or dark scheme."""

from __future__ import annotations

import math
from html import escape
from itertools import cycle
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from benchmarks.figures import Line, Plot

__all__ = ["shown", "svg"]

_WIDTH = 820
_HEIGHT = 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 74, 260, 52, 62
_ROW = 30
_NAMES = 280
_OURS = "ours"
_STEPS = (1, 2, 5)
_FEW_DECADES = 2
_SMALLEST = 0.01
# What a color is for -> in a light and in a dark scheme. Plain classes, for not every viewer knows CSS variables.
_COLORS = {
    "paper": ("#fff", "#14181d"),
    "ink": ("#1f2328", "#e6edf3"),
    "dim": ("#59636e", "#9aa4af"),
    "grid": ("#e4e7eb", "#2b323a"),
    _OURS: ("#0a7d4f", "#3ddc97"),
    "c0": ("#b35900", "#ffa94d"),
    "c1": ("#6e56cf", "#a48cf0"),
    "c2": ("#c2255c", "#f783ac"),
    "c3": ("#1971c2", "#74c0fc"),
    "c4": ("#868e96", "#adb5bd"),
    "c5": ("#7a6a00", "#d8c440"),
    "c6": ("#0b7285", "#66d9e8"),
}
_FONT = 'font:13px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif'


def _style() -> str:
    light, dark = (
        "".join(f".{name}{{fill:{color[scheme]};stroke:{color[scheme]}}}" for name, color in _COLORS.items())
        for scheme in (0, 1)
    )
    return (
        f"svg{{{_FONT}}}{light}\n@media(prefers-color-scheme:dark){{{dark}}}\n"
        "text{stroke:none!important}.title{font-size:15px;font-weight:600}.grid{stroke-width:1}"
        ".line{fill:none!important;stroke-width:1.6}.bold{stroke-width:2.8}"
    )


def svg(plot: Plot) -> str:
    """Draw a plot, as curves over two axes or as one dot for each name; the same plot is always the same text."""
    height, parts = _dots(plot) if plot.is_dots else _curves(plot)
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{escape(plot.title)}">\n<style>{_style()}</style>\n'
        f'<rect class="paper" width="{_WIDTH}" height="{height}" rx="8"/>\n'
        f'<text class="title ink" x="20" y="30">{escape(plot.title)}</text>\n{body}\n</svg>\n'
    )


def shown(value: float) -> str:
    """Three significant digits, or all of a large number's."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004 - as the docstring says


class _Axis:
    """A logarithmic axis from `start` to `stop` on the paper."""

    def __init__(self, values: Iterable[float], start: float, stop: float) -> None:
        positive = [value for value in values if value > 0]
        lowest, highest = math.log10(min(positive)), math.log10(max(positive))
        margin = max(0.06 * (highest - lowest), 0.05)
        self._lowest, self._highest = lowest - margin, highest + margin
        self._start, self._stop = start, stop

    def at(self, value: float) -> float:
        share = (math.log10(max(value, 10**self._lowest)) - self._lowest) / (self._highest - self._lowest)
        return round(self._start + share * (self._stop - self._start), 1)

    def ticks(self) -> Iterator[float]:
        """Powers of ten, with steps between them where there are few."""
        steps = _STEPS if self._highest - self._lowest < _FEW_DECADES + 1 else _STEPS[:1]
        for decade in range(math.floor(self._lowest), math.ceil(self._highest) + 1):
            for step in steps:
                if self._lowest <= math.log10(step) + decade <= self._highest:
                    yield step * 10.0**decade


def _colors(lines: list[Line]) -> list[str]:
    others = cycle(name for name in _COLORS if name.startswith("c"))
    return [_OURS if line.is_ours else next(others) for line in lines]


def _grey(lines: list[Line]) -> list[str]:
    """Where each line has its name beside it, one color tells ours from the others."""
    return [_OURS if line.is_ours else "c4" for line in lines]


def _curves(plot: Plot) -> tuple[int, list[str]]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    x = _Axis([x for line in plot.lines for x, _ in line.points], _LEFT, right)
    y = _Axis([y for line in plot.lines for _, y in line.points], bottom, _TOP)
    parts = []
    for tick in x.ticks():
        parts += [_rule(x.at(tick), _TOP, x.at(tick), bottom), _text(x.at(tick), bottom + 20, _tick(tick), "middle")]
    for tick in y.ticks():
        parts += [_rule(_LEFT, y.at(tick), right, y.at(tick)), _text(_LEFT - 8, y.at(tick) + 4, _tick(tick), "end")]
    middle = (_TOP + bottom) / 2
    parts += [
        _text((_LEFT + right) / 2, _HEIGHT - 16, plot.x, "middle"),
        f'<g transform="translate(18 {middle}) rotate(-90)">{_text(0, 0, plot.y, "middle")}</g>',
    ]
    rows = list(zip(plot.lines, _colors(plot.lines), strict=True))
    # Ours last, so that it lies on top.
    for line, color in sorted(rows, key=lambda row: row[0].is_ours):
        parts += _curve(line, color, x.at, y.at)
    for number, (line, color) in enumerate(rows):
        level = _TOP + 12 + number * 21
        parts.append(f'<circle cx="{right + 18}" cy="{level - 4}" r="5" class="{color}"/>')
        parts.append(f'<text class="ink" x="{right + 30}" y="{level}">{escape(line.name)}</text>')
    return _HEIGHT, parts


def _curve(line: Line, color: str, x: Callable[[float], float], y: Callable[[float], float]) -> list[str]:
    places = [(x(one), y(other)) for one, other in line.points]
    parts = [
        f'<circle cx="{one}" cy="{other}" r="{4.5 if line.is_ours else 3.5}" class="{color}"/>' for one, other in places
    ]
    if line.is_joined and len(places) > 1:
        path = "M" + "L".join(f"{one} {other}" for one, other in places)
        parts.insert(0, f'<path class="line{" bold" * line.is_ours} {color}" d="{path}"/>')
    return parts


def _dots(plot: Plot) -> tuple[int, list[str]]:
    bottom = _TOP + _ROW * len(plot.lines)
    right = _WIDTH - 90
    x = _Axis([x for line in plot.lines for x, _ in line.points], _NAMES, right)
    parts = []
    for tick in x.ticks():
        parts += [_rule(x.at(tick), _TOP, x.at(tick), bottom), _text(x.at(tick), bottom + 18, _tick(tick), "middle")]
    parts.append(_text((_NAMES + right) / 2, bottom + 42, plot.x, "middle"))
    for number, (line, color) in enumerate(zip(plot.lines, _grey(plot.lines), strict=True)):
        level = _TOP + _ROW * (number + 0.5)
        ((value, _),) = line.points
        parts += [
            f'<text class="ink" x="{_NAMES - 14}" y="{level + 4}" text-anchor="end">{escape(line.name)}</text>',
            f'<path class="line {color}" d="M{_NAMES} {level}L{x.at(value)} {level}"/>',
            f'<circle cx="{x.at(value)}" cy="{level}" r="6" class="{color}"/>',
            f'<text class="ink" x="{x.at(value) + 12}" y="{level + 4}">{shown(value)}</text>',
        ]
    return bottom + 58, parts


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path class="grid" d="M{x1} {y1}L{x2} {y2}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text class="dim" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def _tick(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"
