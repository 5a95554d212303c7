"""Forgets what is kept for idle regions, because callers may name any number of regions."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["forget_idle"]

T = TypeVar("T")

_KEPT = 32
"""Regions that are kept although they are idle: more than the service has."""

_EXAMINED = 4
"""Regions examined when one is added: more than one, so that the number of idle ones falls."""


def forget_idle(regions: dict[str, T], is_idle: Callable[[str, T], bool]) -> Iterator[tuple[str, T]]:
    """Remove idle regions, the earliest first, and yield them. To be called when a region was added."""
    for region_id in tuple(islice(regions, _EXAMINED)):
        if len(regions) <= _KEPT:
            return
        kept = regions.pop(region_id)
        if is_idle(region_id, kept):
            yield region_id, kept
        else:
            regions[region_id] = kept
