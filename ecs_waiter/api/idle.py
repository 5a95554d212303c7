"""What is kept for each region is forgotten once the region is idle: names come from callers, and have no end."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["KEPT", "forget_idle"]

T = TypeVar("T")

KEPT = 32
"""Regions that are kept although they are idle: more than the service has."""

_EXAMINED = 4
"""Regions examined at a time. As that happens whenever one is added, idle ones become fewer."""


def forget_idle(regions: dict[str, T], is_idle: Callable[[str, T], bool]) -> Iterator[tuple[str, T]]:
    """Take idle regions out, the earliest first; to be called when one was added."""
    for region_id in tuple(islice(regions, _EXAMINED)):
        if len(regions) <= KEPT:
            return
        kept = regions[region_id]
        if is_idle(region_id, kept):
            yield region_id, kept
            del regions[region_id]
        else:
            del regions[region_id]
            regions[region_id] = kept
