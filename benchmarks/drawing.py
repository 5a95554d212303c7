"""Draws a plot as SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from figures import Plot

__all__ = ["svg"]


def svg(plot: Plot) -> str:
    """Draw."""
    return plot.title
