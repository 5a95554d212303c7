"""Targets: which tasks a wait is for - the caller's list or mapping, checked before any call is made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from ecs_waiter.api.endpoints import check_region, resolve_region
from ecs_waiter.api.task_ids import check_each
from ecs_waiter.slices import SLICE, slices

__all__ = ["AT_ONCE", "Targets", "TaskIds", "listed"]

AT_ONCE = 20_000
"""IDs that are read within one step of the event loop: some milliseconds of work."""

_PART = 50_000

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
        sources: list[tuple[str | None, Iterable[str]]]
        if isinstance(task_ids, Mapping):
            if region_id is not None:
                raise ValueError("a mapping names its regions already: leave region_id out")
            sources = [(check_region(region), _checked(ids)) for region, ids in task_ids.items()]
        else:
            sources = [(None if region_id is None else check_region(region_id), _checked(task_ids))]
        self._count = 0
        self._reading = self._read(sources)

    def __len__(self) -> int:
        return sum(map(len, self.regions.values()))

    def __iter__(self) -> Iterator[str]:
        for ids in self.regions.values():
            yield from ids

    def read(self) -> Iterator[None]:
        """Read and check the IDs, a slice a step, so that a caller on an event loop can let it breathe."""
        return self._reading

    def begin(self) -> None:
        """Read and check the first `AT_ONCE` IDs now, and leave the others to `read`."""
        for _ in self._reading:
            if self._count >= AT_ONCE:
                return

    def _read(self, sources: list[tuple[str | None, Iterable[str]]]) -> Iterator[None]:
        others = _Seen()
        for named, ids in sources:
            region, own = named, _Seen()
            for piece in slices(ids):
                region = region or resolve_region(None)
                check_each(piece)
                self._count += len(piece)
                if twice := others.known(piece):
                    raise ValueError(
                        f"{twice[0]} is asked in two regions, and results are keyed by ID: ask in two waits"
                    )
                self.regions.setdefault(region, []).extend(own.new(piece))
                if len(piece) == SLICE:
                    yield
            yield from own.forget()
            for piece in slices(self.regions[region]) if region in self.regions and len(sources) > 1 else ():
                others.new(piece)
                if len(piece) == SLICE:
                    yield
        yield from others.forget()


class _Seen:
    """A set of IDs in parts, for one of a million would hold the event loop each time it is enlarged."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[set[str]] = [set()]

    def known(self, task_ids: list[str]) -> list[str]:
        """Those of the IDs that were added before."""
        parts = [part for part in self._parts if not part.isdisjoint(task_ids)]
        return [task_id for task_id in task_ids if any(task_id in part for part in parts)] if parts else []

    def new(self, task_ids: list[str]) -> Iterable[str]:
        """Add IDs, and return those that are new, each once."""
        new = dict.fromkeys(task_ids)
        for task_id in self.known(task_ids):
            new.pop(task_id, None)
        if len(self._parts[-1]) >= _PART:
            self._parts.append(set())
        self._parts[-1].update(new)
        return new

    def forget(self) -> Iterator[None]:
        """Forget the IDs, a part a step."""
        while len(self._parts) > 1:
            self._parts.pop()
            yield


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
