"""One request as the emulator saw it: what tests assert on and fault predicates look at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = ["Request"]


@dataclass(slots=True, kw_only=True)
class Request:
    """A request and how it was answered.

    Attributes:
        action: The operation, e.g. ``DescribeTasks``; empty if none was named.
        region_id: The region it was for; empty if none was named.
        task_ids: The IDs asked for, of ``TaskIds`` or ``TaskId``, in the order asked.
        params: Every parameter of query and form.
        answered: The answer's HTTP status; None while there is none, as after a reset or during a hang.
        method: ``GET`` or ``POST``.
        headers: The HTTP headers, names in lower case.
        access_key_id: Who signed it; empty if nobody did.
        at: When it came, by the emulator's clock.
    """

    action: str
    region_id: str
    task_ids: tuple[str, ...]
    params: Mapping[str, str]
    answered: int | None = None
    method: str = field(default="POST", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    access_key_id: str = field(default="", repr=False)
    at: datetime = field(repr=False)
