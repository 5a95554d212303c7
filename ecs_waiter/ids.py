"""The IDs of a wait: what a task's ID and a region's name may hold, and which tasks a wait is for."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TypeAlias

from ecs_waiter.slices import SLICE, slices

__all__ = [
    "AT_ONCE",
    "MAX_BATCH",
    "Targets",
    "TaskIds",
    "check_each",
    "check_region",
    "check_task_id",
    "check_task_ids",
    "listed",
    "resolve_region",
    "several",
]

MAX_BATCH = 100
"""Task IDs that one call takes."""

AT_ONCE = 20_000
"""IDs that are read within one step of the event loop: some milliseconds of work."""

_LONGEST = 256

# One set of a million IDs would block the event loop for 60 ms each time it grows.
_PART = 50_000

_REGION_VARIABLE = "ALIBABA_CLOUD_REGION_ID"

# A region's name is one label of a host name.
_MAX_REGION = 63
_REGION = re.compile(r"[a-z]{2,}(?:-[a-z0-9]+)+", re.ASCII)
_SHOWN = 80

TaskIds: TypeAlias = Iterable[str] | Mapping[str, Iterable[str]]
"""Task IDs of one region, or region -> task IDs."""


# -- regions ----------------------------------------------------------------------------------------------------------


def check_region(region_id: object) -> str:
    """Return `region_id` if it looks like a region's name: it becomes part of a host name.

    Raises:
        TypeError: It is not text.
        ValueError: It does not look like a region's name.
    """
    if not isinstance(region_id, str):
        raise TypeError(f"a region is text such as 'cn-hangzhou', not {type(region_id).__name__}")
    found = _REGION.fullmatch(region_id) if len(region_id) <= _MAX_REGION else None
    if found is None:
        shown = repr(region_id if len(region_id) <= _SHOWN else region_id[:_SHOWN] + "…")
        raise ValueError(f"a region's name looks like 'cn-hangzhou' or 'us-west-1', not {shown}")
    return found[0]


def resolve_region(region_id: str | None, default: str | None = None) -> str:
    """Return `region_id`, else the default, else the region in the environment variable ALIBABA_CLOUD_REGION_ID.

    Raises:
        TypeError: It is not text.
        ValueError: There is none, or it does not look like a region's name.
    """
    if region_id is not None:
        return check_region(region_id)
    if default is not None:
        return default
    value = os.environ.get(_REGION_VARIABLE)
    if not value:
        raise ValueError(f"no region: pass region_id= or set {_REGION_VARIABLE}")
    try:
        return check_region(value)
    except ValueError as error:
        raise ValueError(f"{_REGION_VARIABLE}: {error}") from None


# -- task IDs ---------------------------------------------------------------------------------------------------------


def check_task_id(task_id: object) -> str:
    """Return `task_id` if it can be one.

    Raises:
        TypeError: It is not text.
        ValueError: It is empty, too long, or holds a comma, white space or a control character.
    """
    if not isinstance(task_id, str):
        raise TypeError(f"a task ID is text, not {type(task_id).__name__}")
    if not task_id:
        raise ValueError("a task ID is empty")
    if len(task_id) > _LONGEST:
        raise ValueError(f"a task ID has {_LONGEST} characters at most, not {len(task_id)}")
    if not _are_allowed(task_id):
        raise ValueError(f"a task ID has neither commas nor white space nor control characters: {task_id!r}")
    return task_id


def check_each(task_ids: list[str]) -> None:
    """Check many IDs together, and one by one only if one of them is invalid.

    Raises:
        TypeError: One of them is not text.
        ValueError: One of them cannot be a task ID.
    """
    if set(map(type, task_ids)) == {str}:
        lengths = set(map(len, task_ids))
        if min(lengths) > 0 and max(lengths) <= _LONGEST and _are_allowed("".join(task_ids)):
            return
    for task_id in task_ids:
        check_task_id(task_id)


def check_task_ids(task_ids: Iterable[str]) -> list[str]:
    """Return the IDs of one call: sorted, each once.

    Raises:
        TypeError: It is one text instead of several, or holds something that is not text.
        ValueError: There are none or more than 100, or one of them cannot be a task ID.
    """
    checked = sorted({check_task_id(task_id) for task_id in several("task_ids", task_ids)})
    if not 1 <= len(checked) <= MAX_BATCH:
        raise ValueError(f"one call takes 1 to {MAX_BATCH} task IDs, not {len(checked)}")
    return checked


def several(name: str, values: object) -> Iterable[object]:
    """Return `values` if they are a list or another iterable.

    Raises:
        TypeError: It is a single text, or not iterable.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise TypeError(f"{name} takes several IDs, not {type(values).__name__}: put a single one into a list")
    return values


