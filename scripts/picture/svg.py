"""draw: screens as one SVG that moves by CSS alone, as a film strip behind a window."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.picture.screens import Row, Screen

__all__ = ["draw"]

# In the picture's own units, pixels at its full size.
_CELL_WIDTH = 8
_LINE_HEIGHT = 18
_MARGIN = 16
_TITLE_BAR = 30
_LAST_SHOWN = 6.0

# On a background of its own, so that it is as legible on a light page as on a dark one.
_BACKGROUND, _BORDER = "#161b22", "#6e7681"
_COLOURS = {
    "default": "#d5dbe2",
    "brightblack": "#8b949e",
    "red": "#ff8a80",
    "green": "#6fd886",
    "brown": "#e8bf5a",
    "blue": "#79b8ff",
    "magenta": "#d2a8ff",
    "cyan": "#5fd3e0",
    "white": "#f0f3f6",
}


def draw(screens: Sequence[Screen], *, title: str, description: str, columns: int) -> str:
    """Return the picture.

    It loops, with a long look at the last screen; who asks for reduced motion sees that one alone.

    Args:
        screens: What it shows, at least one.
        title: What it is, for those who do not see it.
        description: What happens in it, for those who do not see it.
        columns: The terminal's width.

    Raises:
        KeyError: A colour has no counterpart here.
    """
    lines = max(len(_trimmed(screen.rows)) for screen in screens)
    width, height = columns * _CELL_WIDTH, lines * _LINE_HEIGHT
    full_width, full_height = width + 2 * _MARGIN, height + _TITLE_BAR + _MARGIN
    rows = {row: f"r{number}" for number, row in enumerate(_distinct_rows(screens))}
    size = f'viewBox="0 0 {full_width} {full_height}" width="{full_width}" height="{full_height}"'
    colours = f'fill="{_BACKGROUND}" stroke="{_BORDER}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title description">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="description">{escape(description)}</desc>',
        f"<style>{_style(screens, width)}</style>",
        f"<defs>{''.join(_row(row, name) for row, name in rows.items())}</defs>",
        f'<rect x="0.5" y="0.5" width="{full_width - 1}" height="{full_height - 1}" rx="8" {colours}/>',
        *(f'<circle cx="{_MARGIN + 5 + 18 * dot}" cy="{_TITLE_BAR // 2}" r="5" fill="{_BORDER}"/>' for dot in range(3)),
        f'<svg x="{_MARGIN}" y="{_TITLE_BAR}" width="{width}" height="{height}">',
        '<g id="film">',
        *(_frame(screen, number * width, rows) for number, screen in enumerate(screens)),
        "</g>",
        "</svg>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _distinct_rows(screens: Sequence[Screen]) -> dict[Row, None]:
    return dict.fromkeys(row for screen in screens for row in screen.rows if row)


def _trimmed(rows: Sequence[Row]) -> Sequence[Row]:
    return rows[: max((number + 1 for number, row in enumerate(rows) if row), default=0)]


def _style(screens: Sequence[Screen], width: int) -> str:
    began = screens[0].at
    seconds = screens[-1].at - began + _LAST_SHOWN
    steps = "".join(
        f"{(screen.at - began) / seconds:.3%}{{transform:translateX({-number * width}px)}}"
        for number, screen in enumerate(screens)
    )
    colours = "".join(f".{name}{{fill:{colour}}}" for name, colour in _COLOURS.items())
    return (
        "text{font:13.3px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',monospace;"
        "white-space:pre}"
        f"{colours}.b{{font-weight:bold}}"
        f"#film{{transform:translateX({-(len(screens) - 1) * width}px);"
        f"animation:film {seconds:.2f}s step-end infinite}}"
        f"@keyframes film{{{steps}}}"
        "@media (prefers-reduced-motion:reduce){#film{animation:none}}"
    )


def _row(row: Row, name: str) -> str:
    runs = "".join(
        f'<text x="{run.column * _CELL_WIDTH}" class="{run.colour}{" b" if run.is_bold else ""}"'
        f' textLength="{len(run.text) * _CELL_WIDTH}" lengthAdjust="spacingAndGlyphs">{escape(run.text)}</text>'
        for run in row
    )
    return f'\n<g id="{name}">{runs}</g>'


def _frame(screen: Screen, left: int, rows: dict[Row, str]) -> str:
    uses = "".join(
        f'<use href="#{rows[row]}" y="{(line + 1) * _LINE_HEIGHT - 5}"/>' for line, row in enumerate(screen.rows) if row
    )
    return f'<g transform="translate({left})">{uses}</g>'
