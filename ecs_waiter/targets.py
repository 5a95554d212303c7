"""Targets: which tasks a wait is for - the caller's list or mapping, checked before any call is made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from ecs_waiter.api.endpoints import check_region, resolve_region
from ecs_waiter.api.task_ids import check_each
from ecs_waiter.slices import SLICE, slices

__all__ = ["Targets", "TaskIds", "listed"]

TaskIds: TypeAlias = Iterable[str] | Mapping[str, Iterable[str]]
"""Task IDs of one region, or region -> task IDs."""


class Targets:
    """Region -> task IDs, each ID once, in the order asked.

    Args:
        task_ids: The IDs of one region, or region -> IDs.
        region_id: The region of plain IDs; ``ALIBABA_CLOUD_REGION_ID`` by default.

    Raises:
        TypeError: The IDs are no list, or one of them is no string.
        ValueError: An ID or a region is not one, no region is known, a mapping came with a region, or one ID is
            asked in two regions.
    """

    def __init__(self, task_ids: TaskIds, region_id: str | None) -> None:
        self.regions: dict[str, list[str]] = {}
        self._sources: list[tuple[str | None, Iterable[str]]] = []
        if isinstance(task_ids, Mapping):
            if region_id is not None:
                raise ValueError("a mapping names its regions already: leave region_id out")
            for region, ids in task_ids.items():
                self._sources.append((check_region(region), _checked(ids)))
        else:
            region = check_region(region_id) if region_id is not None else None
            self._sources.append((region, _checked(task_ids)))

    def __len__(self) -> int:
        return sum(map(len, self.regions.values()))

    def __iter__(self) -> Iterator[str]:
        for ids in self.regions.values():
            yield from ids

    def read(self) -> Iterator[None]:
        """Read and check the IDs, a slice a step, so that a caller on an event loop can let it breathe."""
        seen: set[str] = set()
        for region, ids in self._sources:
            own: dict[str, None] = {}
            for piece in slices(ids):
                check_each(piece)
                for task_id in piece:
                    own[task_id] = None
                if len(piece) == SLICE:
                    yield
            if not own:
                continue
            if not seen.isdisjoint(own):
                twice = next(iter(seen & own.keys()))
                raise ValueError(f"{twice} is asked in two regions, and results are keyed by ID: ask in two waits")
            if len(self._sources) > 1:
                seen.update(own)
            self.regions[region or resolve_region(None)] = list(own)
        self._sources.clear()

    def read_all(self) -> None:
        """Read and check the IDs at once."""
        for _ in self.read():
            pass


def listed(task_ids: TaskIds) -> TaskIds:
    """Read the IDs into lists; raises TypeError for what is no list of IDs."""
    if isinstance(task_ids, Mapping):
        return {region: list(_checked(ids)) for region, ids in task_ids.items()}
    return list(_checked(task_ids))


def _checked(ids: object) -> Iterable[str]:
    if isinstance(ids, str | bytes | bytearray):
        raise TypeError(f"task IDs come as a list: write [{ids!r:.80}]")
    if isinstance(ids, Mapping) or not isinstance(ids, Iterable):
        raise TypeError(f"task IDs come as a list of strings or as region -> list, not {type(ids).__name__}")
    return ids