def _are_allowed(text: str) -> bool:
    """Whether an ID may hold these characters: printable ones, but not commas, which separate IDs, and spaces."""
    return text.isprintable() and "," not in text and " " not in text


# -- what a wait is for -----------------------------------------------------------------------------------------------


class Targets:
    """Region -> task IDs, each ID once, in the order asked.

    Args:
        task_ids: The IDs of one region, or region -> IDs.
        region_id: The region of plain IDs.
        default_region: The region of plain IDs if `region_id` is None; ``ALIBABA_CLOUD_REGION_ID`` if both are.

    Raises:
        TypeError: The IDs are not a list, or one of them is not a string.
        ValueError: An ID or a region is invalid, no region is known, a mapping came with a region, or one ID is
            asked in two regions.
    """

    def __init__(self, task_ids: TaskIds, region_id: str | None, default_region: str | None = None) -> None:
        self.regions: dict[str, list[str]] = {}
        self._default_region = default_region
        self._sources: list[tuple[str | None, Iterator[str]]]
        if isinstance(task_ids, Mapping):
            if region_id is not None:
                raise ValueError("a mapping names its regions already: leave region_id out")
            self._sources = [(check_region(region), iter(_checked(ids))) for region, ids in task_ids.items()]
        else:
            self._sources = [(None if region_id is None else check_region(region_id), iter(_checked(task_ids)))]
        self._region_of: list[dict[str, str]] = [{}]

    def __len__(self) -> int:
        return sum(map(len, self.regions.values()))

    def __iter__(self) -> Iterator[str]:
        for ids in self.regions.values():
            yield from ids

    def begin(self) -> None:
        """Read and check the first `AT_ONCE` IDs now."""
        left = AT_ONCE
        for region_id, ids in self._sources:
            for piece in slices(islice(ids, left)):
                self._add(region_id, piece)
                left -= len(piece)

    def read(self) -> Iterator[None]:
        """Read and check the IDs, a slice in each step, so that the event loop can run between the steps."""
        for region_id, ids in self._sources:
            for piece in slices(ids):
                self._add(region_id, piece)
                if len(piece) == SLICE:
                    yield
        while len(self._region_of) > 1:
            self._region_of.pop()
            yield

    def _add(self, region_id: str | None, task_ids: list[str]) -> None:
        check_each(task_ids)
        region = region_id or resolve_region(None, self._default_region)
        new = dict.fromkeys(task_ids, region)
        for part in self._region_of:
            if not part.keys().isdisjoint(new):
                for task_id in [task_id for task_id in new if task_id in part]:
                    if part[task_id] != region:
                        raise ValueError(
                            f"{task_id} is asked in two regions, and results are keyed by ID: ask in two waits"
                        )
                    del new[task_id]
        if len(self._region_of[-1]) >= _PART:
            self._region_of.append({})
        self._region_of[-1].update(new)
        self.regions.setdefault(region, []).extend(new)


def listed(task_ids: TaskIds) -> TaskIds:
    """Read the IDs into lists; raises TypeError for anything but a list of IDs or a mapping of such lists."""
    if isinstance(task_ids, Mapping):
        return {region: list(_checked(ids)) for region, ids in task_ids.items()}
    return list(_checked(task_ids))


def _checked(ids: object) -> Iterable[str]:
    if isinstance(ids, str | bytes | bytearray):
        raise TypeError(f"task IDs come as a list: write [{ids!r:.80}]")
    if isinstance(ids, Mapping) or not isinstance(ids, Iterable):
        raise TypeError(f"task IDs come as a list of strings or as region -> list, not {type(ids).__name__}")
    return ids
